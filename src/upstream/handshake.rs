//! What a server said of itself in the handshake, kept as it was sent.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::envelope::Envelope;
use crate::era::Era;

/// The server's replies to the handshake, whole frames.
#[derive(Debug, Clone, Default)]
pub struct Handshake {
    pub initialize: Option<Arc<str>>,
    pub discover: Option<Arc<str>>,
    pub(super) unreadable: Option<String>,
}

#[derive(Deserialize)]
struct Reply<'a> {
    instructions: Option<String>,
    #[serde(borrow, default)]
    capabilities: HashMap<Cow<'a, str>, &'a RawValue>,
}

impl Handshake {
    /// From a reply that was kept.
    pub fn of_reply(frame: &str) -> Self {
        Self { initialize: Some(frame.into()), ..Self::default() }
    }

    pub(super) fn record(&mut self, method: &str, frame: &str) {
        match method {
            "initialize" => self.initialize = Some(frame.into()),
            "server/discover" => self.discover = Some(frame.into()),
            _ => {}
        }
    }

    /// What was said in this era alone, where the server refused the other one first.
    pub(super) fn of(self, era: Era) -> Self {
        match era {
            Era::Legacy => Self { discover: None, ..self },
            Era::Modern => Self { initialize: None, ..self },
        }
    }

    pub fn instructions(&self) -> Option<String> {
        self.with_reply(|reply| reply.instructions.take())?
    }

    /// Whether the server declared `capability`.
    pub fn offers(&self, capability: &str) -> bool {
        self.with_reply(|reply| reply.capabilities.contains_key(capability)).unwrap_or(false)
    }

    /// Whether the server said that it announces changes of its `capability` list.
    pub fn announces(&self, capability: &str) -> bool {
        #[derive(Deserialize)]
        struct Announces {
            #[serde(default, rename = "listChanged")]
            list_changed: bool,
        }
        let declared = self.with_reply(|reply| {
            let raw = reply.capabilities.get(capability)?;
            serde_json::from_str::<Announces>(raw.get()).ok()
        });
        declared.flatten().is_some_and(|capability| capability.list_changed)
    }

    /// Whether the server said that it tells of changed resources.
    pub fn subscribes(&self) -> bool {
        #[derive(Deserialize)]
        struct Subscribes {
            #[serde(default)]
            subscribe: bool,
        }
        let declared = self.with_reply(|reply| {
            let raw = reply.capabilities.get("resources")?;
            serde_json::from_str::<Subscribes>(raw.get()).ok()
        });
        declared.flatten().is_some_and(|resources| resources.subscribe)
    }

    /// Whether the server said that a client may ask for a task instead of a call's result (2025-11-25).
    pub fn makes_tasks(&self) -> bool {
        #[derive(Deserialize)]
        struct Tasks {
            #[serde(default)]
            requests: Requests,
        }
        #[derive(Deserialize, Default)]
        struct Requests {
            #[serde(default)]
            tools: HashMap<String, serde::de::IgnoredAny>,
        }
        let declared = self.with_reply(|reply| {
            let raw = reply.capabilities.get("tasks")?;
            serde_json::from_str::<Tasks>(raw.get()).ok()
        });
        declared.flatten().is_some_and(|tasks| tasks.requests.tools.contains_key("call"))
    }

    fn with_reply<T>(&self, read: impl FnOnce(&mut Reply<'_>) -> T) -> Option<T> {
        let frame = self.initialize.as_ref().or(self.discover.as_ref())?;
        let envelope = Envelope::parse(frame.as_bytes()).ok()?;
        let mut reply = serde_json::from_str(envelope.result?).ok()?;
        Some(read(&mut reply))
    }
}
