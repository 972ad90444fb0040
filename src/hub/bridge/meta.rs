//! What a request says of its agent: in the modern era in each `_meta`, in the legacy era once.

use std::ops::Range;

use super::handshake::Object;
use super::without;
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
    let mut text = format!(r#"{{"{PREFIX}/protocolVersion":"{MODERN}","{PREFIX}/clientCapabilities":{capabilities}"#);
    for (name, value) in [("clientInfo", client_info), ("logLevel", level)] {
        if let Some(value) = value {
            text.push_str(&format!(r#","{PREFIX}/{name}":{value}"#));
        }
    }
    let rest = meta.map(legacy_meta).unwrap_or_default();
    let inner = rest.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default().trim();
    if !inner.is_empty() {
        text.push(',');
        text.push_str(inner);
    }
    text.push('}');
    text
}

/// Where members can be put first in a frame's `params`, and the text that puts them there.
pub(in crate::hub) fn at_params(frame: &str, members: &str) -> Option<(Range<usize>, String)> {
    let Object(all) = serde_json::from_str(frame).ok()?;
    let start = |raw: &str| raw.as_ptr() as usize - frame.as_ptr() as usize;
    match all.iter().find(|(name, _)| name == "params").map(|(_, raw)| raw.get()) {
        Some(params @ "null") => {
            let at = start(params);
            Some((at..at + params.len(), format!("{{{members}}}")))
        }
        Some(params) => {
            let inner = params.strip_prefix('{')?;
            let at = start(params) + 1;
            let comma = if inner.trim_start().starts_with('}') { "" } else { "," };
            Some((at..at, format!("{members}{comma}")))
        }
        None => {
            let at = frame.trim_end().len() - 1;
            Some((at..at, format!(r#","params":{{{members}}}"#)))
        }
    }
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
            r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/logLevel":"info","progressToken": 1E0}"#
        );
    }

    #[test]
    fn members_are_put_first() {
        for (frame, expected) in [
            (r#"{"params":{"a":1},"id":1}"#, r#"{"params":{"x":0,"a":1},"id":1}"#),
            (r#"{"id":1,"params":{ }}"#, r#"{"id":1,"params":{"x":0 }}"#),
            (r#"{"params":null,"id":1}"#, r#"{"params":{"x":0},"id":1}"#),
            (r#"{"id":1} "#, r#"{"id":1,"params":{"x":0}} "#),
        ] {
            let (at, text) = at_params(frame, r#""x":0"#).expect("an object");
            assert_eq!(format!("{}{text}{}", &frame[..at.start], &frame[at.end..]), expected);
        }
        assert_eq!(at_params(r#"{"params":[1]}"#, "x"), None);
    }
}
