//! Why a server cannot serve a request, and how that is said to an agent.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::reply::{self, code};
use crate::envelope::quoted;
use crate::era::{self, LEGACY_ALL};
use crate::names::{self, ServerName};

#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    #[error("no server is named `{name}`{hint}")]
    Unknown { name: String, hint: String },
    #[error("server `{0}` is disabled in the configuration (enabled = false)")]
    Disabled(ServerName),
    #[error("server `{server}` did not start: {reason}")]
    Start { server: ServerName, reason: Arc<str> },
    /// The server answered `initialize` with this raw error.
    #[error(
        "server `{server}` refuses `initialize`, which this agent speaks; it may speak only revision {}",
        era::MODERN
    )]
    NoLegacy { server: ServerName, error: Arc<str> },
    /// The server answered `server/discover` with this raw error, if it answered.
    #[error(
        "server `{server}` does not speak revision {}, which this agent does: connect with `initialize`",
        era::MODERN
    )]
    NoModern { server: ServerName, error: Option<Arc<str>> },
}

impl Failure {
    pub fn unknown<'a>(name: &str, known: impl IntoIterator<Item = &'a ServerName>) -> Self {
        let known: Vec<_> = known.into_iter().map(ServerName::as_str).collect();
        let hint = match names::nearest(name, known.iter().copied()) {
            Some(near) => format!(": did you mean `{near}`?"),
            None if known.is_empty() => ": the configuration has no servers".to_owned(),
            None => format!(": there are {}", known.join(", ")),
        };
        Self::Unknown { name: name.to_owned(), hint }
    }

    /// The error frame for the request `id`, raw. A server's own refusal keeps its code and data.
    pub fn frame(&self, id: &str, method: &str) -> String {
        let message = self.to_string();
        match self {
            Self::Unknown { .. } | Self::Disabled(_) => reply::error(id, code::INVALID_PARAMS, &message),
            Self::Start { .. } => reply::error(id, code::CONNECTION_CLOSED, &message),
            Self::NoLegacy { error, .. } => reply::raw_error(id, &explained(error, &message)),
            Self::NoModern { error: Some(error), .. } if method == "server/discover" => reply::raw_error(id, error),
            Self::NoModern { .. } if method == "server/discover" => reply::error(id, code::METHOD_NOT_FOUND, &message),
            Self::NoModern { .. } => reply::unsupported_version(id, &message, &LEGACY_ALL),
        }
    }
}

/// A server's error object with our words before its own.
fn explained(error: &str, message: &str) -> String {
    #[derive(Deserialize)]
    struct Object<'a> {
        #[serde(borrow)]
        code: &'a RawValue,
        message: String,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    match serde_json::from_str::<Object<'_>>(error) {
        Ok(object) => {
            let data = object.data.map(|data| format!(r#","data":{data}"#)).unwrap_or_default();
            let message = quoted(&format!("{message}; it said: {}", object.message));
            format!(r#"{{"code":{},"message":{message}{data}}}"#, object.code)
        }
        Err(_) => error.to_owned(),
    }
}
