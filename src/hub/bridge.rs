//! What one era's messages are in the other: pure, and the only place that knows. ERAS.md has it as a table.
//!
//! Only what the other era must have, or cannot know, is put in or taken out; all the rest stays the text that was sent
//! (MCP 2026-07-28 `changelog`, `basic/versioning`).

mod handshake;
mod meta;
mod questions;
mod tasks;

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

pub(super) use handshake::{discover_result, initialize_result, supported, without, without_tasks};
pub(super) use meta::{at_params, legacy_meta, modern_meta};
pub(super) use questions::{
    Asked, InputRequired, elicitation_name, elicitation_result, input_request, input_responses, may_ask,
    page_not_shown, question, related, retry, subject,
};
pub(super) use tasks::{AS_TASK, AsTask, Step, Task, allowed, begun, is_task_only, names_tasks};

use crate::envelope::Envelope;
use crate::envelope::reply::code;
use crate::era::Era;

/// The era in which an agent's request is spoken.
pub(super) fn era_of(envelope: &Envelope<'_>) -> Era {
    if envelope.is_modern() { Era::Modern } else { Era::Legacy }
}

/// What becomes of an agent's request where its server speaks the other era.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The server gets it, with another `_meta`.
    Send,
    /// It is answered from the server's handshake.
    Discover,
    /// Trunkline keeps the subscription.
    Listen,
    /// It is answered in the server's place.
    Pong,
    /// The level goes into the requests from then on.
    SetLevel,
    Subscribe,
    Unsubscribe,
    /// The agent's own era has no such method.
    NoMethod,
    /// Tasks of the two eras are not the same thing.
    Tasks,
}

pub(super) fn fate(method: &str, agent: Era) -> Fate {
    match (agent, method) {
        (_, "tasks/get" | "tasks/result" | "tasks/list" | "tasks/cancel" | "tasks/update") => Fate::Tasks,
        (Era::Modern, "server/discover") => Fate::Discover,
        (Era::Modern, "subscriptions/listen") => Fate::Listen,
        (Era::Modern, "initialize" | "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe") => {
            Fate::NoMethod
        }
        (Era::Legacy, "ping") => Fate::Pong,
        (Era::Legacy, "logging/setLevel") => Fate::SetLevel,
        (Era::Legacy, "resources/subscribe") => Fate::Subscribe,
        (Era::Legacy, "resources/unsubscribe") => Fate::Unsubscribe,
        (Era::Legacy, "server/discover" | "subscriptions/listen") => Fate::NoMethod,
        (Era::Modern | Era::Legacy, _) => Fate::Send,
    }
}

/// The members that a legacy server's result lacks in the modern era, to stand first in it; `None` if it lacks none.
pub(super) fn modern_members(method: &str, result: &str) -> Option<String> {
    let inner = result.strip_prefix('{')?;
    if has_member(result, "resultType") {
        return None;
    }
    let cacheable = matches!(
        method,
        "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list" | "resources/read"
    );
    let hints = if cacheable { r#","ttlMs":0,"cacheScope":"private""# } else { "" };
    let comma = if inner.trim_start().starts_with('}') { "" } else { "," };
    Some(format!(r#""resultType":"complete"{hints}{comma}"#))
}

/// Whether a raw object has this member; looked at closely only where its name stands somewhere.
fn has_member(object: &str, name: &str) -> bool {
    memchr::memmem::find(object.as_bytes(), name.as_bytes()).is_some()
        && members(object).is_some_and(|members| members.contains_key(name))
}

type Members<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

fn members(object: &str) -> Option<Members<'_>> {
    serde_json::from_str(object).ok()
}

/// The code of an error, raw, and what it is to an agent of era `to`, where that is another.
pub(super) fn error_code<'e>(to: Era, method: &str, error: &'e str) -> Option<(&'e str, i32)> {
    let members = members(error)?;
    let raw = members.get("code")?.get();
    let names_uri = || members.get("data").is_some_and(|data| has_member(data.get(), "uri"));
    match (to, raw.parse().ok()?) {
        (Era::Modern, code::RESOURCE_NOT_FOUND) => Some((raw, code::INVALID_PARAMS)),
        (Era::Legacy, code::INVALID_PARAMS) if method == "resources/read" && names_uri() => {
            Some((raw, code::RESOURCE_NOT_FOUND))
        }
        (Era::Modern | Era::Legacy, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_get_what_they_lack() {
        let members = |method, result: &str| modern_members(method, result).unwrap_or_default();
        assert_eq!(members("tools/call", r#"{"content":[]}"#), r#""resultType":"complete","#);
        assert_eq!(members("tools/call", "{ }"), r#""resultType":"complete""#);
        assert_eq!(
            members("tools/list", r#"{"tools":[]}"#),
            r#""resultType":"complete","ttlMs":0,"cacheScope":"private","#
        );
        assert_eq!(members("tools/call", r#"{"resultType":"task"}"#), "");
        assert_eq!(members("tools/call", r#"{"content":"resultType"}"#), r#""resultType":"complete","#);
        assert_eq!(members("tools/call", "null"), "");
    }

    #[test]
    fn codes_of_resources_that_are_not_there() {
        let not_found = r#"{"code":-32002,"message":"x"}"#;
        assert_eq!(error_code(Era::Modern, "resources/read", not_found), Some(("-32002", -32602)));
        let invalid = r#"{"code":-32602,"message":"x","data":{"uri":"a:b"}}"#;
        assert_eq!(error_code(Era::Legacy, "resources/read", invalid), Some(("-32602", -32002)));
        assert_eq!(error_code(Era::Legacy, "tools/call", invalid), None);
        assert_eq!(error_code(Era::Legacy, "resources/read", r#"{"code":-32602,"message":"x"}"#), None);
    }
}
