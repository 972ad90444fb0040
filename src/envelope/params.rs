//! The members of `params` that routing needs.

use std::borrow::Cow;

use serde::de::{Error as _, MapAccess};

use super::members::{Members, Wanted, nested, once, skip};

/// The members of `params` that routing needs. Anything else in `params` is passed over.
#[derive(Debug, Default)]
pub struct Params<'a> {
    reference_seen: bool,
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
    pub name: Option<&'a str>,
    pub uri: Option<&'a str>,
}

impl Params<'_> {
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

impl<'de> Wanted<'de> for Params<'de> {
    fn member<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "_meta" => {
                once(&mut self.meta_raw, map)?;
                let raw = self.meta_raw.unwrap_or_default();
                self.meta = serde_json::from_str(raw).map(|Members(meta)| meta).map_err(A::Error::custom)?;
                Ok(())
            }
            "progressToken" => once(&mut self.progress_token, map),
            "requestId" => once(&mut self.request_id, map),
            "name" => once(&mut self.name, map),
            "uri" => once(&mut self.uri, map),
            "level" => once(&mut self.level, map),
            "ref" => nested(&mut self.reference_seen, map).map(|reference| self.reference = reference),
            "protocolVersion" => once(&mut self.protocol_version, map),
            "capabilities" => once(&mut self.capabilities, map),
            "clientInfo" => once(&mut self.client_info, map),
            "cursor" => once(&mut self.cursor, map),
            "taskId" => once(&mut self.task_id, map),
            "arguments" => once(&mut self.arguments, map),
            "inputResponses" => once(&mut self.input_responses, map),
            "requestState" => once(&mut self.request_state, map),
            "notifications" => once(&mut self.notifications, map),
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
            "io.modelcontextprotocol/clientCapabilities" => once(&mut self.client_capabilities, map),
            "io.modelcontextprotocol/related-task" => once(&mut self.related_task, map),
            "io.modelcontextprotocol/logLevel" => once(&mut self.log_level, map),
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

/// The id in what names a task.
pub fn task_id(related: &str) -> Option<Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    struct Related<'a> {
        #[serde(borrow, rename = "taskId")]
        task_id: Cow<'a, str>,
    }
    serde_json::from_str::<Related<'_>>(related).ok().map(|related| related.task_id)
}
