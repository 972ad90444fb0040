//! A place in a trace, as W3C Trace Context writes it, and what is said of a call there.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

/// What a `_meta` says of the trace; members of another type count as absent.
#[derive(Debug, Default, Clone)]
pub struct TraceMeta {
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
    pub baggage: Option<String>,
}

impl TraceMeta {
    /// Reads it from a raw `_meta`.
    pub fn read(meta: Option<&str>) -> Self {
        #[derive(Deserialize)]
        struct Members {
            #[serde(default)]
            traceparent: serde_json::Value,
            #[serde(default)]
            tracestate: serde_json::Value,
            #[serde(default)]
            baggage: serde_json::Value,
        }
        // Most say nothing of it, and are not read twice.
        let worth = meta.filter(|meta| ["traceparent", "tracestate", "baggage"].iter().any(|name| meta.contains(name)));
        let text = |value: serde_json::Value| value.as_str().map(str::to_owned);
        match worth.map(serde_json::from_str::<Members>) {
            Some(Ok(found)) => Self {
                traceparent: text(found.traceparent),
                tracestate: text(found.tracestate),
                baggage: text(found.baggage),
            },
            Some(Err(_)) | None => Self::default(),
        }
    }
}

/// A place in a trace: the trace, the span that is there, and whether it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub trace: u128,
    pub span: u64,
    pub flags: u8,
}

impl Place {
    /// Reads a `traceparent` (W3C Trace Context, section 3.2).
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        let well_formed = is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
        // Of a later version, what follows is not known; of this one, nothing may follow.
        if !well_formed || version == "ff" || version == "00" && parts.next().is_some() {
            return None;
        }
        let place = Self {
            trace: u128::from_str_radix(trace, 16).ok()?,
            span: u64::from_str_radix(span, 16).ok()?,
            flags: u8::from_str_radix(flags, 16).ok()?,
        };
        (place.trace != 0 && place.span != 0).then_some(place)
    }

    /// Whether who began the trace wants it kept.
    #[cfg(feature = "otlp")]
    pub(super) fn is_sampled(self) -> bool {
        self.flags & 1 == 1
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// The span of a call that is under way.
#[derive(Debug, Clone)]
pub struct Span {
    pub own: Place,
    /// The agent's; 0 where it names none.
    pub parent: u64,
}

/// What is said of a call whose span ends.
#[derive(Debug)]
pub struct Ended<'a> {
    pub server: &'a str,
    pub method: &'a str,
    /// The tool, prompt or URI.
    pub subject: Option<&'a str>,
    pub agent: Option<&'a str>,
    pub session: u64,
    pub began: SystemTime,
    pub took: Duration,
    /// How it failed, in a word; nothing if it did not.
    pub failure: Option<&'a str>,
    pub code: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(Place::parse(text).map(|place| place.to_string()).as_deref(), Some(text));
        assert!(Place::parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later").is_some());
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_a_meta_says_of_a_trace() {
        let found = TraceMeta::read(Some(r#"{"traceparent":"a","baggage":7,"tracestate":"x=\"1\""}"#));
        assert_eq!(
            (found.traceparent.as_deref(), found.tracestate.as_deref(), found.baggage),
            (Some("a"), Some("x=\"1\""), None)
        );
        assert!(TraceMeta::read(Some(r#"{"traceparent":"#)).traceparent.is_none());
    }
}
