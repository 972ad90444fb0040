//! The members of `params` that routing needs.

use std::borrow::Cow;

use crate::envelope::members::{Lookalike, Members, Wanted, nested, once, read, skip, twice, wanted};
use crate::method::Names;
use serde::de::{Error as _, MapAccess};

/// The members of `params` that routing needs. Anything else in `params` is passed over.
#[derive(Debug, Default)]
pub struct Params<'a> {
    reference_seen: bool,
    pub(super) lookalike: Option<Box<Lookalike>>,
    pub meta: Meta<'a>,
    /// The whole of `_meta`.
    pub meta_raw: Option<&'a str>,
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
    /// The page of a list that is asked for.
    pub cursor: Option<&'a str>,
    /// Which task of the server's is meant.
    pub task_id: Option<&'a str>,
    /// Which page a person was to open.
    pub elicitation_id: Option<&'a str>,
    pub arguments: Option<&'a str>,
    /// What a request brings that answers what the server asked before.
    pub input_responses: Option<&'a str>,
    pub request_state: Option<&'a str>,
    /// What `subscriptions/listen` asks for.
    pub notifications: Option<&'a str>,
}

/// The members of `params._meta` that routing needs.
#[derive(Debug, Default)]
pub struct Meta<'a> {
    lookalike: Option<Box<Lookalike>>,
    pub progress_token: Option<&'a str>,
    pub subscription_id: Option<&'a str>,
    /// Present on every request of a modern agent.
    pub protocol_version: Option<&'a str>,
    pub client_info: Option<&'a str>,
    pub client_capabilities: Option<&'a str>,
    /// The task that the message comes of, an object with its id (2025-11-25).
    pub related_task: Option<&'a str>,
    /// From which level on the request asks for log messages.
    pub log_level: Option<&'a str>,
}

/// `params.ref` of `completion/complete`.
#[derive(Debug, Default)]
pub struct Reference<'a> {
    lookalike: Option<Box<Lookalike>>,
    pub name: Option<&'a str>,
    pub uri: Option<&'a str>,
}

impl<'a> Params<'a> {
    /// What a request names, raw.
    pub fn named(&self, names: Names) -> Option<&'a str> {
        match names {
            Names::Nothing => None,
            Names::Tool | Names::Prompt => self.name,
            Names::Resource => self.uri,
            Names::Task => self.task_id,
            Names::Reference => self.reference.name.or(self.reference.uri),
        }
    }

    /// Whether the request brings answers to what the server asked before.
    pub fn is_retry(&self) -> bool {
        self.input_responses.is_some() || self.request_state.is_some()
    }
}

impl Meta<'_> {
    /// Whether it carries what only the modern era does.
    pub fn is_modern(&self) -> bool {
        self.protocol_version.is_some() || self.client_capabilities.is_some()
    }
}

/// An object that is read elsewhere, and only looked at here: does it say one thing to every reader?
macro_rules! looked_at {
    ($type:ident, [$($name:literal),+]) => {
        #[derive(Default)]
        struct $type {
            seen: Vec<&'static str>,
            lookalike: Option<Box<Lookalike>>,
        }

        impl $type {
            fn look(object: Option<&str>, lookalike: &mut Option<Box<Lookalike>>) -> Result<(), serde_json::Error> {
                let mut found = Self::default();
                read(object.unwrap_or("{}"), &mut found)?;
                *lookalike = lookalike.take().or(found.lookalike);
                Ok(())
            }
        }

        impl<'de> Wanted<'de> for $type {
            const NAMES: &'static [&'static str] = &[$($name),+];

            fn member<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
                let Some(name) = Self::NAMES.iter().find(|name| **name == key) else { return Ok(false) };
                if self.seen.contains(name) {
                    return Err(twice());
                }
                self.seen.push(name);
                skip(map).map(|()| true)
            }

            fn lookalike(&mut self) -> &mut Option<Box<Lookalike>> {
                &mut self.lookalike
            }
        }
    };
}

looked_at!(Capabilities, ["roots", "sampling", "elicitation", "tasks", "extensions"]);
looked_at!(Related, ["taskId"]);
looked_at!(
    Filter,
    ["toolsListChanged", "promptsListChanged", "resourcesListChanged", "resourceSubscriptions", "taskIds"]
);

impl<'a> Params<'a> {
    fn read_meta(&mut self, raw: Option<&'a str>) -> Result<(), serde_json::Error> {
        read(raw.unwrap_or_default(), &mut self.meta)?;
        self.lookalike = self.lookalike.take().or(self.meta.lookalike.take());
        Ok(())
    }
}

wanted!(Params, |this, map| {
    "_meta" => once(&mut this.meta_raw, map).and_then(|()| this.read_meta(this.meta_raw).map_err(A::Error::custom)),
    "progressToken" => once(&mut this.progress_token, map),
    "requestId" => once(&mut this.request_id, map),
    "name" => once(&mut this.name, map),
    "uri" => once(&mut this.uri, map),
    "level" => once(&mut this.level, map),
    "ref" => nested(&mut this.reference_seen, &mut this.reference, map)
        .map(|()| this.lookalike = this.lookalike.take().or(this.reference.lookalike.take())),
    "protocolVersion" => once(&mut this.protocol_version, map),
    "capabilities" => once(&mut this.capabilities, map)
        .and_then(|()| Capabilities::look(this.capabilities, &mut this.lookalike).map_err(A::Error::custom)),
    "clientInfo" => once(&mut this.client_info, map),
    "cursor" => once(&mut this.cursor, map),
    "taskId" => once(&mut this.task_id, map),
    "elicitationId" => once(&mut this.elicitation_id, map),
    "arguments" => once(&mut this.arguments, map),
    "inputResponses" => once(&mut this.input_responses, map),
    "requestState" => once(&mut this.request_state, map),
    "notifications" => once(&mut this.notifications, map)
        .and_then(|()| Filter::look(this.notifications, &mut this.lookalike).map_err(A::Error::custom)),
});

wanted!(Meta, |this, map| {
    "progressToken" => once(&mut this.progress_token, map),
    "io.modelcontextprotocol/subscriptionId" => once(&mut this.subscription_id, map),
    "io.modelcontextprotocol/protocolVersion" => once(&mut this.protocol_version, map),
    "io.modelcontextprotocol/clientInfo" => once(&mut this.client_info, map),
    "io.modelcontextprotocol/clientCapabilities" => once(&mut this.client_capabilities, map)
        .and_then(|()| Capabilities::look(this.client_capabilities, &mut this.lookalike).map_err(A::Error::custom)),
    "io.modelcontextprotocol/related-task" => once(&mut this.related_task, map)
        .and_then(|()| Related::look(this.related_task, &mut this.lookalike).map_err(A::Error::custom)),
    "io.modelcontextprotocol/logLevel" => once(&mut this.log_level, map),
});

wanted!(Reference, |this, map| {
    "name" => once(&mut this.name, map),
    "uri" => once(&mut this.uri, map),
});

/// The `_meta` of a response's result, read only where it has to be rewritten.
pub fn result_meta(result: &str) -> Meta<'_> {
    #[derive(Default)]
    struct ResultMeta<'a> {
        meta: Meta<'a>,
        lookalike: Option<Box<Lookalike>>,
    }
    wanted!(ResultMeta, |this, map| {
        "_meta" => map.next_value_seed(Members(&mut this.meta)),
    });
    let mut found = ResultMeta::default();
    if read(result, &mut found).is_ok() { found.meta } else { Meta::default() }
}

/// The id in what names a task.
pub fn task_id(related: &str) -> Option<Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    struct Related<'a> {
        #[serde(borrow, rename = "taskId")]
        task_id: Cow<'a, str>,
    }
    serde_json::from_str::<Related<'_>>(related).ok().map(|related| related.task_id)
}
