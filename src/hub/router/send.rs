//! A request on its way to an instance: at once, when there is room, or to another instance that is free.

use std::sync::Arc;

use super::{Routed, cancellable};
use crate::envelope::{Edit, Envelope};
use crate::era::Era;
use crate::hub::Hub;
use crate::hub::across::unknown_state;
use crate::hub::crashes::tool_of;
use crate::hub::failure::Failure;
use crate::hub::line::Line;
use crate::hub::session::Session;
use crate::hub::table::Then;
use crate::wire::Message;

impl Hub {
    /// Why a line may not take a request now.
    fn refusal(line: &Line) -> Option<Failure> {
        let most = line.upstream.upgrade()?.settings().max_calls;
        (line.in_flight() >= most).then(|| Failure::Busy { server: line.name.clone(), most })
    }

    /// Why a line may not take this call of this agent any more.
    fn crashing(session: &Session, line: &Line, envelope: &Envelope<'_>, edits: &[Edit<'_>]) -> Option<Failure> {
        let upstream = line.upstream.upgrade()?;
        let state = upstream.state.lock();
        if state.crashes.is_empty() {
            return None;
        }
        let tool = tool_of(envelope, edits)?;
        let times = state.crashes.too_often(&session.principal(), &tool)?;
        Some(Failure::Crashing { server: line.name.clone(), tool: tool.into(), times })
    }

    /// Sends a request, at once if the server has room.
    pub(in crate::hub) fn send(
        self: &Arc<Self>,
        session: &Arc<Session>,
        line: &Arc<Line>,
        envelope: &Envelope<'_>,
        edits: Vec<Edit<'_>>,
        then: Then,
    ) -> Routed {
        if comes_back_in_vain(line, envelope) {
            session.reply(envelope.id, &unknown_state(envelope.id));
            return Routed::Done;
        }
        if let Some(failure) = Self::refusal(line).or_else(|| Self::crashing(session, line, envelope, &edits)) {
            session.reply(envelope.id, &failure.frame(envelope.id));
            return Routed::Done;
        }
        let taken = is_call(envelope) && line.is_taken(Some(session.id));
        if !taken && line.request(session, envelope, edits.clone(), then.clone()).is_ok() {
            return Routed::Done;
        }
        let edits: Vec<_> = edits.into_iter().map(|edit| (edit.at, edit.with.to_owned())).collect();
        let (hub, who, line, frame) = (self.clone(), session.clone(), line.clone(), envelope.frame.to_owned());
        let work = async move {
            let Some(message) = Message::again(frame).await else { return };
            let envelope = message.envelope();
            let edits = edits.iter().map(|(at, with)| Edit { at: at.clone(), with }).collect();
            hub.send_patiently(&who, line, envelope, edits, then).await;
        };
        let later = cancellable(session, envelope, work);
        // Where it waits for a free process, an answer of this very agent may be what frees one.
        if taken { Routed::Aside(later) } else { Routed::Later(later) }
    }

    /// Sends a request when the server has room for it; where one call at a time is the rule, to an instance that is free.
    pub(in crate::hub) async fn send_patiently(
        &self,
        session: &Arc<Session>,
        line: Arc<Line>,
        envelope: &Envelope<'_>,
        edits: Vec<Edit<'_>>,
        then: Then,
    ) {
        let line = match session.speech(envelope) {
            // It was not sent, so that another one may have it.
            Some(speech) if line.is_closed() => self.line(session, line.name.as_str(), &speech).await,
            Some(_) if is_call(envelope) && line.is_taken(Some(session.id)) => self.spill(session, &line).await,
            Some(_) | None => Ok(line),
        };
        match line {
            Ok(line) if comes_back_in_vain(&line, envelope) => {
                session.reply(envelope.id, &unknown_state(envelope.id));
            }
            Ok(line) => match Self::crashing(session, &line, envelope, &edits) {
                Some(failure) => session.reply(envelope.id, &failure.frame(envelope.id)),
                None => line.request_patiently(session, envelope, edits, then).await,
            },
            Err(failure) => session.reply(envelope.id, &failure.frame(envelope.id)),
        }
    }
}

/// Whether a modern agent brings answers to a server that cannot have asked for them: it would take that for a new call.
fn comes_back_in_vain(line: &Line, envelope: &Envelope<'_>) -> bool {
    line.era() == Era::Legacy && envelope.is_modern() && envelope.params.is_retry()
}

/// Whether the server may ask something back before it answers this.
fn is_call(envelope: &Envelope<'_>) -> bool {
    !matches!(
        &*envelope.method,
        "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" | "subscriptions/listen"
    )
}
