//! What a server said of itself in the handshake, kept as it was sent.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::envelope::Envelope;
use crate::envelope::reply::{self, code};
use crate::era::Era;
use crate::method::Method;

/// The server's replies to the handshake, whole frames.
#[derive(Debug, Clone, Default)]
pub struct Handshake {
    pub initialize: Option<Arc<str>>,
    pub discover: Option<Arc<str>>,
    pub(super) unreadable: Option<String>,
}

/// What is used of a reply; a member of another shape counts as absent.
struct Reply<'a> {
    instructions: Option<String>,
    capabilities: Members<'a>,
}

type Members<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

/// A reply as `rmcp` takes it, a whole frame, and what is wrong with its shape.
pub(super) fn tolerated(envelope: &Envelope<'_>, method: &str) -> (String, Vec<String>) {
    let Some(result) = envelope.result else { return (envelope.frame.to_owned(), Vec::new()) };
    let Ok(reply) = serde_json::from_str::<Map<String, Value>>(result) else {
        let refusal = format!("its answer to `{method}` is no object");
        return (reply::error(envelope.id, code::INTERNAL, &refusal), Vec::new());
    };
    let mut wrong = Vec::new();
    let mut expect = |name: &str, shape: &str, is_right: fn(&Value) -> bool| {
        let found = reply.get(name);
        if !found.is_some_and(is_right) {
            let is = found.map_or("is missing".to_owned(), |found| format!("is {}", kind_of(found)));
            wrong.push(format!("`{name}` {is} and should be {shape}"));
        }
    };
    let version = match Method::of(method) {
        Some(Method::Initialize) => {
            expect("protocolVersion", "a string", Value::is_string);
            expect("capabilities", "an object", Value::is_object);
            let named = |info: &Value| info["name"].is_string() && info["version"].is_string();
            expect("serverInfo", "an object with `name` and `version`", named);
            reply.get("protocolVersion").filter(|version| version.is_string())
        }
        Some(Method::Discover) => {
            expect("capabilities", "an object", Value::is_object);
            reply.get("supportedVersions").filter(|versions| versions.is_array())
        }
        _ => return (envelope.frame.to_owned(), Vec::new()),
    };
    if reply.get("instructions").is_some_and(|text| !text.is_string() && !text.is_null()) {
        wrong.push("`instructions` is no string".to_owned());
    }
    for (name, found) in reply.get("capabilities").and_then(Value::as_object).into_iter().flatten() {
        if !found.is_object() {
            wrong.push(format!("`capabilities.{name}` is {} and should be an object", kind_of(found)));
        }
    }
    let result = match (Method::of(method), version) {
        (Some(Method::Initialize), Some(version)) => {
            json!({ "protocolVersion": version, "capabilities": {}, "serverInfo": { "name": "server", "version": "0" } })
        }
        (_, Some(Value::Array(versions))) => {
            let versions: Vec<_> = versions.iter().filter(|version| version.is_string()).collect();
            json!({ "resultType": "complete", "supportedVersions": versions, "capabilities": {}, "ttlMs": 0, "cacheScope": "private" })
        }
        (Some(Method::Initialize), _) => {
            let refusal = format!("its answer to `initialize` is wrong: {}", wrong.join("; "));
            return (reply::error(envelope.id, code::INTERNAL, &refusal), Vec::new());
        }
        // Some answer whatever they are asked.
        (_, _) => {
            let refusal = "its answer names no `supportedVersions`";
            return (reply::error(envelope.id, code::METHOD_NOT_FOUND, refusal), Vec::new());
        }
    };
    (reply::result(envelope.id, &result.to_string()), wrong)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object of another form",
    }
}

impl Handshake {
    /// From a reply that was kept.
    pub fn of_reply(frame: &str) -> Self {
        Self { initialize: Some(frame.into()), ..Self::default() }
    }

    pub(super) fn record(&mut self, method: &str, frame: &str) {
        match Method::of(method) {
            Some(Method::Initialize) => self.initialize = Some(frame.into()),
            Some(Method::Discover) => self.discover = Some(frame.into()),
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

    /// Whether the server declared no capability.
    pub fn declares_nothing(&self) -> bool {
        self.with_reply(|reply| reply.capabilities.is_empty()).unwrap_or(true)
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
        let members: Members<'_> = serde_json::from_str(envelope.result?).ok()?;
        let of = |name: &str| members.get(name).map(|raw| raw.get());
        let mut reply = Reply {
            instructions: of("instructions").and_then(|raw| serde_json::from_str(raw).ok()),
            capabilities: of("capabilities").and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default(),
        };
        Some(read(&mut reply))
    }
}
