//! The two eras of the protocol, and what an agent declared of itself.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The revision that is stateless and has no `initialize`.
pub const MODERN: &str = "2026-07-28";
/// The newest revision with `initialize`.
pub const LEGACY: &str = "2025-11-25";
/// Revisions with `initialize`, newest first.
pub const LEGACY_ALL: [&str; 4] = [LEGACY, "2025-06-18", "2025-03-26", "2024-11-05"];

/// The `_meta` member of a request of trunkline's own in the modern era, raw: it promises nothing.
pub fn own_meta() -> String {
    let identity = format!(r#"{{"name":"trunkline","version":"{}"}}"#, env!("CARGO_PKG_VERSION"));
    let prefix = "io.modelcontextprotocol";
    format!(
        r#""_meta":{{"{prefix}/protocolVersion":"{MODERN}","{prefix}/clientInfo":{identity},"{prefix}/clientCapabilities":{{}}}}"#
    )
}

/// Whether capabilities, raw, promise that a person can be shown a URL to open (`elicitation` in URL mode, 2025-11-25).
pub fn shows_urls(capabilities: &str) -> bool {
    promises(capabilities, "/elicitation/url")
}

/// Whether capabilities, raw, have what this JSON pointer says.
fn promises(capabilities: &str, pointer: &str) -> bool {
    serde_json::from_str::<Value>(capabilities).is_ok_and(|value| value.pointer(pointer).is_some())
}

/// Protocol revisions with `initialize` (2024-11-05 to 2025-11-25), or without (2026-07-28).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Era {
    Legacy,
    Modern,
}

/// What a legacy agent promised in its `initialize`. Agents share an instance only when their promises are the same,
/// so that a server is never promised more, or less, than the agent behind a call can answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClientProfile {
    pub version: String,
    /// The capabilities object as JSON text in one spelling: sorted keys, no spaces.
    pub capabilities: String,
}

impl Era {
    pub fn other(self) -> Self {
        match self {
            Self::Legacy => Self::Modern,
            Self::Modern => Self::Legacy,
        }
    }

    /// The newest revision of it.
    pub fn revision(self) -> &'static str {
        match self {
            Self::Legacy => LEGACY,
            Self::Modern => MODERN,
        }
    }
}

impl ClientProfile {
    /// What trunkline promises for itself: nothing.
    pub fn plain() -> Self {
        Self { version: LEGACY.to_owned(), capabilities: "{}".to_owned() }
    }

    /// The profile of an agent that said so in its `initialize`; `capabilities` is raw JSON. `None` if that is no object.
    pub fn of(version: &str, capabilities: &str) -> Option<Self> {
        let value =
            serde_json::from_str::<serde_json::Value>(capabilities).ok().filter(serde_json::Value::is_object)?;
        Some(Self { version: version.to_owned(), capabilities: value.to_string() })
    }

    /// The same with these capabilities only, in the newest revision: what matters to a server that looks at no others.
    pub fn only(&self, capabilities: &[String]) -> Self {
        let mut declared = self.declared();
        declared.retain(|name, _| capabilities.contains(name));
        Self { version: LEGACY.to_owned(), capabilities: Value::Object(declared).to_string() }
    }

    /// Whether it promises all that another one does.
    pub fn covers(&self, other: &Self) -> bool {
        fn within(small: &Value, large: &Value) -> bool {
            match (small, large) {
                (Value::Object(small), Value::Object(large)) => {
                    small.iter().all(|(name, value)| large.get(name).is_some_and(|found| within(value, found)))
                }
                (small, large) => small == large,
            }
        }
        within(&Value::Object(other.declared()), &Value::Object(self.declared()))
    }

    /// What promises as much as both, in the newer of the two revisions.
    pub fn with(&self, other: &Self) -> Self {
        fn merge(into: &mut Value, other: &Value) {
            match (into, other) {
                (Value::Object(into), Value::Object(other)) => {
                    for (name, value) in other {
                        merge(into.entry(name.clone()).or_insert_with(|| value.clone()), value);
                    }
                }
                // `true` promises more than `false`, and an object more than nothing.
                (into @ (Value::Bool(false) | Value::Null), other) => *into = other.clone(),
                (_, _) => {}
            }
        }
        let mut capabilities = Value::Object(self.declared());
        merge(&mut capabilities, &Value::Object(other.declared()));
        let version = self.version.as_str().max(other.version.as_str()).to_owned();
        Self { version, capabilities: capabilities.to_string() }
    }

    fn declared(&self) -> serde_json::Map<String, Value> {
        serde_json::from_str(&self.capabilities).unwrap_or_default()
    }

    /// Whether the agent can show a person a URL to open.
    pub fn shows_urls(&self) -> bool {
        shows_urls(&self.capabilities)
    }

    /// Whether the agent declared what this JSON pointer into its capabilities says.
    pub fn declares(&self, pointer: &str) -> bool {
        promises(&self.capabilities, pointer)
    }

    /// Whether the agent declared this capability.
    pub fn has(&self, capability: &str) -> bool {
        self.declared().contains_key(capability)
    }

    /// Whether the agent takes a stream up again that was cut before its first message (2025-11-25, SEP-1699).
    pub fn resumes(&self) -> bool {
        self.version.as_str() >= LEGACY
    }

    /// The version to answer an `initialize` with, where trunkline itself is the server.
    pub fn answer_version(&self) -> &'static str {
        LEGACY_ALL.into_iter().find(|version| *version == self.version).unwrap_or(LEGACY)
    }
}

/// How an agent speaks, and so what an instance that serves it must have been promised.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum InstanceTerms {
    Legacy(ClientProfile),
    /// Every request carries its agent's own promises in `_meta`.
    Modern,
}

impl InstanceTerms {
    pub fn era(&self) -> Era {
        match self {
            Self::Legacy(_) => Era::Legacy,
            Self::Modern => Era::Modern,
        }
    }
}

/// How an agent speaks, and what it has promised: at its handshake, or with the request at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentTerms {
    Legacy(Arc<ClientProfile>),
    Modern(Arc<ClientProfile>),
}

impl AgentTerms {
    pub fn era(&self) -> Era {
        match self {
            Self::Legacy(_) => Era::Legacy,
            Self::Modern(_) => Era::Modern,
        }
    }

    pub fn profile(&self) -> &Arc<ClientProfile> {
        match self {
            Self::Legacy(profile) | Self::Modern(profile) => profile,
        }
    }

    /// What an instance that speaks `server` must have been promised to serve it.
    pub fn instance_terms(&self, server: Era) -> InstanceTerms {
        match server {
            Era::Legacy => InstanceTerms::Legacy((**self.profile()).clone()),
            Era::Modern => InstanceTerms::Modern,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_compare_and_add_up() {
        let profile = |capabilities| ClientProfile::of("2025-06-18", capabilities).expect("an object");
        let (none, roots) = (profile("{}"), profile(r#"{"roots":{}}"#));
        let (changing, form) =
            (profile(r#"{"roots":{"listChanged":true}}"#), profile(r#"{"elicitation":{"form":{}}}"#));
        for (large, small, expected) in [
            (&none, &none, true),
            (&roots, &none, true),
            (&none, &roots, false),
            (&changing, &roots, true),
            (&roots, &changing, false),
            (&roots, &form, false),
        ] {
            assert_eq!(large.covers(small), expected, "{large:?} {small:?}");
        }
        let both = changing.with(&form);
        assert!(both.covers(&changing) && both.covers(&form) && both.covers(&roots));
        assert_eq!(both.only(&["roots".to_owned()]).capabilities, changing.capabilities);
        assert_eq!(both.only(&[]).capabilities, "{}");
    }

    #[test]
    fn a_class_ignores_spelling_only() {
        let profile = |capabilities| ClientProfile::of("2025-06-18", capabilities);
        assert_eq!(profile(r#"{"b":{},"a": {}}"#), profile(r#"{"a":{},"b":{}}"#));
        assert_ne!(profile(r#"{"elicitation":{}}"#), profile(r#"{"elicitation":{"url":{}}}"#));
        assert_eq!(profile("[]"), None);
    }
}
