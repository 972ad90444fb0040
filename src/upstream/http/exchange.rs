//! One message to the server and what comes back for it: JSON, or a stream of events that is taken up again when it is cut.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use reqwest::header::{HeaderValue, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode};
use tokio::time::timeout;

use crate::envelope::reply::code;
use crate::era::Era;
use crate::method::Method;
use crate::retry::retry_after;
use crate::traces::TraceMeta;
use crate::upstream::http::answer::{Answer, Media, amended, body, describe, error_of, split, target};
use crate::upstream::http::client::{ERROR_BODY, Repeat, Trouble};
use crate::upstream::http::done::Done;
use crate::upstream::http::events::{Broken, Events};
use crate::upstream::http::posted::Posted;
use crate::upstream::http::resume::{Resume, last_event_id};
use crate::upstream::http::session::{SESSION_ID, Session};
use crate::upstream::http::shared::Shared;
use crate::upstream::inbound::Inbound;
use crate::upstream::quirks::Quirk;

/// How long the end of a stream is waited for once its answer is there, so that its connection can be used again.
const END_WAIT: Duration = Duration::from_secs(2);

/// Sends a message, and brings what comes back to where it belongs.
pub(super) async fn exchange(shared: Arc<Shared>, posted: Posted, session: Session) -> Done {
    let mut listed = false;
    loop {
        let done = match shared.endpoint.send(posted.repeat(), || shared.request(&posted, &session)).await {
            Ok(response) => shared.read(response, &posted, &session, listed).await,
            Err(trouble) => shared.fail(&posted, trouble),
        };
        match done {
            Done::Mismatch => {
                listed = true;
                shared.list_again().await;
            }
            // For as long as the handshake may take.
            Done::NotNow(pause) => tokio::time::sleep(pause).await,
            done @ (Done::Over
            | Done::Began(_)
            | Done::Lost(_)
            | Done::OldTransport(..)
            | Done::Elsewhere(_)
            | Done::Fatal(_)) => return done,
        }
    }
}

/// The pause after a refusal for the moment that names none.
const NOT_NOW: Duration = Duration::from_secs(1);

/// Says in headers too where a message stands in a trace, as far as its `_meta` says that (W3C Trace Context).
fn traced(request: RequestBuilder, meta: Option<&str>) -> RequestBuilder {
    let TraceMeta { traceparent, tracestate, baggage } = TraceMeta::read(meta);
    let known = [("traceparent", traceparent), ("tracestate", tracestate), ("baggage", baggage)];
    let values = known.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::from_str(&text?).ok()?)));
    values.fold(request, |request, (name, value)| request.header(name, value))
}

impl Shared {
    pub(super) fn request(&self, posted: &Posted, session: &Session) -> RequestBuilder {
        let to = session.messages.as_ref().unwrap_or(&self.endpoint.url);
        let request = self.endpoint.post(to, posted.message.text().clone());
        let request = traced(request, posted.message.envelope().params.meta_raw);
        match posted.era {
            Era::Modern => request.headers(self.mirrored(posted.message.envelope())),
            Era::Legacy => request.headers(session.headers.clone()),
        }
    }

    async fn read(&self, response: Response, posted: &Posted, session: &Session, listed: bool) -> Done {
        let status = response.status();
        if !status.is_success() {
            return self.refused(response, posted, session, listed).await;
        }
        // In the old transport, the answer comes on the stream of events.
        if posted.id.is_none() || session.messages.is_some() {
            return Done::Over;
        }
        let began = response.headers().get(SESSION_ID).cloned();
        let answer = match Media::of(&response) {
            Media::Events => self.stream(Events::new(response, &self.bounds), posted, session).await,
            _ if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) => {
                match body(response, &self.bounds).await {
                    Ok(bytes) if !bytes.iter().all(u8::is_ascii_whitespace) => {
                        self.deliver_all(self.text_of(bytes), posted).await
                    }
                    Ok(_) | Err(_) => Answer::Missing,
                }
            }
            Media::Json => match body(response, &self.bounds).await {
                Ok(bytes) => self.deliver_all(self.text_of(bytes), posted).await,
                Err(reason) => Answer::Cut(reason),
            },
            Media::Other(kind) => Answer::Cut(format!("it answered with the content type `{kind}`")),
        };
        if status == StatusCode::ACCEPTED {
            match (&answer, posted.id) {
                (Answer::Missing, Some(id)) => return self.elsewhere(posted, id),
                _ => self.tap.note(&Quirk::AcceptedWithBody),
            }
        }
        match answer {
            // An error begins nothing.
            Answer::Given(result) if posted.method == Some(Method::Initialize) && !result.is_empty() => {
                Done::Began(Session::begun(session.generation + 1, began, &result))
            }
            Answer::Given(_) => Done::Over,
            Answer::Missing => self.tell(posted, code::INTERNAL, "its reply does not answer the request"),
            Answer::Cut(reason) => self.cut(posted, &reason),
            Answer::Unreadable(reason) => self.unreadable(posted, &reason),
        }
    }

    /// The server has taken a request, and may answer it on the stream of what belongs to none.
    fn elsewhere(&self, posted: &Posted, id: u64) -> Done {
        if self.listens.load(Ordering::Relaxed) {
            return Done::Elsewhere(id);
        }
        self.tell(posted, code::INTERNAL, "it took the request and gave no answer")
    }

    /// The answer came, and says nothing that can be understood.
    fn unreadable(&self, posted: &Posted, reason: &str) -> Done {
        let reason = format!("its answer cannot be read: {reason}");
        self.tap.note(&Quirk::Unreadable(reason.clone()));
        if self.is_handshake(posted) {
            return self.fail(posted, Trouble::Unreachable(format!("{}: {reason}", self.endpoint.place())));
        }
        self.tell(posted, code::INTERNAL, &reason)
    }

    /// Takes the messages of a JSON body: one, or a batch of them (2025-03-26).
    async fn deliver_all(&self, text: String, posted: &Posted) -> Answer {
        self.deliver_all_of(text, posted).await.unwrap_or(Answer::Missing)
    }

    async fn deliver_all_of(&self, text: String, posted: &Posted) -> Option<Answer> {
        let mut answer = None;
        for message in split(text).await {
            answer = self.deliver(message, posted).await.or(answer);
        }
        answer
    }

    /// Reads events until the answer is there, and what follows it for a moment.
    async fn stream(&self, mut events: Events, posted: &Posted, session: &Session) -> Answer {
        let mut resume = Resume::default();
        let mut since = Instant::now();
        loop {
            match events.next().await {
                Some(Ok(event)) => {
                    resume.note(&event);
                    let Some(data) = event.data.filter(|data| !data.is_empty()) else { continue };
                    if events.was_repaired() {
                        self.tap.note(&Quirk::NotUtf8);
                    }
                    let Some(given) = self.deliver_all_of(data, posted).await else { continue };
                    if posted.method != Some(Method::Initialize) {
                        self.rest(events, posted).await;
                    }
                    return given;
                }
                Some(Err(error @ Broken::TooLong(_))) => return Answer::Cut(error.to_string()),
                ended => {
                    let why = match ended {
                        Some(Err(error)) => error.to_string(),
                        _ => "the stream ended before the answer".to_owned(),
                    };
                    let legacy = posted.era == Era::Legacy && session.messages.is_none();
                    let Some(id) = resume.id().filter(|_| legacy) else { return Answer::Cut(why) };
                    if let Some(call) = posted.id {
                        (self.inbound)(Inbound::Paused(call));
                    }
                    resume.lasted(since.elapsed());
                    match self.resume(&mut resume, &id, session).await {
                        Ok(again) => (events, since) = (again, Instant::now()),
                        Err(reason) => return Answer::Cut(format!("{why}; {reason}")),
                    }
                }
            }
        }
    }

    /// Takes a cut stream up again where it ended.
    async fn resume(&self, resume: &mut Resume, id: &str, session: &Session) -> Result<Events, String> {
        let mut last = "it was not taken up again in time".to_owned();
        while !resume.is_hopeless() {
            tokio::time::sleep(resume.pause()).await;
            let request = || self.endpoint.get().headers(session.headers.clone()).headers(last_event_id(id));
            match self.endpoint.send(Repeat::Safe, request).await {
                Ok(response) if response.status().is_success() => return Ok(Events::new(response, &self.bounds)),
                Ok(response) if response.status().is_server_error() => last = describe(response.status(), "", None),
                Ok(response) => {
                    return Err(format!("it cannot be taken up again: {}", describe(response.status(), "", None)));
                }
                Err(trouble) => last = trouble.to_string(),
            }
        }
        Err(last)
    }

    /// What a server says behind its answer, until the stream ends.
    async fn rest(&self, mut events: Events, posted: &Posted) {
        let rest = async {
            while let Some(Ok(event)) = events.next().await {
                if let Some(data) = event.data.filter(|data| !data.is_empty()) {
                    self.deliver(data, posted).await;
                }
            }
        };
        drop(timeout(END_WAIT, rest).await);
    }

    /// An HTTP status that is an error: a JSON-RPC error in its body is the answer.
    async fn refused(&self, response: Response, posted: &Posted, session: &Session, listed: bool) -> Done {
        let status = response.status();
        let has_session = posted.era == Era::Legacy && session.has_id();
        let (target, later) = (target(&response), later(&response));
        // Some repeat what they were sent.
        let text = String::from_utf8_lossy(&body(response, &self.bounds.of(ERROR_BODY)).await.unwrap_or_default())
            .into_owned();
        let text = self.endpoint.scrubbed(&text);
        let error = error_of(&text);
        let said = describe(status, error.as_ref().map_or(&text, |error| &error.message), target.as_deref());
        // One under the request's own id has looked at it, unless its code says that it has not.
        let looked = error
            .as_ref()
            .is_some_and(|error| error.answers(posted.id) && !matches!(error.code, -32000 | -32001 | -32600));
        if has_session && !looked && is_about_the_session(status, &said) {
            if status != StatusCode::NOT_FOUND {
                self.tap.note(&Quirk::SessionLoss(said.clone()));
            }
            let refusal = Some(said.into());
            return Done::Lost(Posted { generation: session.generation, refusal, ..posted.clone() });
        }
        if let Some(pause) = later
            && (self.is_handshake(posted) || posted.comes_first())
        {
            return Done::NotNow(pause.unwrap_or(NOT_NOW));
        }
        let when = later.flatten().map(|pause| format!("it asks to be asked again in {} s", pause.as_secs()));
        let is = |wanted: i32| error.as_ref().is_some_and(|error| error.code == wanted);
        if is(code::HEADER_MISMATCH) && posted.era == Era::Modern && posted.method == Some(Method::CallTool) && !listed
        {
            return Done::Mismatch;
        }
        let modern = is(code::HEADER_MISMATCH) || is(code::MISSING_CAPABILITY) || is(code::UNSUPPORTED_VERSION);
        if posted.method == Some(Method::Initialize)
            && matches!(status.as_u16(), 400 | 404 | 405)
            && !modern
            && session.messages.is_none()
        {
            match self.old_transport().await {
                Ok(Some((events, messages))) => {
                    return Done::OldTransport(posted.clone(), Box::new(events), messages);
                }
                Ok(None) => {}
                Err(reason) => {
                    return self.fail(posted, Trouble::Unreachable(format!("{}: {reason}", self.endpoint.place())));
                }
            }
        }
        let said = when.as_ref().map_or(said.clone(), |when| format!("{said}; {when}"));
        match error {
            Some(error) => match &when {
                Some(when) => self.answer(posted, &amended(&error.raw, when)),
                None => self.answer(posted, &error.raw),
            },
            // A server that does not know the method need not say so in JSON-RPC.
            None if posted.method == Some(Method::Discover) && !is_passing(status) => {
                self.tell(posted, code::METHOD_NOT_FOUND, &said)
            }
            None if self.is_handshake(posted) => {
                self.fail(posted, Trouble::Unreachable(format!("{}: {said}", self.endpoint.place())))
            }
            None => self.tell(posted, code::INTERNAL, &said),
        }
    }

    /// Nothing was heard in time.
    pub(super) fn late(&self, posted: &Posted, limit: Duration) -> Done {
        let reason = format!("{}: it did not answer within {limit:?}", self.endpoint.place());
        self.fail(posted, Trouble::Unreachable(reason))
    }

    /// The answer was on its way and did not arrive.
    fn cut(&self, posted: &Posted, reason: &str) -> Done {
        if self.is_handshake(posted) {
            return self.fail(posted, Trouble::Unreachable(format!("{}: {reason}", self.endpoint.place())));
        }
        self.tell(posted, code::CONNECTION_CLOSED, &format!("{reason}; the request was not repeated"))
    }
}

/// Whether a refusal says that the server does not know the session: by its status, or in words.
fn is_about_the_session(status: StatusCode, said: &str) -> bool {
    // These have another meaning, whatever else they say.
    let other = matches!(status.as_u16(), 401 | 402 | 403 | 407 | 408 | 413 | 415 | 425 | 429 | 431 | 451);
    let says_so = || {
        let said = said.to_ascii_lowercase();
        let lost = [
            "not found",
            "no valid",
            "invalid",
            "expired",
            "unknown",
            "missing",
            "terminated",
            "closed",
            "not exist",
            "no session",
            "required",
        ];
        said.contains("session") && lost.iter().any(|word| said.contains(word))
    };
    status == StatusCode::NOT_FOUND || status.is_client_error() && !other && says_so()
}

/// How long a server wants to be left alone, if it does not answer for that reason: it need not say.
fn later(response: &Response) -> Option<Option<Duration>> {
    if !matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    Some(response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(retry_after))
}

/// Whether a status says something of the moment only.
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 407 | 408 | 425 | 429 | 502 | 503 | 504)
}
