//! Reads one JSON-RPC message once, as borrowed slices, and rewrites single members of it by splicing.
//!
//! Nothing here builds a JSON value: every part stays the text that was sent, so whatever is not rewritten keeps its
//! unknown members, its key order and its number spelling (JSON-RPC 2.0; MCP `basic/index`).

mod edits;
mod members;
mod params;
pub mod reply;
mod text;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

pub use edits::{Edit, Piece, pieces, splice, spliced, without};
pub use members::Lookalike;
use members::{Wanted, nested, once, read, skip, wanted};
pub use params::{Meta, Params, Reference, result_meta, task_id};
use reply::code;
use serde::de::MapAccess;

use crate::method::Method;
pub use text::{quoted, text};

/// Deepest nesting of arrays and objects that an agent may send; deeper JSON overflows the stacks of common parsers.
const MAX_DEPTH: usize = 1_000;
/// How long what names something, or says who asks, may be in a message of an agent, in bytes.
const LONGEST: usize = 64 << 10;
const LONGEST_INFO: usize = 256 << 10;
/// What it subscribes to may be as many as it knows of.
const LONGEST_FILTER: usize = 1 << 20;

/// Why a frame is not a JSON-RPC message.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    #[error("the message is not valid UTF-8")]
    Utf8,
    #[error("the message is not valid JSON: {0}")]
    Json(serde_json::Error),
    #[error("the message is nested deeper than {MAX_DEPTH} levels")]
    Depth,
    #[error("JSON-RPC batches are not supported: send one message at a time")]
    Batch,
    #[error("the message is not JSON-RPC 2.0: it has {0}")]
    NotRpc(&'static str),
    #[error("the member `{}` is `{}` to some readers and nothing to others: spell it so, or leave it out", .lookalike.found.escape_debug(), .lookalike.name)]
    Ambiguous {
        lookalike: Lookalike,
        /// Raw, of a request whose id is certain.
        id: Option<String>,
    },
    #[error("`{name}` has {length} bytes, which is more than is kept of a message")]
    TooLong {
        name: &'static str,
        length: usize,
        /// Raw, of a request whose own is not the one.
        id: Option<String>,
    },
}

impl Malformed {
    /// The code of the answer to a request that is this.
    pub fn code(&self) -> i32 {
        match self {
            Self::Utf8 | Self::Json(_) => code::PARSE,
            Self::Depth | Self::Batch | Self::NotRpc(_) | Self::Ambiguous { .. } | Self::TooLong { .. } => {
                code::INVALID_REQUEST
            }
        }
    }

    /// The answer to it.
    pub fn refusal(&self) -> String {
        let id = match self {
            Self::Ambiguous { id: Some(id), .. } | Self::TooLong { id: Some(id), .. } => id,
            Self::Ambiguous { id: None, .. }
            | Self::TooLong { id: None, .. }
            | Self::Utf8
            | Self::Json(_)
            | Self::Depth
            | Self::Batch
            | Self::NotRpc(_) => "null",
        };
        reply::error(id, self.code(), &self.to_string())
    }
}

/// What kind of message a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Request,
    Notification,
    Response,
}

/// One JSON-RPC message; every `&str` is a slice of the frame, quotes and all.
#[derive(Debug)]
pub struct Envelope<'a> {
    pub frame: &'a str,
    /// The same text, where it can be kept without being copied, and is one line to every reader.
    pub shared: Option<&'a Bytes>,
    pub kind: Kind,
    /// Raw text of `id`; `"null"` where an error response has none. Empty on a notification.
    pub id: &'a str,
    /// The name of the method, decoded; empty on a response.
    pub method_name: Cow<'a, str>,
    /// The method, if the protocol has it.
    pub method: Option<Method>,
    pub params: Params<'a>,
    pub result: Option<&'a str>,
    pub error: Option<&'a str>,
}

impl<'a> Envelope<'a> {
    /// Parses a frame that an agent sent: also bounds its nesting, because a shared server would parse it, and what is kept of
    /// it for as long as it is not answered, or longer.
    pub fn from_agent(frame: &'a [u8]) -> Result<Self, Malformed> {
        if too_deep(frame) {
            return Err(Malformed::Depth);
        }
        let parsed = Self::parse(frame);
        if frame.len() > LONGEST
            && let Ok(envelope) = &parsed
            && let Some((name, length)) = envelope.too_long()
        {
            let id = Some(envelope.id).filter(|id| envelope.kind == Kind::Request && id.len() <= LONGEST);
            return Err(Malformed::TooLong { name, length, id: id.map(str::to_owned) });
        }
        parsed
    }

    /// What is longer than may be kept, if something is.
    fn too_long(&self) -> Option<(&'static str, usize)> {
        let (params, meta) = (&self.params, &self.params.meta);
        let kept = [
            ("id", self.id),
            ("method", &*self.method_name),
            ("params.name", params.name.unwrap_or_default()),
            ("params.uri", params.uri.unwrap_or_default()),
            ("params.ref.name", params.reference.name.unwrap_or_default()),
            ("params.ref.uri", params.reference.uri.unwrap_or_default()),
            ("params.cursor", params.cursor.unwrap_or_default()),
            ("params.taskId", params.task_id.unwrap_or_default()),
            ("params.requestId", params.request_id.unwrap_or_default()),
            ("params.notifications", params.notifications.unwrap_or_default()),
            ("params.clientInfo", params.client_info.unwrap_or_default()),
            ("params.capabilities", params.capabilities.unwrap_or_default()),
            ("params.protocolVersion", params.protocol_version.unwrap_or_default()),
            ("params._meta.progressToken", meta.progress_token.unwrap_or_default()),
            ("params._meta.io.modelcontextprotocol/clientInfo", meta.client_info.unwrap_or_default()),
            ("params._meta.io.modelcontextprotocol/clientCapabilities", meta.client_capabilities.unwrap_or_default()),
        ];
        let most = |name: &str| match name {
            // Who asks may show pictures of itself.
            name if name.ends_with("clientInfo") => LONGEST_INFO,
            "params.notifications" => LONGEST_FILTER,
            _ => LONGEST,
        };
        kept.into_iter().find(|(name, text)| text.len() > most(name)).map(|(name, text)| (name, text.len()))
    }

    /// Parses one frame, without its line end.
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let frame = std::str::from_utf8(frame).map_err(|_| Malformed::Utf8)?;
        if frame.trim_start().starts_with('[') {
            return Err(Malformed::Batch);
        }
        let mut members = Raw::default();
        read(frame, &mut members).map_err(Malformed::Json)?;
        members.into_envelope(frame)
    }

    /// The frame of a response under this raw id, whether it has one or not.
    pub fn under(&self, id: &str) -> String {
        let range = self.frame.as_bytes().as_ptr_range();
        if range.contains(&self.id.as_ptr()) {
            let at = self.span(self.id);
            return format!("{}{id}{}", &self.frame[..at.start], &self.frame[at.end..]);
        }
        // An object: what else can be read as a message.
        let rest = self.frame.trim_start().get(1..).unwrap_or_default();
        format!(r#"{{"id":{id},{rest}"#)
    }

    /// A frame under another raw id, if it is a message.
    pub fn with_id(frame: &str, id: &str) -> Option<String> {
        let envelope = Envelope::parse(frame.as_bytes()).ok()?;
        Some(spliced(frame, [envelope.edit(envelope.id, id)]))
    }

    /// Where `part`, a slice of this frame, stands in it.
    pub fn span(&self, part: &str) -> Range<usize> {
        let start = (part.as_ptr() as usize).wrapping_sub(self.frame.as_ptr() as usize);
        debug_assert!(start + part.len() <= self.frame.len(), "the part is not a slice of the frame");
        start..start + part.len()
    }

    /// An edit that replaces `part`, a slice of this frame, by `with`.
    pub fn edit<'e>(&self, part: &str, with: &'e str) -> Edit<'e> {
        Edit { at: self.span(part), with }
    }

    /// Whether the sender speaks the modern era: per-request `_meta`, or the method that only that era has.
    pub fn is_modern(&self) -> bool {
        self.params.meta.is_modern() || self.method == Some(Method::Discover)
    }
}

/// Counts brackets first, which is nearly free, and walks the text only when there are enough to matter.
fn too_deep(frame: &[u8]) -> bool {
    if memchr::memchr2_iter(b'[', b'{', frame).nth(MAX_DEPTH).is_none() {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in frame {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[derive(Default)]
struct Raw<'a> {
    id: Option<&'a str>,
    method: Option<&'a str>,
    params: Params<'a>,
    result: Option<&'a str>,
    error: Option<&'a str>,
    params_seen: bool,
    lookalike: Option<Box<Lookalike>>,
}

impl<'a> Raw<'a> {
    fn into_envelope(mut self, frame: &'a str) -> Result<Envelope<'a>, Malformed> {
        let method = match self.method {
            Some(raw) => Some(text(raw).ok_or(Malformed::NotRpc("a method that is not a string"))?),
            None => None,
        };
        let has_id = self.id.is_some_and(|id| id != "null");
        let kind = match (&method, has_id) {
            (Some(_), true) => Kind::Request,
            (Some(_), false) if self.id.is_some() => return Err(Malformed::NotRpc("a request id of null")),
            (Some(_), false) => Kind::Notification,
            (None, _) if self.result.is_some() || self.error.is_some() => Kind::Response,
            (None, _) => return Err(Malformed::NotRpc("neither method, result nor error")),
        };
        if self.id.is_some_and(|id| !id.starts_with(['"', '-', 'n']) && !id.starts_with(|c: char| c.is_ascii_digit())) {
            return Err(Malformed::NotRpc("an id that is neither a string nor a number"));
        }
        if let Some(lookalike) = self.lookalike.take().or_else(|| self.params.lookalike.take()) {
            let id = self.id.filter(|_| kind == Kind::Request && lookalike.name != "id");
            return Err(Malformed::Ambiguous { lookalike: *lookalike, id: id.map(str::to_owned) });
        }
        let absent = if kind == Kind::Response { "null" } else { "" };
        Ok(Envelope {
            frame,
            shared: None,
            kind,
            id: self.id.unwrap_or(absent),
            method: method.as_deref().and_then(Method::of),
            method_name: method.unwrap_or_default(),
            params: self.params,
            result: self.result,
            error: self.error,
        })
    }
}

wanted!(Raw, |this, map| {
    "id" => once(&mut this.id, map),
    "method" => once(&mut this.method, map),
    "result" => once(&mut this.result, map),
    "error" => once(&mut this.error, map),
    "params" => nested(&mut this.params_seen, &mut this.params, map),
    "jsonrpc" => skip(map),
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_outside_the_edits_stays() {
        let frame = r#" {"x":1E5,"params":{"z":12345678901234567890123,"_meta":{"progressToken":"a\"b","k":[]},"name":"n"},"id":00,"method":"m"}"#;
        assert!(Envelope::parse(frame.as_bytes()).is_err(), "00 is no JSON number");
        let frame = frame.replace("00", "18446744073709551616");
        let envelope = Envelope::parse(frame.as_bytes()).expect("valid");
        assert_eq!(envelope.kind, Kind::Request);
        assert_eq!(envelope.id, "18446744073709551616");
        let token = envelope.params.meta.progress_token.expect("token");
        assert_eq!(token, r#""a\"b""#);
        let mut out = Vec::new();
        splice(envelope.frame, &mut [envelope.edit(envelope.id, "7"), envelope.edit(token, "8")], &mut out);
        let expected = frame.replace("18446744073709551616", "7").replace(r#""a\"b""#, "8");
        assert_eq!(String::from_utf8(out).expect("utf-8"), expected);
    }

    #[test]
    fn kinds() {
        let kind =
            |frame: &str| Envelope::parse(frame.as_bytes()).map(|envelope| envelope.kind).map_err(|e| e.to_string());
        assert_eq!(kind(r#"{"id":1,"method":"m","params":[1,{"id":2}]}"#), Ok(Kind::Request));
        assert_eq!(kind(r#"{"method":"m","params":"odd"}"#), Ok(Kind::Notification));
        assert_eq!(kind(r#"{"id":"x","result":null}"#), Ok(Kind::Response));
        assert_eq!(kind(r#"{"error":{"code":1}}"#), Ok(Kind::Response));
        assert_eq!(kind(r#"{"\u0069d":1,"method":"m"}"#), Ok(Kind::Request));
        for bad in [
            r#"{"id":null,"method":"m"}"#,
            r#"{"id":{},"method":"m"}"#,
            r#"{"id":1,"id":2,"method":"m"}"#,
            r#"{"id":1,"method":"m","params":{"_meta":{"progressToken":7},"_meta":{}}}"#,
            r#"{"id":1,"method":"m","params":{},"params":{}}"#,
            "[]",
            "1",
            r#"{"id":1}"#,
            r#"{"method":7}"#,
        ] {
            assert!(kind(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn depth_is_bounded_for_agents_only() {
        let deep = |levels: usize| {
            format!(r#"{{"id":1,"method":"m","params":{{"a":{}{}}}}}"#, "[".repeat(levels), "]".repeat(levels))
        };
        assert!(Envelope::from_agent(deep(900).as_bytes()).is_ok());
        assert!(matches!(Envelope::from_agent(deep(200_000).as_bytes()), Err(Malformed::Depth)));
        assert!(Envelope::parse(deep(200_000).as_bytes()).is_ok());
        let text = format!(r#"{{"id":1,"method":"m","params":{{"a":"{}"}}}}"#, "[".repeat(5_000));
        assert!(Envelope::from_agent(text.as_bytes()).is_ok());
    }
}
