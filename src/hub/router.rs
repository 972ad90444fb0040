//! What an agent sends, brought to the server it is for.

mod refused;
mod send;

use std::pin::Pin;
use std::sync::Arc;

use refused::is_own_task;

use super::Hub;
use super::across::no_method;
use super::failure::Failure;
use super::level::Level;
use super::line::Line;
use super::logins::accepts;
use super::session::{Question, Session, View};
use super::table::Then;
use crate::envelope::reply::{self, code};
use crate::envelope::{Edit, Envelope, Kind, text};
use crate::era::{Class, Era, Speech};
use crate::fault;
use crate::lists::ListKind;
use crate::names::ServerName;
use crate::wire::Message;

/// The id of a task that no server has, raw.
const NO_TASK: &str = "\"no-task-of-this-agent\"";

/// The rest of a frame's handling, when a server must be waited for.
pub type Later = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What became of a frame.
pub enum Routed {
    Done,
    /// What comes after it must not overtake it.
    Later(Later),
    /// It waits for itself alone.
    Aside(Later),
}

impl Hub {
    /// Takes one message of an agent. What can be done at once is done at once.
    pub fn take(self: &Arc<Self>, session: &Arc<Session>, envelope: &Envelope<'_>) -> Routed {
        fault::provoked_by(&envelope.method);
        match envelope.kind {
            Kind::Request => self.request(session, envelope),
            Kind::Notification => {
                self.notification(session, envelope);
                Routed::Done
            }
            Kind::Response => {
                match session.take_question(envelope.id) {
                    Some(Question::Server { line, id, .. }) => line.answer(&id, envelope),
                    Some(Question::Round { round, index }) => round.answer(index, envelope.id, envelope),
                    Some(Question::Roots) => self.take_roots(session, Some(envelope)),
                    Some(Question::Login(sender)) => {
                        let answer = accepts(envelope.result.unwrap_or_default(), None);
                        if sender.send(answer).is_err() {
                            tracing::debug!(session = session.id.0, "nobody waits for this login any more");
                        }
                    }
                    None => tracing::debug!(session = session.id.0, id = envelope.id, "dropped an answer to nothing"),
                }
                Routed::Done
            }
        }
    }

    /// Likewise, and waits until it is done.
    pub async fn take_to_end(self: &Arc<Self>, session: &Arc<Session>, envelope: &Envelope<'_>) {
        match self.take(session, envelope) {
            Routed::Done => {}
            Routed::Later(later) | Routed::Aside(later) => later.await,
        }
    }

    fn request(self: &Arc<Self>, session: &Arc<Session>, envelope: &Envelope<'_>) -> Routed {
        session.overtake(envelope);
        if envelope.method == "initialize" {
            if !envelope.is_modern() {
                return self.initialize(session, envelope);
            }
            // To a server, it would begin a session; the era has none.
            session.reply(envelope.id, &no_method(envelope));
            return Routed::Done;
        }
        if let Some(refusal) = incomplete(envelope) {
            session.reply(envelope.id, &refusal);
            return Routed::Done;
        }
        if envelope.is_modern() && session.client_info().is_none() {
            introduce(session, envelope.params.meta.client_info);
        }
        let speech = session.speech(envelope);
        if let Some(routed) = self.back_from_rest(session, envelope) {
            return routed;
        }
        let Some(speech) = speech else {
            // Both eras let an agent ask whether anybody is there before it introduces itself.
            let answer = match &*envelope.method {
                "ping" => reply::result(envelope.id, "{}"),
                _ => {
                    let message = "the session has not begun: send `initialize`, or carry `io.modelcontextprotocol/protocolVersion` in `params._meta`";
                    reply::error(envelope.id, code::INVALID_REQUEST, message)
                }
            };
            session.reply(envelope.id, &answer);
            return Routed::Done;
        };
        match &session.view {
            View::All | View::Profile(_) => self.merged(session, envelope, speech),
            View::One(server) => match session.line(server.as_str(), &speech) {
                Some(line) => self.send_own(session, &line, envelope),
                None => self.without_line(session, server, speech, envelope),
            },
        }
    }

    fn initialize(self: &Arc<Self>, session: &Arc<Session>, envelope: &Envelope<'_>) -> Routed {
        let version = envelope.params.protocol_version.and_then(text);
        let class = version.and_then(|version| Class::of(&version, envelope.params.capabilities.unwrap_or("{}")));
        let Some(class) = class else {
            let message = "initialize: `protocolVersion` must be a string and `capabilities` an object";
            session.reply(envelope.id, &reply::error(envelope.id, code::INVALID_PARAMS, message));
            return Routed::Done;
        };
        introduce(session, envelope.params.client_info);
        session.end_rounds();
        for line in session.begin(class.clone()) {
            line.leave(session);
        }
        self.forget(session);
        let View::One(server) = &session.view else {
            return self.greet_when_known(session, envelope, &class);
        };
        let upstream = match self.upstream(server.as_str()) {
            Ok(upstream) => upstream,
            Err(failure) => {
                session.reply(envelope.id, &failure.frame(envelope.id));
                return Routed::Done;
            }
        };
        let speech = Speech::Legacy(Arc::new(class.clone()));
        if upstream.lines().is_empty()
            && let Some(answer) = self.recall(session, &upstream, &speech, envelope)
        {
            session.greet(envelope.id, &answer);
            return Routed::Done;
        }
        let Some(waits) = session.wait_with(envelope) else { return Routed::Done };
        let (hub, session, server, id) = (self.clone(), session.clone(), server.clone(), envelope.id.to_owned());
        Routed::Later(Box::pin(async move {
            let _waits = waits;
            match hub.find_line(&session, server.as_str(), &speech).await {
                Ok(line) => {
                    let frame = line.greeting(&id, class.answer_version());
                    // Joined only behind its answer, so that no notification can overtake the handshake.
                    session.greet(
                        &id,
                        &frame.unwrap_or_else(|| {
                            reply::error(&id, code::INTERNAL, "the server's handshake was not kept")
                        }),
                    );
                    line.join(&session, speech.class());
                }
                // It need not connect again when the login is done.
                Err(Failure::NeedsLogin { .. }) => session.greet(&id, &hub.greeting(&session, &id, &class)),
                Err(failure) => session.reply(&id, &failure.frame(&id)),
            }
        }))
    }

    /// A request of a one-server view whose server is not up for it: answered from what is known, or when it is up.
    fn without_line(
        self: &Arc<Self>,
        session: &Arc<Session>,
        server: &ServerName,
        speech: Speech,
        envelope: &Envelope<'_>,
    ) -> Routed {
        let recalled = self.upstream(server.as_str()).ok();
        match recalled.and_then(|upstream| self.recall(session, &upstream, &speech, envelope)) {
            Some(answer) => {
                session.reply(envelope.id, &answer);
                Routed::Done
            }
            None => self.start_then_send(session, server.clone(), speech, envelope),
        }
    }

    /// Sends a request of a one-server view on, as it is.
    fn send_own(self: &Arc<Self>, session: &Arc<Session>, line: &Arc<Line>, envelope: &Envelope<'_>) -> Routed {
        match self.own_plan(session, line, envelope) {
            Plan::Answered => Routed::Done,
            Plan::Send(edits, then) => self.send(session, line, envelope, edits, then),
        }
    }

    /// Brings a notification to the agent's servers of its own era; the other era has none of them.
    fn pass_on(&self, session: &Session, envelope: &Envelope<'_>) {
        let era = if session.class().is_some() { Era::Legacy } else { Era::Modern };
        let lines = session.lines().into_iter().filter(|line| line.era() == era);
        lines.for_each(|line| line.notify(envelope, &mut []));
    }

    /// What to do with a request of a one-server view.
    fn own_plan<'e>(self: &Arc<Self>, session: &Arc<Session>, line: &Arc<Line>, envelope: &Envelope<'e>) -> Plan<'e> {
        if let Some(plan) = self.across(session, line, envelope) {
            return plan;
        }
        let uri = || envelope.params.uri.and_then(text);
        if let Some(kind) = ListKind::of_method(&envelope.method).filter(|_| !envelope.params.is_retry()) {
            return Plan::Send(Vec::new(), Then::List { kind, cursor: envelope.params.cursor.map(Into::into) });
        }
        if let Some(refusal) = refused::refusal(session, line, envelope) {
            session.reply(envelope.id, &refusal);
            return Plan::Answered;
        }
        match &*envelope.method {
            "tasks/list" => Plan::Send(Vec::new(), Then::Tasks),
            "tasks/get" | "tasks/result" | "tasks/cancel" | "tasks/update" => match envelope.params.task_id {
                // To whoever did not begin a task, the server itself says that there is none.
                Some(raw) if !is_own_task(session, line, raw) => {
                    Plan::Send(vec![envelope.edit(raw, NO_TASK)], Then::Nothing)
                }
                Some(_) | None => Plan::Send(Vec::new(), Then::Nothing),
            },
            "subscriptions/listen" => Plan::Send(Vec::new(), Then::Listen),
            "logging/setLevel" => match envelope.params.level.and_then(|raw| Some((raw, Level::parse(raw)?))) {
                Some((raw, level)) => {
                    let (before, effective) = line.set_level(session.id, level);
                    Plan::Send(vec![envelope.edit(raw, effective)], Then::SetLevel { before })
                }
                None => Plan::Send(Vec::new(), Then::Nothing),
            },
            "resources/subscribe" => match uri() {
                Some(uri) => {
                    line.subscribe(session.id, &uri, &uri);
                    Plan::Send(Vec::new(), Then::Subscribe(uri.into_owned()))
                }
                None => Plan::Send(Vec::new(), Then::Nothing),
            },
            "resources/unsubscribe" if uri().is_some_and(|uri| line.unsubscribe(session.id, &uri)) => {
                session.reply(envelope.id, &reply::result(envelope.id, "{}"));
                Plan::Answered
            }
            _ => Plan::Send(Vec::new(), Then::Nothing),
        }
    }

    fn start_then_send(
        self: &Arc<Self>,
        session: &Arc<Session>,
        server: ServerName,
        speech: Speech,
        envelope: &Envelope<'_>,
    ) -> Routed {
        let (hub, who, frame) = (self.clone(), session.clone(), envelope.frame.to_owned());
        let work = async move {
            let Some(message) = Message::again(frame).await else { return };
            let envelope = message.envelope();
            let kind = ListKind::of_method(&envelope.method);
            let found = match kind {
                Some(_) => hub.line(&who, server.as_str(), &speech).await,
                None => hub.line_for_call(&who, server.as_str(), &speech).await,
            };
            match (found, kind) {
                (Err(Failure::NeedsLogin { .. }), Some(kind)) if who.class().is_some() => {
                    // What it offers is told when the login is done.
                    who.note_missed(&server, kind);
                    who.reply(envelope.id, &reply::result(envelope.id, &format!(r#"{{"{}":[]}}"#, kind.member())));
                }
                (Ok(line), _) => match hub.own_plan(&who, &line, envelope) {
                    Plan::Answered => {}
                    Plan::Send(edits, then) => hub.send_patiently(&who, line.clone(), envelope, edits, then).await,
                },
                (Err(failure), _) => who.reply(envelope.id, &failure.frame(envelope.id)),
            }
        };
        Routed::Later(cancellable(session, envelope, work))
    }

    fn notification(self: &Arc<Self>, session: &Arc<Session>, envelope: &Envelope<'_>) {
        match &*envelope.method {
            // rmcp said so to the server already, once for all who share it.
            "notifications/initialized" => {
                if self.is_to_name_roots(session) {
                    // The handshake went where the agent was before it could be asked.
                    self.wait_for_roots(session);
                }
                self.ask_roots(session);
            }
            "notifications/roots/list_changed" => {
                self.pass_on(session, envelope);
                self.ask_roots(session);
            }
            "notifications/cancelled" => {
                let waiting = envelope.params.request_id.is_some_and(|id| {
                    let round = session.round(id).is_some_and(|round| round.end());
                    let waiting = session.cancel_waiting(id) || round;
                    if waiting {
                        session.over(id);
                    }
                    waiting || session.end_listen(id)
                });
                if !waiting && !session.lines().iter().any(|line| line.cancel(session, envelope)) {
                    tracing::debug!(
                        session = session.id.0,
                        "a cancellation came too late, or names no call of this agent"
                    );
                }
            }
            "notifications/progress" => {
                if let Some(line) = envelope.params.progress_token.and_then(|token| session.line_of_token(token)) {
                    line.notify(envelope, &mut []);
                }
            }
            _ => self.pass_on(session, envelope),
        }
    }
}

/// What to do with a request of a one-server view.
pub(super) enum Plan<'e> {
    Answered,
    Send(Vec<Edit<'e>>, Then),
}

/// A request that waits, until its agent cancels it; it is refused where as much waits as may.
pub(super) fn cancellable(
    session: &Arc<Session>,
    envelope: &Envelope<'_>,
    work: impl Future<Output = ()> + Send + 'static,
) -> Later {
    match session.wait_with(envelope) {
        Some(waits) => Box::pin(async move { waits.cancelled().run_until_cancelled(work).await.unwrap_or_default() }),
        None => Box::pin(std::future::ready(())),
    }
}

/// The refusal of a request of the modern era that does not say of itself what it must.
pub fn incomplete(envelope: &Envelope<'_>) -> Option<String> {
    let meta = &envelope.params.meta;
    if !envelope.is_modern() {
        return None;
    }
    let missing = match meta.protocol_version.and_then(text) {
        None => "protocolVersion",
        Some(_) if !meta.client_capabilities.is_some_and(|raw| raw.starts_with('{')) => "clientCapabilities",
        Some(_) => return None,
    };
    let message = format!("`params._meta` lacks `io.modelcontextprotocol/{missing}`");
    Some(reply::error(envelope.id, code::INVALID_PARAMS, &message))
}

fn introduce(session: &Session, client_info: Option<&str>) {
    if let Some(client_info) = client_info {
        session.introduce(client_info);
    }
}
