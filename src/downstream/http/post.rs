//! A message that an agent posts: in the legacy era for its session, in the modern one for itself alone.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use tokio::time::timeout;

use crate::downstream::http::answer::{Accepts, Form, Named, accepts, empty, ending, refused, refused_as, respond};
use crate::downstream::http::body::{Unread, over_budget, weighed};
use crate::downstream::http::connection::Connection;
use crate::downstream::http::endpoint::HttpEndpoint;
use crate::downstream::http::sessions::{Attached, SESSION_ID};
use crate::downstream::http::{answer, sessions};
use crate::envelope::reply::{self, code};
use crate::envelope::{Envelope, Kind, text};
use crate::era::{AgentTerms, LEGACY_ALL, MODERN};
use crate::fault::contained;
use crate::hub::{Routed, Session, View, incomplete, not_modern};
use crate::lists::ListKind;
use crate::mcp_headers;
use crate::method::{Changes, Method};
use crate::names;
use crate::random::random_text;
use crate::wire::{Account, Message, Writer};

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// How long the answer may take before a stream is opened for it: in the legacy era, where that can be taken up again when it
/// is cut, and in the modern one, where an error that comes late has no status of its own any more.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(10));
/// The same for `initialize`, whose answer decides whether there is a session.
const GREETING: Duration = Duration::from_secs(60);
/// How long a server that has not listed its tools may take to do so.
const TOOLS: Duration = Duration::from_secs(5);
/// How long a body may take to arrive.
const BODY: Duration = Duration::from_secs(30);

impl HttpEndpoint {
    pub(super) async fn post(self: Arc<Self>, view: View, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let headers = parts.headers;
        let invalid = |status, message: &str| refused(status, code::INVALID_REQUEST, message);
        if !is_json(&headers) {
            return invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be application/json");
        }
        let accepts = accepts(&headers);
        if !accepts.json && !accepts.events {
            return not_acceptable("application/json or text/event-stream");
        }
        let cap = self.hub.config().daemon.max_frame.0;
        let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if let Some(length) = length.filter(|length| *length > cap) {
            let message = format!("the body has {length} bytes, and may have {cap} (max_frame)");
            return invalid(StatusCode::PAYLOAD_TOO_LARGE, &message);
        }
        let cut = parts.extensions.get::<Connection>().map(|connection| connection.cut.clone()).unwrap_or_default();
        let account = self.hub.account("a request over HTTP", cut);
        let body = match timeout(BODY, weighed(body, cap, &account)).await {
            Ok(Ok(body)) => body,
            Ok(Err(Unread::TooLong)) => {
                let message = format!("the body is larger than {cap} bytes (max_frame)");
                return invalid(StatusCode::PAYLOAD_TOO_LARGE, &message);
            }
            Ok(Err(Unread::OverBudget)) => return over_budget(),
            Ok(Err(Unread::Cut)) => return invalid(StatusCode::BAD_REQUEST, "the body was cut"),
            Err(_) => return invalid(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"),
        };
        match Message::read(body.bytes, Some(body.held), Writer::Agent).await {
            Ok(message) => self.message(view, &headers, accepts, message.envelope(), account).await,
            Err(unreadable) => refused_as(StatusCode::BAD_REQUEST, &unreadable.error.refusal()),
        }
    }

    /// Responds to a message.
    async fn message(
        self: Arc<Self>,
        view: View,
        headers: &HeaderMap,
        accepts: Accepts,
        envelope: &Envelope<'_>,
        account: Account,
    ) -> Response {
        let invalid = |status, message: &str| refused(status, code::INVALID_REQUEST, message);
        // What is in flight may still be answered.
        if self.ends.drain.is_cancelled() && envelope.kind == Kind::Request {
            return ending();
        }
        let version = version_of(headers);
        if envelope.is_modern() || version.is_some_and(|version| version >= MODERN) {
            self.post_modern(view, headers, accepts, envelope, account).await
        } else if envelope.method == Some(Method::Initialize) && envelope.kind == Kind::Request {
            match self.session(headers, &view) {
                Some(attached) => {
                    let mut response = self.post_legacy(headers, attached, accepts, envelope).await;
                    response.headers_mut().extend(headers.get(SESSION_ID).cloned().map(|id| (SESSION_ID, id)));
                    response
                }
                None => self.post_initialize(view, accepts, envelope).await,
            }
        } else if !headers.contains_key(SESSION_ID) {
            let message = "no session is named: begin one with `initialize`, or carry `io.modelcontextprotocol/protocolVersion` in `params._meta`";
            invalid(StatusCode::BAD_REQUEST, message)
        } else if let Some(refusal) = wrong_version(headers) {
            refusal
        } else {
            match self.session(headers, &view) {
                Some(attached) => self.post_legacy(headers, attached, accepts, envelope).await,
                None => self.no_session(),
            }
        }
    }

    async fn post_initialize(self: Arc<Self>, view: View, accepts: Accepts, envelope: &Envelope<'_>) -> Response {
        let attached = match Attached::lasting(&self.hub, &self.ends, view) {
            Ok(attached) => Arc::new(attached),
            Err(failure) => return refused_as(StatusCode::NOT_FOUND, &failure.frame(envelope.id)),
        };
        let Some(reader) = attached.streams.open(envelope.id) else { return empty(StatusCode::BAD_REQUEST) };
        self.take(&attached.session, envelope);
        let named = attached.names_events();
        let form = Form { accepts, named, status: answer::by_kind, unseen: |_: &[u8]| {} };
        let mut response = respond(reader, GREETING, form, attached.clone()).await;
        if response.status() == answer::FAILED {
            // There is no session to a server that refuses it.
            *response.status_mut() = StatusCode::OK;
            return response;
        }
        // Only now: an agent that did not wait for the answer has none.
        let id = random_text();
        self.note(&id, &attached);
        self.add(&id, attached, &self.turn.lock());
        response.headers_mut().extend(HeaderValue::from_str(&id).ok().map(|id| (SESSION_ID, id)));
        response
    }

    /// The session that a request names: one that is here, or one that an earlier daemon had, which goes on.
    pub(super) fn session(&self, headers: &HeaderMap, view: &View) -> Option<Arc<Attached>> {
        if let Some(found) = self.sessions.find(headers, view) {
            return Some(found);
        }
        if self.ends.drain.is_cancelled() {
            return None;
        }
        let id = sessions::id_of(headers)?;
        let turn = self.turn.lock();
        if let Some(found) = self.sessions.find(headers, view) {
            return Some(found);
        }
        let remembered = self.records.find(id, view)?;
        if self.sessions.end(id, view) {
            // It was cut off, and did not leave yet.
            self.records.forget(id);
            return None;
        }
        let attached = Arc::new(Attached::lasting(&self.hub, &self.ends, view.clone()).ok()?);
        self.hub.restore(&attached.session, remembered);
        self.add(id, attached.clone(), &turn);
        Some(attached)
    }

    async fn post_legacy(
        self: Arc<Self>,
        headers: &HeaderMap,
        attached: Arc<Attached>,
        accepts: Accepts,
        envelope: &Envelope<'_>,
    ) -> Response {
        if envelope.kind != Kind::Request {
            self.take(&attached.session, envelope);
            return empty(StatusCode::ACCEPTED);
        }
        let Some(reader) = attached.streams.open(envelope.id) else {
            let message = "a request with this id is under way";
            return refused_as(StatusCode::BAD_REQUEST, &reply::error(envelope.id, code::INVALID_REQUEST, message));
        };
        self.take(&attached.session, envelope);
        let named = attached.names_events();
        let face = self.clone();
        let asked = attached.clone();
        let unseen = move |frame: &[u8]| face.refuse_question(&asked.session, frame);
        let form = Form { accepts, named, status: answer::always_ok, unseen };
        let response = respond(reader, PATIENCE.0, form, attached.clone()).await;
        if matches!(
            envelope.method.map(Method::changes),
            Some(Changes::Session | Changes::Level | Changes::Subscriptions)
        ) {
            // What is not granted yet is noted with the next look at all sessions.
            sessions::id_of(headers).iter().for_each(|id| self.note(id, &attached));
        }
        response
    }

    /// A request that says all of itself: it is an agent of its own, and has left when its response is over.
    async fn post_modern(
        self: Arc<Self>,
        view: View,
        headers: &HeaderMap,
        accepts: Accepts,
        envelope: &Envelope<'_>,
        account: Account,
    ) -> Response {
        match envelope.kind {
            Kind::Request => {}
            // The era has none that mean something here: who does not want an answer any more closes its stream.
            Kind::Notification => return empty(StatusCode::ACCEPTED),
            Kind::Response => {
                let message = "the modern era has no requests to answer";
                return refused(StatusCode::BAD_REQUEST, code::INVALID_REQUEST, message);
            }
        }
        if !envelope.is_modern() {
            if let Some(version) = version_of(headers).filter(|version| *version != MODERN) {
                return refused_as(StatusCode::BAD_REQUEST, &not_modern(envelope.id, version));
            }
            let message = "`params._meta` lacks `io.modelcontextprotocol/protocolVersion`";
            let frame = reply::error(envelope.id, code::INVALID_PARAMS, message);
            return refused_as(StatusCode::BAD_REQUEST, &frame);
        }
        if let Some(refusal) = incomplete(envelope) {
            return refused_as(StatusCode::BAD_REQUEST, &refusal);
        }
        if envelope.method == Some(Method::Listen) && !accepts.events {
            // It is answered by its end alone.
            return not_acceptable("text/event-stream");
        }
        let mismatch = |message: &str| {
            let frame = reply::error(envelope.id, code::HEADER_MISMATCH, message);
            refused_as(StatusCode::BAD_REQUEST, &frame)
        };
        if let Some(message) = mcp_headers::mismatch(envelope, headers) {
            return mismatch(&message);
        }
        let attached = match Attached::for_one_request(&self.hub, &self.ends, view, &account) {
            Ok(attached) => attached,
            Err(failure) => return refused_as(StatusCode::NOT_FOUND, &failure.frame(envelope.id)),
        };
        if let Some(message) = self.mismatched_argument(&attached.session, envelope, headers).await {
            return mismatch(&message);
        }
        let Some(reader) = attached.streams.open(envelope.id) else { return empty(StatusCode::BAD_REQUEST) };
        self.take(&attached.session, envelope);
        let form = Form { accepts, named: Named::No, status: answer::by_error, unseen: |_: &[u8]| {} };
        respond(reader, PATIENCE.1, form, attached).await
    }

    /// Answers what a server asks an agent that takes no stream on which it could be asked.
    fn refuse_question(self: &Arc<Self>, session: &Arc<Session>, frame: &[u8]) {
        let Ok(question) = Envelope::parse(frame) else { return };
        if question.kind == Kind::Request {
            let message = "the agent cannot be asked: its `Accept` names no text/event-stream";
            let answer = reply::error(question.id, code::METHOD_NOT_FOUND, message);
            if let Ok(envelope) = Envelope::parse(answer.as_bytes()) {
                self.take(session, &envelope);
            }
        }
    }

    /// Why the headers do not go with the arguments of a tool, if they do not.
    async fn mismatched_argument(
        &self,
        session: &Arc<Session>,
        envelope: &Envelope<'_>,
        headers: &HeaderMap,
    ) -> Option<String> {
        if envelope.method != Some(Method::CallTool) {
            return None;
        }
        let name = envelope.params.name.and_then(text)?;
        let (server, tool) = match &session.view {
            View::One(server) => (server.as_str(), &*name),
            View::All | View::Profile(_) => names::split(&name)?,
        };
        let upstream = self.hub.server(server).ok()?;
        let parameters = match upstream.annotated(tool) {
            Some(parameters) => parameters,
            None => {
                let terms = session.terms(envelope)?;
                // If it does not list them now, it is not known that it has any such argument.
                timeout(TOOLS, self.list_tools(session, server, &terms)).await.ok();
                upstream.annotated(tool).unwrap_or_default()
            }
        };
        mcp_headers::mismatched_argument(envelope, &parameters, headers)
    }

    async fn list_tools(&self, session: &Arc<Session>, server: &str, terms: &AgentTerms) {
        if let Ok(site) = self.hub.instance(session, server, terms).await {
            drop(site.server.list(&site.instance, ListKind::Tools).await);
        }
    }

    /// Brings a message to the hub; what cannot be done at once is done aside.
    fn take(&self, session: &Arc<Session>, envelope: &Envelope<'_>) {
        match self.hub.take(session, envelope) {
            Routed::Done => {}
            Routed::Later(later) | Routed::Aside(later) => {
                let (session, id) = (session.clone(), envelope.id.to_owned());
                self.tasks.spawn(async move {
                    if let Err(fault) = contained(session.gone.run_until_cancelled(later)).await {
                        session.reply(&id, &reply::error(&id, code::INTERNAL, &fault.to_string()));
                    }
                });
            }
        }
    }
}

fn not_acceptable(what: &str) -> Response {
    let message = format!("the header `Accept` must name {what}");
    refused(StatusCode::NOT_ACCEPTABLE, code::INVALID_REQUEST, &message)
}

fn version_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(PROTOCOL_VERSION)?.to_str().ok()
}

/// The refusal of a request for a session in a revision that has none.
pub(super) fn wrong_version(headers: &HeaderMap) -> Option<Response> {
    let given = headers.contains_key(PROTOCOL_VERSION);
    if !given || version_of(headers).is_some_and(|version| LEGACY_ALL.contains(&version)) {
        return None;
    }
    let message = "the header `MCP-Protocol-Version` names no revision that has sessions";
    Some(refused(StatusCode::BAD_REQUEST, code::INVALID_REQUEST, message))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
