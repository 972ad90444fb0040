//! What an agent sends, brought to the server it is for.

use std::pin::Pin;
use std::sync::Arc;

use super::Hub;
use super::level::Level;
use super::line::Line;
use super::reply::{self, code};
use super::session::{Session, View};
use super::table::Then;
use crate::envelope::{Edit, Envelope, Kind, text};
use crate::era::{Class, Dialect};
use crate::names::ServerName;
use crate::wire::Refused;

/// The rest of a frame's handling, when a server must be waited for.
pub type Later = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What became of a frame.
pub enum Routed {
    Done,
    Later(Later),
}

impl Hub {
    /// Takes one frame from an agent. What can be done at once is done at once.
    pub fn route(self: &Arc<Self>, session: &Arc<Session>, frame: &[u8]) -> Routed {
        let envelope = match Envelope::from_agent(frame) {
            Ok(envelope) => envelope,
            Err(error) => {
                let code = match error {
                    crate::envelope::Malformed::Utf8 | crate::envelope::Malformed::Json(_) => code::PARSE,
                    crate::envelope::Malformed::Depth
                    | crate::envelope::Malformed::Batch
                    | crate::envelope::Malformed::NotRpc(_) => code::INVALID_REQUEST,
                };
                session.send_text(&reply::error("null", code, &error.to_string()));
                return Routed::Done;
            }
        };
        match envelope.kind {
            Kind::Request => self.request(session, &envelope),
            Kind::Notification => {
                notification(session, &envelope);
                Routed::Done
            }
            Kind::Response => {
                match session.answer(envelope.id) {
                    Some(question) => question.line.answer(&question, &envelope),
                    None => tracing::debug!(session = session.id.0, id = envelope.id, "dropped an answer to nothing"),
                }
                Routed::Done
            }
        }
    }

    fn request(self: &Arc<Self>, session: &Arc<Session>, envelope: &Envelope<'_>) -> Routed {
        if envelope.method == "initialize" {
            return self.initialize(session, envelope);
        }
        let Some(dialect) = session.dialect(envelope.is_modern()) else {
            // Both eras let an agent ask whether anybody is there before it introduces itself.
            let answer = match &*envelope.method {
                "ping" => reply::result(envelope.id, "{}"),
                _ => {
                    let message = "the session has not begun: send `initialize`, or carry `io.modelcontextprotocol/protocolVersion` in `params._meta`";
                    reply::error(envelope.id, code::INVALID_REQUEST, message)
                }
            };
            session.send_text(&answer);
            return Routed::Done;
        };
        match &session.view {
            View::All => self.merged(session, envelope, dialect),
            View::One(server) => match session.line(server.as_str(), dialect.era()) {
                Some(line) => self.send_own(session, &line, envelope),
                None => self.start_then_send(session, server.clone(), dialect, envelope),
            },
        }
    }

    fn initialize(self: &Arc<Self>, session: &Arc<Session>, envelope: &Envelope<'_>) -> Routed {
        let version = envelope.params.protocol_version.and_then(text);
        let class = version.and_then(|version| Class::of(&version, envelope.params.capabilities.unwrap_or("{}")));
        let Some(class) = class else {
            let message = "initialize: `protocolVersion` must be a string and `capabilities` an object";
            session.send_text(&reply::error(envelope.id, code::INVALID_PARAMS, message));
            return Routed::Done;
        };
        introduce(session, envelope.params.client_info);
        session.begin(class.clone()).iter().for_each(|line| line.leave(session));
        let View::One(server) = &session.view else {
            session.send_text(&self.greeting(envelope.id, &class));
            return Routed::Done;
        };
        let (hub, session, server, id) = (self.clone(), session.clone(), server.clone(), envelope.id.to_owned());
        Routed::Later(Box::pin(async move {
            let greeting = match hub.upstream(server.as_str()) {
                Ok(upstream) => upstream.line(super::Want::Dialect(Dialect::Legacy(class))).await,
                Err(failure) => Err(failure),
            };
            match greeting {
                Ok(line) => {
                    let frame = line.handshake().and_then(|handshake| handshake.initialize.clone());
                    // Joined only behind its answer, so that no notification can overtake the handshake.
                    session.send_text(
                        &frame.and_then(|frame| under(&frame, &id)).unwrap_or_else(|| {
                            reply::error(&id, code::INTERNAL, "the server's handshake was not kept")
                        }),
                    );
                    line.join(&session);
                }
                Err(failure) => session.send_text(&failure.frame(&id, "initialize")),
            }
        }))
    }

    /// Sends a request of a one-server view on, as it is.
    fn send_own(self: &Arc<Self>, session: &Arc<Session>, line: &Arc<Line>, envelope: &Envelope<'_>) -> Routed {
        match own_plan(session, line, envelope) {
            Plan::Answered => Routed::Done,
            Plan::Send(edits, then) => self.send(session, line, envelope, edits, then),
        }
    }

    /// Sends a request, at once if the server has room.
    pub(super) fn send(
        self: &Arc<Self>,
        session: &Arc<Session>,
        line: &Arc<Line>,
        envelope: &Envelope<'_>,
        edits: Vec<Edit<'_>>,
        then: Then,
    ) -> Routed {
        match line.request(session, envelope, edits.clone(), then.clone()) {
            Ok(()) => Routed::Done,
            Err(Refused::Full | Refused::Closed) => {
                let edits: Vec<_> = edits.into_iter().map(|edit| (edit.at, edit.with.to_owned())).collect();
                let (session, line, frame) = (session.clone(), line.clone(), envelope.frame.to_owned());
                Routed::Later(Box::pin(async move {
                    if let Ok(envelope) = Envelope::parse(frame.as_bytes()) {
                        let edits = edits.iter().map(|(at, with)| Edit { at: at.clone(), with }).collect();
                        line.request_patiently(&session, &envelope, edits, then).await;
                    }
                }))
            }
        }
    }

    fn start_then_send(
        self: &Arc<Self>,
        session: &Arc<Session>,
        server: ServerName,
        dialect: Dialect,
        envelope: &Envelope<'_>,
    ) -> Routed {
        let (hub, session, frame) = (self.clone(), session.clone(), envelope.frame.to_owned());
        if envelope.is_modern() {
            introduce(&session, envelope.params.meta.client_info);
        }
        Routed::Later(Box::pin(async move {
            let Ok(envelope) = Envelope::parse(frame.as_bytes()) else { return };
            match hub.line(&session, server.as_str(), &dialect).await {
                Ok(line) => match own_plan(&session, &line, &envelope) {
                    Plan::Answered => {}
                    Plan::Send(edits, then) => line.request_patiently(&session, &envelope, edits, then).await,
                },
                Err(failure) => session.send_text(&failure.frame(envelope.id, &envelope.method)),
            }
        }))
    }
}

/// What to do with a request of a one-server view.
enum Plan<'e> {
    Answered,
    Send(Vec<Edit<'e>>, Then),
}

fn own_plan<'e>(session: &Arc<Session>, line: &Line, envelope: &Envelope<'e>) -> Plan<'e> {
    let uri = || envelope.params.uri.and_then(text);
    match &*envelope.method {
        "subscriptions/listen" => Plan::Send(Vec::new(), Then::Listen),
        "tasks/list" if line.session_ids().len() > 1 => {
            let message =
                "`tasks/list` would show other agents' tasks: it is refused while several agents share the server";
            session.send_text(&reply::error(envelope.id, code::METHOD_NOT_FOUND, message));
            Plan::Answered
        }
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
            session.send_text(&reply::result(envelope.id, "{}"));
            Plan::Answered
        }
        _ => Plan::Send(Vec::new(), Then::Nothing),
    }
}

/// A stored frame under another id.
fn under(frame: &str, id: &str) -> Option<String> {
    let envelope = Envelope::parse(frame.as_bytes()).ok()?;
    let mut out = Vec::with_capacity(frame.len() + id.len());
    crate::envelope::splice(frame, &mut [envelope.edit(envelope.id, id)], &mut out);
    String::from_utf8(out).ok()
}

fn introduce(session: &Session, client_info: Option<&str>) {
    #[derive(serde::Deserialize)]
    struct ClientInfo {
        name: String,
    }
    if let Some(info) = client_info.and_then(|raw| serde_json::from_str::<ClientInfo>(raw).ok()) {
        session.introduce(&info.name);
    }
}

fn notification(session: &Arc<Session>, envelope: &Envelope<'_>) {
    match &*envelope.method {
        // rmcp said so to the server already, once for all who share it.
        "notifications/initialized" => {}
        "notifications/cancelled" => {
            let waiting = envelope.params.request_id.is_some_and(|id| session.cancel_waiting(id));
            if !waiting && !session.lines().iter().any(|line| line.cancel(session, envelope)) {
                tracing::debug!(session = session.id.0, "a cancellation came too late, or names no call of this agent");
            }
        }
        "notifications/progress" => {
            if let Some(line) = envelope.params.progress_token.and_then(|token| session.line_of_token(token)) {
                line.notify(envelope, &mut []);
            }
        }
        _ => session.lines().iter().for_each(|line| line.notify(envelope, &mut [])),
    }
}
