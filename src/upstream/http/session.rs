//! What the server knows this connection by: nothing in the modern era, a session in the legacy one.

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// How the server is spoken to.
#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    /// Counts the sessions of one connection.
    pub generation: u32,
    /// What every request of the legacy era carries.
    pub headers: HeaderMap,
    /// Where messages go in the deprecated HTTP+SSE transport (2024-11-05).
    pub messages: Option<Url>,
}

impl Session {
    /// The session that an answer to `initialize` begins.
    pub(super) fn begun(generation: u32, id: Option<HeaderValue>, answer: &str) -> Self {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Initialized {
            protocol_version: String,
        }
        let mut headers = HeaderMap::new();
        if let Some(id) = id {
            headers.insert(SESSION_ID, id);
        }
        let version = serde_json::from_str(answer).ok().map(|Initialized { protocol_version }| protocol_version);
        if let Some(version) = version.and_then(|version| HeaderValue::from_str(&version).ok()) {
            headers.insert(VERSION, version);
        }
        Self { generation, headers, messages: None }
    }

    /// Whether the server gave it an id, by which it can also lose it.
    pub(super) fn has_id(&self) -> bool {
        self.headers.contains_key(SESSION_ID)
    }
}
