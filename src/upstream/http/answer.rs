//! What comes back, brought to `rmcp`, to the hub, or to the one who asked.

use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::Shared;
use super::client::{Trouble, reason};
use super::events::Events;
use super::exchange::{Done, Posted};
use crate::envelope::reply::{self, code};
use crate::envelope::{Envelope, Kind};
use crate::era::Era;
use crate::oauth::NoToken;
use crate::upstream::instance::{Ended, Inbound};
use crate::upstream::mirror;

/// How much of an error page a message quotes, in characters.
const QUOTED: usize = 200;

/// Whether a reply answers the request that it came for.
pub(super) enum Answer {
    /// With this raw result; empty for an error.
    Given(String),
    /// It held other messages only.
    Missing,
    /// It did not arrive whole.
    Cut(String),
}

/// A JSON-RPC error in the body of an HTTP error.
pub(super) struct ErrorBody {
    pub code: i32,
    /// The error object.
    pub raw: String,
    /// It answers no request, and speaks of the session.
    pub is_about_the_session: bool,
}

impl Shared {
    /// Brings one message to where it belongs; returns the answer, if it is that.
    pub(super) fn deliver(&self, text: &str, posted: &Posted) -> Option<Answer> {
        let line = one_line(text);
        let envelope = match Envelope::parse(line.as_bytes()) {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::warn!(server = %self.name, bytes = text.len(), %error, "skipped what is no message");
                return None;
            }
        };
        let answers = envelope.kind == Kind::Response && envelope.id.parse().ok() == posted.id && posted.id.is_some();
        let result = envelope.result.unwrap_or_default();
        let given = answers.then(|| Answer::Given(result.to_owned()));
        if answers
            && posted.era == Era::Modern
            && posted.method == "tools/list"
            && let Some(screened) = self.screen_tools(&line, result)
        {
            self.deliver_line(&screened, posted);
            return given;
        }
        self.tap.sort(&envelope, posted.id, &self.inbound);
        given
    }

    fn deliver_line(&self, line: &str, posted: &Posted) {
        if let Ok(envelope) = Envelope::parse(line.as_bytes()) {
            self.tap.sort(&envelope, posted.id, &self.inbound);
        }
    }

    /// Notes which parameters are repeated in headers; returns the frame without the tools whose annotations are wrong.
    fn screen_tools(&self, frame: &str, result: &str) -> Option<String> {
        let wrong = mirror::read(result, &mut self.tools.lock());
        for (tool, reason) in &wrong {
            tracing::warn!(server = %self.name, tool, reason, "tool not offered");
        }
        if wrong.is_empty() {
            return None;
        }
        let kind = crate::lists::ListKind::Tools;
        crate::upstream::catalog::filtered(frame, kind.member(), "name", |name| {
            !wrong.iter().any(|(tool, _)| tool == name)
        })
    }

    /// Whether `rmcp` waits for the answer: then nothing is known of the server yet.
    pub(super) fn is_handshake(&self, posted: &Posted) -> bool {
        posted.id.is_some_and(|id| self.tap.is_rmcps(id))
    }

    /// Gives the request this error object, raw, for an answer.
    pub(super) fn answer(&self, posted: &Posted, error: &str) -> Done {
        match posted.id {
            Some(id) => self.deliver_line(&one_line(&reply::raw_error(&id.to_string(), error)), posted),
            None => tracing::debug!(server = %self.name, method = posted.method, error, "not taken by the server"),
        }
        Done::Over
    }

    /// Gives the request an error of trunkline's own for an answer.
    pub(super) fn tell(&self, posted: &Posted, code: i32, reason: &str) -> Done {
        match posted.id {
            Some(id) => {
                let message = format!("server `{}`: {reason}", self.name);
                self.deliver_line(&reply::error(&id.to_string(), code, &message), posted);
            }
            None => tracing::warn!(server = %self.name, method = posted.method, reason, "not taken by the server"),
        }
        Done::Over
    }

    /// The message was not taken.
    pub(super) fn fail(&self, posted: &Posted, trouble: Trouble) -> Done {
        let handshake = self.is_handshake(posted) || posted.comes_first();
        match trouble {
            Trouble::Unreachable(reason) if handshake => Done::Fatal(Ended::Unreachable(reason)),
            Trouble::NoToken(NoToken::Unavailable(reason)) if handshake => {
                Done::Fatal(Ended::Unreachable(reason.to_string()))
            }
            Trouble::NoToken(NoToken::Login(why)) if handshake => Done::Fatal(Ended::NeedsLogin(why)),
            Trouble::NoToken(NoToken::Login(why)) => {
                if let Some(id) = posted.id {
                    (self.inbound)(Inbound::Parked { id, frame: &posted.frame, why: &why });
                }
                Done::Over
            }
            Trouble::Unreachable(reason) => self.tell(posted, code::CONNECTION_CLOSED, &reason),
            Trouble::NoToken(NoToken::Unavailable(reason)) => self.tell(posted, code::CONNECTION_CLOSED, &reason),
        }
    }
}

/// The messages of a body.
pub(super) fn split(text: &str) -> Vec<&str> {
    if text.trim_start().starts_with('[')
        && let Ok(batch) = serde_json::from_str::<Vec<&RawValue>>(text)
    {
        return batch.into_iter().map(RawValue::get).collect();
    }
    vec![text]
}

/// A message without line ends, which can only be white space in it.
pub(super) fn one_line(text: &str) -> std::borrow::Cow<'_, str> {
    match memchr::memchr2(b'\n', b'\r', text.as_bytes()) {
        Some(_) => text.replace(['\n', '\r'], " ").into(),
        None => text.into(),
    }
}

/// The JSON-RPC error that a body is, if it is one.
pub(super) fn error_of(text: &str) -> Option<ErrorBody> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        error: &'a RawValue,
        #[serde(default)]
        id: Option<IgnoredAny>,
    }
    #[derive(Deserialize)]
    struct Error {
        code: i32,
        #[serde(default)]
        message: String,
    }
    let Body { error, id } = serde_json::from_str(text).ok()?;
    let Error { code, message } = serde_json::from_str(error.get()).ok()?;
    let is_about_the_session = id.is_none() && message.to_ascii_lowercase().contains("session");
    Some(ErrorBody { code, raw: error.get().to_owned(), is_about_the_session })
}

/// The raw result in a response to a request of trunkline's own, if it is one.
pub(super) async fn result_of(response: Response, cap: usize) -> Option<String> {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let result = |text: &str| Envelope::parse(one_line(text).as_bytes()).ok()?.result.map(str::to_owned);
    if !kind.starts_with("text/event-stream") {
        return result(&body(response, cap).await.ok()?);
    }
    let mut events = Events::new(response, cap);
    loop {
        if let Some(result) = events.next().await?.ok()?.data.as_deref().and_then(result) {
            return Some(result);
        }
    }
}

/// A whole body as text, if it is not larger than `cap`.
pub(super) async fn body(mut response: Response, cap: usize) -> Result<String, String> {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > cap => {
                return Err(format!("a message is larger than the cap of {cap} bytes (max_frame)"));
            }
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return String::from_utf8(bytes).map_err(|_| "its answer is not valid UTF-8".to_owned()),
            Err(error) => return Err(format!("its answer was cut: {}", reason(&error))),
        }
    }
}

/// An HTTP status in words, and the beginning of what came with it.
pub(super) fn describe(status: StatusCode, text: &str) -> String {
    let words: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(QUOTED).collect();
    let place = if status.is_redirection() { "; name the URL that it redirects to" } else { "" };
    if words.is_empty() || words.starts_with('<') {
        format!("HTTP {status}{place}")
    } else {
        format!("HTTP {status}: {words}{place}")
    }
}
