//! A request on its way to an instance: at once, when there is room, or to another instance that is free.

use std::sync::Arc;

use crate::envelope::{Edit, Envelope};
use crate::era::Era;
use crate::hub::eras::unknown_state;
use crate::hub::failure::Failure;
use crate::hub::instance::Instance;
use crate::hub::instance::calls::pending_call::OnReply;
use crate::hub::instance::calls::tool::tool_of;
use crate::hub::instance::one_at_a_time::Waiter;
use crate::hub::route::refuse::foreign_task;
use crate::hub::routed::{Routed, cancellable};
use crate::hub::session::Session;
use crate::hub::{Hub, Site};
use crate::method::Method;
use crate::wire::Message;

impl Hub {
    /// Why an instance may not take a request now.
    fn refusal(session: &Session, Site { server, instance, .. }: &Site) -> Option<Failure> {
        let most = server.settings().max_calls;
        let in_flight = instance.in_flight();
        // Calls of others that wait here keep the process from nothing.
        let is_full =
            in_flight >= most && in_flight.saturating_sub(instance.held_of_others(session.principal_id())) >= most;
        is_full.then(|| Failure::Busy { server: instance.name.clone(), most })
    }

    /// Why an instance may not take this call of this agent any more.
    fn crashing(session: &Session, site: &Site, envelope: &Envelope<'_>, edits: &[Edit<'_>]) -> Option<Failure> {
        let state = site.server.state.lock();
        if state.crashes.is_empty() {
            return None;
        }
        let tool = tool_of(envelope, edits)?;
        let times = state.crashes.too_often(&session.principal(), &tool)?;
        Some(Failure::Crashing { server: site.server.name.clone(), tool: tool.to_string(), times })
    }

    /// Sends a request, at once if the server has room.
    pub(in crate::hub) fn send(
        self: &Arc<Self>,
        session: &Arc<Session>,
        site: &Site,
        envelope: &Envelope<'_>,
        edits: Vec<Edit<'_>>,
        on_reply: OnReply,
    ) -> Routed {
        if let Some(refusal) = refused(session, site, envelope) {
            self.record_refused(session, envelope, &site.server.name, &refusal);
            session.reply(envelope.id, &refusal);
            return Routed::Done;
        }
        if let Some(failure) = Self::refusal(session, site).or_else(|| Self::crashing(session, site, envelope, &edits))
        {
            self.refuse_request(session, envelope, &failure);
            return Routed::Done;
        }
        let taken = is_call(envelope) && site.instance.is_busy(Some(session.id));
        if !taken && site.instance.request(session, envelope, edits.clone(), on_reply.clone()).is_ok() {
            return Routed::Done;
        }
        let edits: Vec<_> = edits.into_iter().map(|edit| (edit.at, edit.with.to_owned())).collect();
        let (hub, who, site, frame) = (self.clone(), session.clone(), site.clone(), envelope.frame.to_owned());
        let work = async move {
            let Some(message) = Message::again(frame).await else { return };
            let envelope = message.envelope();
            let edits = edits.iter().map(|(at, with)| Edit { at: at.clone(), with }).collect();
            hub.send_patiently(&who, site, envelope, edits, on_reply).await;
        };
        let later = cancellable(session, envelope, work);
        // Where it waits for a free process, an answer of this very agent may be what frees one.
        if taken { Routed::Aside(later) } else { Routed::Later(later) }
    }

    /// Sends a request when the server has room for it; where one call at a time is the rule, to an instance that is free.
    pub(in crate::hub) async fn send_patiently(
        self: &Arc<Self>,
        session: &Arc<Session>,
        site: Site,
        envelope: &Envelope<'_>,
        edits: Vec<Edit<'_>>,
        on_reply: OnReply,
    ) {
        // Until it is sent, so that the next call of this agent finds the process taken.
        let mut waiter = None;
        let site = match session.terms(envelope) {
            // It was not sent, so that another one may have it.
            Some(terms) if site.instance.is_closed() => {
                self.instance(session, site.instance.name.as_str(), &terms).await
            }
            Some(_) if is_call(envelope) && site.instance.is_busy(Some(session.id)) => {
                self.overflow(session, &site.instance).await.map(|(site, own)| {
                    waiter = own;
                    site
                })
            }
            Some(_) | None => Ok(site),
        };
        match site {
            Ok(site) => match (refused(session, &site, envelope), Self::crashing(session, &site, envelope, &edits)) {
                (Some(refusal), _) => {
                    self.record_refused(session, envelope, &site.server.name, &refusal);
                    session.reply(envelope.id, &refusal);
                }
                (None, Some(failure)) => self.refuse_request(session, envelope, &failure),
                (None, None) => site.instance.request_patiently(session, envelope, edits, on_reply).await,
            },
            Err(failure) => self.refuse_request(session, envelope, &failure),
        }
        drop(waiter);
    }

    /// An instance for one call of a session whose own is taken.
    async fn overflow(
        self: &Arc<Self>,
        session: &Arc<Session>,
        taken: &Instance,
    ) -> Result<(Site, Option<Waiter>), Failure> {
        let server = self.server(taken.name.as_str())?;
        let (Some(instance_terms), Some(terms)) = (taken.instance_terms(), session.last_terms()) else {
            return Err(server.unavailable("it is starting"));
        };
        let key = server.key(session, &terms, instance_terms.era()).await;
        let (instance, waiter) = server.free_instance(&key, session.principal_id()).await?;
        instance.borrow(session);
        if let Some(level) = taken.level_asked_for(session.id) {
            instance.want_level(session.id, level);
        }
        Ok((Site { hub: self.clone(), server, instance }, waiter))
    }
}

/// The refusal of a request that an instance cannot have been asked for.
fn refused(session: &Session, site: &Site, envelope: &Envelope<'_>) -> Option<String> {
    if comes_back_in_vain(&site.instance, envelope) {
        return Some(unknown_state(envelope.id));
    }
    foreign_task(session, site, envelope)
}

/// Whether a modern agent brings answers to a server that cannot have asked for them: it would take that for a new call.
fn comes_back_in_vain(instance: &Instance, envelope: &Envelope<'_>) -> bool {
    instance.era() == Era::Legacy && envelope.is_modern() && envelope.params.is_retry()
}

/// Whether the server may ask something back before it answers this.
fn is_call(envelope: &Envelope<'_>) -> bool {
    envelope.method.is_none_or(Method::is_call)
}
