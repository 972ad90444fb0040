//! Why a server cannot serve a request, and how that is said to an agent.

use std::sync::Arc;
use std::time::Duration;

use crate::envelope::reply::{self, code};
use crate::era::Era;
use crate::names::{self, ServerName};

#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    #[error("no server is named `{name}`{hint}")]
    Unknown { name: String, hint: String },
    #[error("server `{0}` is disabled in the configuration (enabled = false)")]
    Disabled(ServerName),
    #[error("server `{server}` is misconfigured: {reason}; `trunkline check` names every problem of the file")]
    Misconfigured { server: ServerName, reason: Arc<str> },
    #[error("server `{server}` did not start: {reason}; `trunkline why {server}` says more")]
    Start { server: ServerName, reason: Arc<str> },
    /// It is not started now, for a reason that a person knows.
    #[error("server `{server}` is not available: {reason}")]
    Unavailable { server: ServerName, reason: Arc<str> },
    #[error("server `{server}` needs a login: {reason}; run `trunkline login {server}`")]
    NeedsLogin { server: ServerName, reason: Arc<str> },
    /// A modern agent is asked to have its person log in, and comes back: this is the result, raw.
    #[error("server `{server}` needs a login, which the agent was asked for")]
    AskedForLogin { server: ServerName, result: Arc<str> },
    #[error("server `{server}` failed: {reason}; it is started again in {}", seconds(*pause))]
    Backoff { server: ServerName, pause: Duration, reason: Arc<str> },
    #[error(
        "server `{server}` failed {failures} times in a row: {reason}; it is tried again in {}, or now with `trunkline restart {server}`", seconds(*pause)
    )]
    Broken { server: ServerName, failures: u32, pause: Duration, reason: Arc<str> },
    #[error(
        "server `{server}` has {most} processes, as many as it may (max_instances), and all are in use: end an agent, or raise the limit"
    )]
    Full { server: ServerName, most: usize },
    #[error(
        "server `{server}` carries one call at a time, because it asks things in mid-call, and none of its processes was free within {waited:?}"
    )]
    Taken { server: ServerName, waited: Duration },
    #[error(
        "server `{server}` ended {times} times while it was at a call of `{tool}` by this agent: that is not sent again; `trunkline restart {server}` allows it once more"
    )]
    Crashing { server: ServerName, tool: String, times: u32 },
    #[error("server `{server}` has {most} calls in flight, as many as it may (max_calls)")]
    Busy { server: ServerName, most: usize },
    /// What was started is not right, by what it has shown: it is to be asked for once more.
    #[error("server `{0}` is being started anew")]
    Again(ServerName),
    #[error("tool `{tool}` of server `{server}` is not offered: `tools` in the configuration keeps it back")]
    Denied { server: ServerName, tool: String },
    #[error("server `{server}` has no tool `{tool}`{hint}")]
    NoTool { server: ServerName, tool: String, hint: String },
    #[error("no profile is named `{name}`{hint}")]
    UnknownProfile { name: String, hint: String },
    /// It may speak the other one.
    #[error("server `{server}` does not speak revision {}: {reason}", wanted.revision())]
    OtherEra { server: ServerName, wanted: Era, reason: Arc<str> },
}

impl Failure {
    pub fn unknown<'a>(name: &str, known: impl IntoIterator<Item = &'a ServerName>) -> Self {
        let known: Vec<_> = known.into_iter().map(ServerName::as_str).collect();
        Self::Unknown { name: name.to_owned(), hint: hint(name, &known, "servers") }
    }

    pub fn unknown_profile<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<_> = known.into_iter().collect();
        Self::UnknownProfile { name: name.to_owned(), hint: hint(name, &known, "profiles") }
    }

    /// Of a tool that a filter does not let pass: that it is kept back, or that there is none, as far as `known` tells.
    pub fn not_offered(server: &ServerName, tool: &str, known: &[String]) -> Self {
        let (server, tool) = (server.clone(), tool.to_owned());
        if known.is_empty() || known.contains(&tool) {
            return Self::Denied { server, tool };
        }
        let near = names::nearest(&tool, known.iter().map(String::as_str));
        let hint = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
        Self::NoTool { server, tool, hint }
    }

    /// The server that it is about.
    pub fn server(&self) -> Option<&ServerName> {
        match self {
            Self::Disabled(server) | Self::Again(server) => Some(server),
            Self::Misconfigured { server, .. }
            | Self::Start { server, .. }
            | Self::Unavailable { server, .. }
            | Self::NeedsLogin { server, .. }
            | Self::AskedForLogin { server, .. }
            | Self::Backoff { server, .. }
            | Self::Broken { server, .. }
            | Self::Full { server, .. }
            | Self::Taken { server, .. }
            | Self::Crashing { server, .. }
            | Self::Busy { server, .. }
            | Self::Denied { server, .. }
            | Self::NoTool { server, .. }
            | Self::OtherEra { server, .. } => Some(server),
            Self::Unknown { .. } | Self::UnknownProfile { .. } => None,
        }
    }

    /// The reason alone, where the server is named beside it.
    pub fn reason(&self) -> String {
        match self {
            Self::Start { reason, .. } | Self::Unavailable { reason, .. } => reason.to_string(),
            Self::NeedsLogin { server, reason } => {
                format!("it needs a login: {reason}; run `trunkline login {server}`")
            }
            Self::Unknown { .. }
            | Self::UnknownProfile { .. }
            | Self::Disabled(_)
            | Self::Misconfigured { .. }
            | Self::AskedForLogin { .. }
            | Self::Backoff { .. }
            | Self::Broken { .. }
            | Self::Full { .. }
            | Self::Taken { .. }
            | Self::Busy { .. }
            | Self::Crashing { .. }
            | Self::Again(_)
            | Self::Denied { .. }
            | Self::NoTool { .. }
            | Self::OtherEra { .. } => self.to_string(),
        }
    }

    /// The JSON-RPC code for it.
    pub fn code(&self) -> i32 {
        match self {
            Self::Unknown { .. }
            | Self::UnknownProfile { .. }
            | Self::Disabled(_)
            | Self::Misconfigured { .. }
            | Self::NoTool { .. }
            | Self::Denied { .. } => code::INVALID_PARAMS,
            Self::NeedsLogin { .. } | Self::AskedForLogin { .. } => code::NEEDS_LOGIN,
            Self::Start { .. }
            | Self::Unavailable { .. }
            | Self::Backoff { .. }
            | Self::Broken { .. }
            | Self::Full { .. }
            | Self::Taken { .. }
            | Self::Busy { .. }
            | Self::Crashing { .. }
            | Self::Again(_)
            | Self::OtherEra { .. } => code::CONNECTION_CLOSED,
        }
    }

    /// The frame that says so to the request `id`, raw.
    pub fn frame(&self, id: &str) -> String {
        match self {
            Self::AskedForLogin { result, .. } => reply::result(id, result),
            Self::Unknown { .. }
            | Self::UnknownProfile { .. }
            | Self::Disabled(_)
            | Self::Misconfigured { .. }
            | Self::Denied { .. }
            | Self::NoTool { .. }
            | Self::Start { .. }
            | Self::Unavailable { .. }
            | Self::NeedsLogin { .. }
            | Self::Backoff { .. }
            | Self::Broken { .. }
            | Self::Full { .. }
            | Self::Taken { .. }
            | Self::Busy { .. }
            | Self::Crashing { .. }
            | Self::Again(_)
            | Self::OtherEra { .. } => reply::error(id, self.code(), &self.to_string()),
        }
    }
}

fn hint(name: &str, known: &[&str], what: &str) -> String {
    match names::nearest(name, known.iter().copied()) {
        Some(near) => format!(": did you mean `{near}`?"),
        None if known.is_empty() => format!(": the configuration has no {what}"),
        None => format!(": there are {}", known.join(", ")),
    }
}

fn seconds(pause: Duration) -> String {
    format!("{} s", pause.as_secs() + 1)
}
