//! What comes back, brought to `rmcp`, to the hub, or to the one who asked.

use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::envelope::reply::{self, code};
use crate::envelope::{Envelope, Kind};
use crate::era::Era;
use crate::mcp_headers;
use crate::method::Method;
use crate::oauth::NoToken;
use crate::upstream::heard::Heard;
use crate::upstream::http::bounds::Bounds;
use crate::upstream::http::client::Trouble;
use crate::upstream::http::done::Done;
use crate::upstream::http::events::Events;
use crate::upstream::http::posted::Posted;
use crate::upstream::http::shared::Shared;
use crate::upstream::http_client::reason;
use crate::upstream::inbound::Inbound;
use crate::upstream::quirks::Quirk;
use crate::upstream::running::{Ended, OVER_BUDGET};
use crate::upstream::salvage::Salvaged;
use crate::wire::aside;

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
    /// It cannot be read.
    Unreadable(String),
}

/// A JSON-RPC error in the body of an HTTP error.
pub(super) struct ErrorBody {
    pub code: i32,
    /// The error object.
    pub raw: String,
    pub message: String,
    /// Raw.
    id: Option<String>,
}

impl ErrorBody {
    /// Whether it names this request.
    pub(super) fn answers(&self, request: Option<u64>) -> bool {
        let named = self.id.as_deref().map(|id| id.trim_matches('"'));
        request.is_some() && named.and_then(|id| id.parse().ok()) == request
    }
}

impl Shared {
    /// Brings one message to where it belongs; returns the answer, if it is that.
    pub(super) async fn deliver(&self, text: String, posted: &Posted) -> Option<Answer> {
        let (found, error) = match Heard::read(text, None).await {
            Heard::Message(message) => return self.deliver_message(message.envelope(), posted),
            Heard::Other { found, error } => (found, error),
        };
        let Salvaged { messages, lost, .. } = self.tap.noted(found, &error);
        let mut answer = None;
        for message in &messages {
            if let Ok(envelope) = Envelope::parse(message.as_bytes()) {
                answer = self.deliver_message(&envelope, posted).or(answer);
            }
        }
        let is_lost = lost.is_some() && posted.id.is_some();
        answer.or_else(|| is_lost.then(|| Answer::Unreadable(error.to_string())))
    }

    fn deliver_message(&self, envelope: &Envelope<'_>, posted: &Posted) -> Option<Answer> {
        if envelope.kind == Kind::Response
            && let Some(id) = self.tap.meant(envelope, posted.id)
        {
            let frame = envelope.under(&id.to_string());
            return Envelope::parse(frame.as_bytes()).ok().and_then(|envelope| self.deliver_message(&envelope, posted));
        }
        let answers = envelope.kind == Kind::Response && envelope.id.parse().ok() == posted.id && posted.id.is_some();
        let result = envelope.result.unwrap_or_default();
        let given = answers.then(|| Answer::Given(result.to_owned()));
        if answers
            && posted.era == Era::Modern
            && posted.method == Some(Method::ListTools)
            && let Some(screened) = self.screen_tools(envelope.frame, result)
        {
            self.deliver_line(&screened, posted);
            return given;
        }
        self.tap.sort(envelope, posted.id, &self.inbound);
        given
    }

    /// The text of a body, whatever is in it.
    pub(super) fn text_of(&self, bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap_or_else(|error| {
            self.tap.note(&Quirk::NotUtf8);
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        })
    }

    fn deliver_line(&self, line: &str, posted: &Posted) {
        if let Ok(envelope) = Envelope::parse(line.as_bytes()) {
            self.tap.sort(&envelope, posted.id, &self.inbound);
        }
    }

    /// Notes which parameters are repeated in headers; returns the frame without the tools whose annotations are wrong.
    fn screen_tools(&self, frame: &str, result: &str) -> Option<String> {
        let wrong = mcp_headers::read(result, &mut self.tools.lock());
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
            Some(id) => self.deliver_line(&reply::raw_error(&id.to_string(), error), posted),
            None => tracing::debug!(server = %self.name, method = ?posted.method, error, "not taken by the server"),
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
            None => tracing::warn!(server = %self.name, method = ?posted.method, reason, "not taken by the server"),
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
                    (self.inbound)(Inbound::Parked { id, frame: posted.frame(), why: &why });
                }
                Done::Over
            }
            Trouble::Unreachable(reason) => self.tell(posted, code::CONNECTION_CLOSED, &reason),
            Trouble::NoToken(NoToken::Unavailable(reason)) => self.tell(posted, code::CONNECTION_CLOSED, &reason),
        }
    }
}

/// The messages of a body.
pub(super) async fn split(text: String) -> Vec<String> {
    if !text.trim_start().starts_with('[') {
        return vec![text];
    }
    let size = text.len();
    let split = move || match serde_json::from_str::<Vec<&RawValue>>(&text) {
        Ok(batch) => batch.into_iter().map(|message| message.get().to_owned()).collect(),
        Err(_) => vec![text],
    };
    aside(size, split).await
}

/// The JSON-RPC error that a body is, if it is one.
pub(super) fn error_of(text: &str) -> Option<ErrorBody> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        error: &'a RawValue,
        #[serde(borrow, default)]
        id: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Error {
        code: i32,
        #[serde(default)]
        message: String,
    }
    let Body { error, id } = serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()?;
    let Error { code, message } = serde_json::from_str(error.get()).ok()?;
    Some(ErrorBody { code, raw: error.get().to_owned(), message, id: id.map(|id| id.get().to_owned()) })
}

/// An error object with words behind its message.
pub(super) fn amended(error: &str, words: &str) -> String {
    let amended = serde_json::from_str(error).ok().and_then(|mut error: serde_json::Value| {
        let message = error.get("message")?.as_str()?.to_owned();
        error["message"] = format!("{message} ({words})").into();
        Some(error.to_string())
    });
    amended.unwrap_or_else(|| error.to_owned())
}

/// What a response is made of, by its media type, in whatever case and with whatever parameters (RFC 9110 section 8.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    Events,
    Other(String),
}

impl Media {
    pub(super) fn of(response: &Response) -> Self {
        let written = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = written.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "text/event-stream" => Self::Events,
            "application/json" | "application/json-rpc" | "text/json" => Self::Json,
            kind if kind.starts_with("application/") && kind.ends_with("+json") => Self::Json,
            _ => Self::Other(written.to_owned()),
        }
    }
}

/// The raw result in a response to a request of trunkline's own, if it is one.
pub(super) async fn result_of(response: Response, bounds: &Bounds) -> Option<String> {
    let result = |text: &str| Envelope::parse(text.as_bytes()).ok()?.result.map(str::to_owned);
    if Media::of(&response) != Media::Events {
        return result(&String::from_utf8_lossy(&body(response, bounds).await.ok()?));
    }
    let mut events = Events::new(response, bounds);
    loop {
        if let Some(result) = events.next().await?.ok()?.data.as_deref().and_then(result) {
            return Some(result);
        }
    }
}

/// A whole body, if it is not larger than a message may be. One that ends too early is whole if it is a JSON value.
pub(super) async fn body(mut response: Response, bounds: &Bounds) -> Result<Vec<u8>, String> {
    let cap = bounds.max_frame;
    let mut bytes = Vec::new();
    let account = bounds.account.apart(usize::MAX);
    let mut held = account.nothing();
    loop {
        let Some(chunk) = account.cut().run_until_cancelled(response.chunk()).await else {
            return Err(OVER_BUDGET.to_owned());
        };
        match chunk {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > cap => {
                return Err(format!("a message is larger than the cap of {cap} bytes (max_frame)"));
            }
            Ok(Some(chunk)) => {
                bytes.extend_from_slice(&chunk);
                held.resize(bytes.capacity()).map_err(|_| OVER_BUDGET)?;
            }
            Ok(None) => return Ok(bytes),
            Err(_) if serde_json::from_slice::<IgnoredAny>(&bytes).is_ok() => return Ok(bytes),
            Err(error) => return Err(format!("its answer was cut: {}", reason(&error))),
        }
    }
}

/// Where a response redirects to, without what might be secret in it.
pub(super) fn target(response: &Response) -> Option<String> {
    if !response.status().is_redirection() {
        return None;
    }
    let place = response.headers().get(LOCATION)?.to_str().ok()?;
    let target = response.url().join(place).ok()?;
    Some(target.origin().ascii_serialization() + target.path())
}

/// An HTTP status in words, and the beginning of what came with it.
pub(super) fn describe(status: StatusCode, text: &str, target: Option<&str>) -> String {
    let words: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(QUOTED).collect();
    let place = match target {
        Some(target) => format!("; it redirects to {target}: if that is the server, name it as `url`"),
        None => String::new(),
    };
    if words.is_empty() || words.starts_with('<') || target.is_some() {
        format!("HTTP {status}{place}")
    } else {
        format!("HTTP {status}: {words}{place}")
    }
}
