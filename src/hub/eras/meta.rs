//! What a request says of its agent: in the modern era in each `_meta`, in the legacy era once.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer as _, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::object::{before, put_first, without};
use crate::era::MODERN;

const PREFIX: &str = "io.modelcontextprotocol";
/// What only the modern era has in `_meta`.
const OWN: [&str; 4] = [
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/logLevel",
];

/// `_meta` without what only the modern era has in it.
pub(in crate::hub) fn legacy_meta(meta: &str) -> String {
    without(meta, &OWN).unwrap_or_else(|| meta.to_owned())
}

/// `_meta`, raw, if there is one, with what the modern era must have in it; all parts are raw.
pub(in crate::hub) fn modern_meta(
    meta: Option<&str>,
    client_info: Option<&str>,
    capabilities: &str,
    level: Option<&str>,
) -> String {
    let mut own = format!(r#""{PREFIX}/protocolVersion":"{MODERN}","{PREFIX}/clientCapabilities":{capabilities}"#);
    for (name, value) in [("clientInfo", client_info), ("logLevel", level)] {
        if let Some(value) = value {
            own.push_str(&format!(r#","{PREFIX}/{name}":{value}"#));
        }
    }
    put_first(&meta.map_or("{}".to_owned(), legacy_meta), &own)
}

/// Where members can be put first in a frame's `params`, and the text that puts them there. What stands behind that place is
/// not read.
pub(in crate::hub) fn at_params(frame: &str, members: &str) -> Option<(Range<usize>, String)> {
    let Some(at) = start_of_params(frame)? else {
        let at = frame.trim_end().len() - 1;
        return Some((at..at, format!(r#","params":{{{members}}}"#)));
    };
    let params = &frame[at..];
    if let Some(inner) = params.strip_prefix('{') {
        return Some((at + 1..at + 1, before(inner, members)));
    }
    params.starts_with("null").then(|| (at..at + "null".len(), format!("{{{members}}}")))
}

/// Where the value of a frame's `params` begins, if it has any; `None` if the frame is no object.
fn start_of_params(frame: &str) -> Option<Option<usize>> {
    /// Stops at the name, and notes where the text goes on.
    struct Find<'f> {
        frame: &'f str,
        at: &'f mut Option<usize>,
    }
    impl<'de> Visitor<'de> for Find<'de> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            #[derive(serde::Deserialize)]
            struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
            while let Some(Name(name)) = map.next_key()? {
                match name {
                    Cow::Borrowed(name) if name == "params" => {
                        let end = name.as_ptr() as usize - self.frame.as_ptr() as usize + name.len();
                        let value = self.frame[end + 1..].trim_start().trim_start_matches(':').trim_start();
                        *self.at = Some(self.frame.len() - value.len());
                        return Err(A::Error::custom("found"));
                    }
                    // The name is written with escapes.
                    Cow::Owned(name) if name == "params" => {
                        let value: &RawValue = map.next_value()?;
                        *self.at = Some(value.get().as_ptr() as usize - self.frame.as_ptr() as usize);
                        return Err(A::Error::custom("found"));
                    }
                    Cow::Borrowed(_) | Cow::Owned(_) => drop(map.next_value::<IgnoredAny>()?),
                }
            }
            Ok(())
        }
    }
    let mut at = None;
    let read = serde_json::Deserializer::from_str(frame).deserialize_map(Find { frame, at: &mut at });
    (read.is_ok() || at.is_some()).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_the_eras_stays() {
        let modern = r#"{"traceparent":"00-1","io.modelcontextprotocol/protocolVersion":"2026-07-28","x":1E5,"io.modelcontextprotocol/clientInfo":{}}"#;
        assert_eq!(legacy_meta(modern), r#"{"traceparent":"00-1","x":1E5}"#);
        assert_eq!(legacy_meta(r#"{ "x" : 1 }"#), r#"{ "x" : 1 }"#);
        let meta = modern_meta(Some(r#"{ "progressToken": 1E0 }"#), None, "{}", Some("\"info\""));
        assert_eq!(
            meta,
            r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/logLevel":"info", "progressToken": 1E0 }"#
        );
    }

    #[test]
    fn members_are_put_first() {
        for (frame, expected) in [
            (r#"{"params":{"a":1},"id":1}"#, r#"{"params":{"x":0,"a":1},"id":1}"#),
            (r#"{"id":1,"params":{ }}"#, r#"{"id":1,"params":{"x":0 }}"#),
            (r#"{"params":null,"id":1}"#, r#"{"params":{"x":0},"id":1}"#),
            (r#"{"id":1} "#, r#"{"id":1,"params":{"x":0}} "#),
            (r#"{"x":"params","params" : {"params":1}}"#, r#"{"x":"params","params" : {"x":0,"params":1}}"#),
            (r#"{"\u0070arams":{"a":1},"id":1}"#, r#"{"\u0070arams":{"x":0,"a":1},"id":1}"#),
        ] {
            let (at, text) = at_params(frame, r#""x":0"#).expect("an object");
            assert_eq!(format!("{}{text}{}", &frame[..at.start], &frame[at.end..]), expected);
        }
        for odd in [r#"{"params":[1]}"#, r#"{"params":"{"}"#, "[]", "1"] {
            assert_eq!(at_params(odd, "x"), None, "{odd}");
        }
    }
}
