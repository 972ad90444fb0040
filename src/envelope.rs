//! Reads one JSON-RPC message once, as borrowed slices, and rewrites single members of it by splicing.
//!
//! Nothing here builds a JSON value: every part stays the text that was sent, so whatever is not rewritten keeps its
//! unknown members, its key order and its number spelling (JSON-RPC 2.0; MCP `basic/index`).

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Deepest nesting of arrays and objects that an agent may send; deeper JSON overflows the stacks of common parsers.
const MAX_DEPTH: usize = 1_000;

/// Why a frame is not a JSON-RPC message.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    #[error("the message is not valid UTF-8")]
    Utf8,
    #[error("the message is not valid JSON: {0}")]
    Json(serde_json::Error),
    #[error("the message is nested deeper than {MAX_DEPTH} levels")]
    Depth,
    #[error("JSON-RPC batches are not supported: send one message a line")]
    Batch,
    #[error("the message is not JSON-RPC 2.0: it has {0}")]
    NotRpc(&'static str),
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
    pub kind: Kind,
    /// Raw text of `id`; `"null"` where an error response has none. Empty on a notification.
    pub id: &'a str,
    /// The method, decoded; empty on a response.
    pub method: Cow<'a, str>,
    pub params: Params<'a>,
    pub result: Option<&'a str>,
    pub error: Option<&'a str>,
}

/// The members of `params` that routing needs. Anything else in `params` is passed over.
#[derive(Debug, Default)]
pub struct Params<'a> {
    pub meta: Meta<'a>,
    /// `progressToken` of `notifications/progress`.
    pub progress_token: Option<&'a str>,
    /// `requestId` of `notifications/cancelled`.
    pub request_id: Option<&'a str>,
    pub name: Option<&'a str>,
    pub uri: Option<&'a str>,
    pub level: Option<&'a str>,
    pub reference: Reference<'a>,
    pub protocol_version: Option<&'a str>,
    pub capabilities: Option<&'a str>,
    pub client_info: Option<&'a str>,
}

/// The members of `params._meta` that routing needs.
#[derive(Debug, Default)]
pub struct Meta<'a> {
    pub progress_token: Option<&'a str>,
    pub subscription_id: Option<&'a str>,
    /// Present on every request of a modern agent.
    pub protocol_version: Option<&'a str>,
    pub client_info: Option<&'a str>,
}

/// `params.ref` of `completion/complete`.
#[derive(Debug, Default)]
pub struct Reference<'a> {
    pub name: Option<&'a str>,
    pub uri: Option<&'a str>,
}

impl<'a> Envelope<'a> {
    /// Parses a frame that an agent sent: also bounds its nesting, because a shared server would parse it.
    pub fn from_agent(frame: &'a [u8]) -> Result<Self, Malformed> {
        if too_deep(frame) {
            return Err(Malformed::Depth);
        }
        Self::parse(frame)
    }

    /// Parses one frame, without its line end.
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let frame = std::str::from_utf8(frame).map_err(|_| Malformed::Utf8)?;
        if frame.trim_start().starts_with('[') {
            return Err(Malformed::Batch);
        }
        let Members::<Raw<'_>>(members) = serde_json::from_str(frame).map_err(Malformed::Json)?;
        members.into_envelope(frame)
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
        self.params.meta.protocol_version.is_some() || self.method == "server/discover"
    }
}

/// One replacement in a frame.
#[derive(Debug, Clone)]
pub struct Edit<'a> {
    pub at: Range<usize>,
    pub with: &'a str,
}

/// Appends `frame` to `out` with the edits carried out. Edits must not overlap; their order does not matter.
pub fn splice(frame: &str, edits: &mut [Edit<'_>], out: &mut Vec<u8>) {
    edits.sort_unstable_by_key(|edit| edit.at.start);
    let mut done = 0;
    for edit in edits {
        out.extend_from_slice(&frame.as_bytes()[done..edit.at.start]);
        out.extend_from_slice(edit.with.as_bytes());
        done = edit.at.end;
    }
    out.extend_from_slice(&frame.as_bytes()[done..]);
}

/// The value of a raw JSON string, or `None` where the raw text is no string.
pub fn text(raw: &str) -> Option<Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(raw).ok().map(|text| text.0)
}

/// `value` as raw JSON string text.
pub fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string()
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
}

impl<'a> Raw<'a> {
    fn into_envelope(self, frame: &'a str) -> Result<Envelope<'a>, Malformed> {
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
        let absent = if kind == Kind::Response { "null" } else { "" };
        Ok(Envelope {
            frame,
            kind,
            id: self.id.unwrap_or(absent),
            method: method.unwrap_or_default(),
            params: self.params,
            result: self.result,
            error: self.error,
        })
    }
}

/// A set of wanted members of a JSON object, the rest passed over.
trait Wanted<'de>: Default {
    /// Reads the value of `key`, or passes over it.
    fn member<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;
}

/// Reads wanted members from an object; a value of another type counts as an object without members.
struct Members<T>(T);

impl<'de, T: Wanted<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MembersVisitor(PhantomData)).map(Members)
    }
}

struct MembersVisitor<T>(PhantomData<T>);

impl<'de, T: Wanted<'de>> Visitor<'de> for MembersVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        #[derive(serde::Deserialize)]
        struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
        let mut wanted = T::default();
        while let Some(Key(key)) = map.next_key()? {
            wanted.member(&key, &mut map)?;
        }
        Ok(wanted)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(T::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }
}

/// Reads a raw value into `slot`; a second one is refused, since parsers disagree on which of two counts.
fn once<'de, A: MapAccess<'de>>(slot: &mut Option<&'de str>, map: &mut A) -> Result<(), A::Error> {
    let raw: &'de RawValue = map.next_value()?;
    match slot.replace(raw.get()) {
        None => Ok(()),
        Some(_) => Err(A::Error::custom("a member stands twice in one object")),
    }
}

fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(drop)
}

impl<'de> Wanted<'de> for Raw<'de> {
    fn member<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "id" => once(&mut self.id, map),
            "method" => once(&mut self.method, map),
            "result" => once(&mut self.result, map),
            "error" => once(&mut self.error, map),
            "params" => map.next_value().map(|Members(params)| self.params = params),
            _ => skip(map),
        }
    }
}

impl<'de> Wanted<'de> for Params<'de> {
    fn member<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "_meta" => map.next_value().map(|Members(meta)| self.meta = meta),
            "progressToken" => once(&mut self.progress_token, map),
            "requestId" => once(&mut self.request_id, map),
            "name" => once(&mut self.name, map),
            "uri" => once(&mut self.uri, map),
            "level" => once(&mut self.level, map),
            "ref" => map.next_value().map(|Members(reference)| self.reference = reference),
            "protocolVersion" => once(&mut self.protocol_version, map),
            "capabilities" => once(&mut self.capabilities, map),
            "clientInfo" => once(&mut self.client_info, map),
            _ => skip(map),
        }
    }
}

impl<'de> Wanted<'de> for Meta<'de> {
    fn member<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "progressToken" => once(&mut self.progress_token, map),
            "io.modelcontextprotocol/subscriptionId" => once(&mut self.subscription_id, map),
            "io.modelcontextprotocol/protocolVersion" => once(&mut self.protocol_version, map),
            "io.modelcontextprotocol/clientInfo" => once(&mut self.client_info, map),
            _ => skip(map),
        }
    }
}

impl<'de> Wanted<'de> for Reference<'de> {
    fn member<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "name" => once(&mut self.name, map),
            "uri" => once(&mut self.uri, map),
            _ => skip(map),
        }
    }
}

/// The `_meta` of a response's result, read only where it has to be rewritten.
pub fn result_meta(result: &str) -> Meta<'_> {
    #[derive(Default)]
    struct ResultMeta<'a>(Meta<'a>);
    impl<'de> Wanted<'de> for ResultMeta<'de> {
        fn member<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
            match key {
                "_meta" => map.next_value().map(|Members(meta)| self.0 = meta),
                _ => skip(map),
            }
        }
    }
    serde_json::from_str(result).map(|Members(ResultMeta(meta))| meta).unwrap_or_default()
}

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
        let kind = |frame: &str| Envelope::parse(frame.as_bytes()).map(|envelope| envelope.kind).map_err(|e| e.to_string());
        assert_eq!(kind(r#"{"id":1,"method":"m","params":[1,{"id":2}]}"#), Ok(Kind::Request));
        assert_eq!(kind(r#"{"method":"m","params":"odd"}"#), Ok(Kind::Notification));
        assert_eq!(kind(r#"{"id":"x","result":null}"#), Ok(Kind::Response));
        assert_eq!(kind(r#"{"error":{"code":1}}"#), Ok(Kind::Response));
        assert_eq!(kind(r#"{"\u0069d":1,"method":"m"}"#), Ok(Kind::Request));
        for bad in [r#"{"id":null,"method":"m"}"#, r#"{"id":{},"method":"m"}"#, r#"{"id":1,"id":2,"method":"m"}"#, "[]", "1", r#"{"id":1}"#, r#"{"method":7}"#] {
            assert!(kind(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn depth_is_bounded_for_agents_only() {
        let deep = |levels: usize| format!(r#"{{"id":1,"method":"m","params":{{"a":{}{}}}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert!(Envelope::from_agent(deep(900).as_bytes()).is_ok());
        assert!(matches!(Envelope::from_agent(deep(200_000).as_bytes()), Err(Malformed::Depth)));
        assert!(Envelope::parse(deep(200_000).as_bytes()).is_ok());
        let text = format!(r#"{{"id":1,"method":"m","params":{{"a":"{}"}}}}"#, "[".repeat(5_000));
        assert!(Envelope::from_agent(text.as_bytes()).is_ok());
    }
}
