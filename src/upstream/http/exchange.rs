//! One message to the server and what comes back for it: JSON, or a stream of events that is taken up again when it is cut.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use tokio::time::timeout;

use super::Shared;
use super::answer::{Answer, body, describe, error_of, split};
use super::client::{ERROR_BODY, Trouble};
use super::events::{Broken, Events};
use super::resume::{Resume, last_event_id};
use super::session::{SESSION_ID, Session};
use crate::envelope::reply::code;
use crate::envelope::{Envelope, Kind, splice};
use crate::era::Era;
use crate::upstream::instance::{Ended, Inbound};

/// How long the end of a stream is waited for once its answer is there, so that its connection can be used again.
const END_WAIT: Duration = Duration::from_secs(2);

/// A message on its way, as trunkline sends it.
#[derive(Debug, Clone)]
pub(super) struct Posted {
    pub frame: Arc<str>,
    pub kind: Kind,
    pub method: String,
    /// Of a request: under which trunkline sent it.
    pub id: Option<u64>,
    pub era: Era,
    /// How often the server has said that it does not know the session, and which one that was.
    pub lost: u32,
    pub generation: u32,
}

/// What became of a message.
pub(super) enum Done {
    /// It was answered, or taken, or its sender was told why not; what the server may still say is not waited for.
    Over,
    /// `initialize` was answered: this is the session.
    Began(Session),
    /// The server does not know the session, and has not looked at the message.
    Lost(Posted),
    /// The server speaks the transport before Streamable HTTP: its events, and where messages go.
    OldTransport(Posted, Box<Events>, Url),
    /// The headers do not match the tools as they are now.
    Mismatch,
    /// Nothing can come of this connection.
    Fatal(Ended),
}

impl Posted {
    /// From a frame of the outbox; `None` for what is no message.
    pub(super) fn new(frame: &str) -> Option<Self> {
        let envelope = Envelope::parse(frame.as_bytes()).ok()?;
        Some(Self {
            kind: envelope.kind,
            method: envelope.method.clone().into_owned(),
            id: envelope.id.parse().ok().filter(|_| envelope.kind == Kind::Request),
            era: if envelope.is_modern() { Era::Modern } else { Era::Legacy },
            lost: 0,
            generation: 0,
            frame: frame.into(),
        })
    }

    /// The same request under another id.
    pub(super) fn under(&self, id: u64) -> Option<Self> {
        let envelope = Envelope::parse(self.frame.as_bytes()).ok()?;
        let (own, mut frame) = (id.to_string(), Vec::with_capacity(self.frame.len()));
        splice(&self.frame, &mut [envelope.edit(envelope.id, &own)], &mut frame);
        Self::new(std::str::from_utf8(&frame).ok()?)
    }

    /// Whether nothing else may be said before it was answered.
    pub(super) fn comes_first(&self) -> bool {
        matches!(&*self.method, "initialize" | "notifications/initialized")
    }
}

/// Sends a message, and brings what comes back to where it belongs.
pub(super) async fn exchange(shared: Arc<Shared>, posted: Posted, session: Session) -> Done {
    let mut listed = false;
    loop {
        let done = match shared.endpoint.send(|| shared.request(&posted, &session)).await {
            Ok(response) => shared.read(response, &posted, &session, listed).await,
            Err(trouble) => shared.fail(&posted, trouble),
        };
        if !matches!(done, Done::Mismatch) {
            return done;
        }
        listed = true;
        shared.list_again().await;
    }
}

impl Shared {
    pub(super) fn request(&self, posted: &Posted, session: &Session) -> RequestBuilder {
        let to = session.messages.as_ref().unwrap_or(&self.endpoint.url);
        let request = self.endpoint.post(to, &posted.frame);
        match posted.era {
            Era::Modern => request.headers(self.mirrored(&posted.frame)),
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
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let answer = if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return self.tell(posted, code::INTERNAL, "it took the request and gave no answer");
        } else if kind.starts_with("text/event-stream") {
            self.stream(Events::new(response, self.max_frame), posted, session).await
        } else if kind.starts_with("application/json") {
            match body(response, self.max_frame).await {
                Ok(text) => self.deliver_all(&text, posted),
                Err(reason) => Answer::Cut(reason),
            }
        } else {
            Answer::Cut(format!("it answered with the content type `{kind}`"))
        };
        match answer {
            // An error begins nothing.
            Answer::Given(result) if posted.method == "initialize" && !result.is_empty() => {
                Done::Began(Session::begun(session.generation + 1, began, &result))
            }
            Answer::Given(_) => Done::Over,
            Answer::Missing => self.tell(posted, code::INTERNAL, "its reply does not answer the request"),
            Answer::Cut(reason) => self.cut(posted, &reason),
        }
    }

    /// Takes the messages of a JSON body: one, or a batch of them (2025-03-26).
    pub(super) fn deliver_all(&self, text: &str, posted: &Posted) -> Answer {
        let mut answer = Answer::Missing;
        for message in split(text) {
            if let Some(given) = self.deliver(message, posted) {
                answer = given;
            }
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
                    let Some(given) = self.deliver(&data, posted) else { continue };
                    if posted.method != "initialize" {
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
            match self.endpoint.send(request).await {
                Ok(response) if response.status().is_success() => return Ok(Events::new(response, self.max_frame)),
                Ok(response) if response.status().is_server_error() => last = describe(response.status(), ""),
                Ok(response) => {
                    return Err(format!("it cannot be taken up again: {}", describe(response.status(), "")));
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
                    self.deliver(&data, posted);
                }
            }
        };
        drop(timeout(END_WAIT, rest).await);
    }

    /// An HTTP status that is an error: a JSON-RPC error in its body is the answer.
    async fn refused(&self, response: Response, posted: &Posted, session: &Session, listed: bool) -> Done {
        let status = response.status();
        let has_session = posted.era == Era::Legacy && session.has_id();
        let lost = || Done::Lost(Posted { generation: session.generation, ..posted.clone() });
        if status == StatusCode::NOT_FOUND && has_session {
            return lost();
        }
        // Some repeat what they were sent.
        let text = self.endpoint.scrubbed(&body(response, ERROR_BODY).await.unwrap_or_default());
        let error = error_of(&text);
        // Many servers that were started anew say so in this way.
        if status == StatusCode::BAD_REQUEST
            && has_session
            && error.as_ref().is_some_and(|error| error.is_about_the_session)
        {
            return lost();
        }
        let is = |wanted: i32| error.as_ref().is_some_and(|error| error.code == wanted);
        if is(code::HEADER_MISMATCH) && posted.era == Era::Modern && posted.method == "tools/call" && !listed {
            return Done::Mismatch;
        }
        let modern = is(code::HEADER_MISMATCH) || is(code::MISSING_CAPABILITY) || is(code::UNSUPPORTED_VERSION);
        if posted.method == "initialize"
            && matches!(status.as_u16(), 400 | 404 | 405)
            && !modern
            && session.messages.is_none()
            && let Some((events, messages)) = self.old_transport().await
        {
            return Done::OldTransport(posted.clone(), Box::new(events), messages);
        }
        match error {
            Some(error) => self.answer(posted, &error.raw),
            // A server that does not know the method need not say so in JSON-RPC.
            None if posted.method == "server/discover" && !is_passing(status) => {
                self.tell(posted, code::METHOD_NOT_FOUND, &describe(status, &text))
            }
            None if self.is_handshake(posted) => self
                .fail(posted, Trouble::Unreachable(format!("{}: {}", self.endpoint.place(), describe(status, &text)))),
            None => self.tell(posted, code::INTERNAL, &describe(status, &text)),
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

/// Whether a status says something of the moment only.
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 407 | 408 | 425 | 429 | 502 | 503 | 504)
}
