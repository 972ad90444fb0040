//! What the calls answer with.

use std::collections::BTreeSet;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::era::Era;
use crate::record::CallShape;

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    /// Seconds since it started.
    pub uptime: u64,
    pub socket: PathBuf,
    /// Where agents attach over HTTP; absent where the configuration has no `[http]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpStatus>,
    pub config: PathBuf,
    /// That another program was put in the place of the one that runs, and what comes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<String>,
    /// What is wrong with the configuration file as it is now: entries that are left out, or why the last good file runs.
    pub problems: Vec<String>,
    /// What a person should know of how it was read.
    #[serde(default)]
    pub notes: Vec<String>,
    #[serde(default)]
    pub record: RecordStatus,
    pub memory: Memory,
    pub credentials: Credentials,
    pub servers: Vec<ServerStatus>,
    pub sessions: Vec<SessionStatus>,
}

/// How the record of calls fares.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct RecordStatus {
    /// Whether calls are recorded at all.
    pub calls: bool,
    /// How many are missing since the daemon started: they came too fast, or could not be written.
    pub lost: u64,
    /// Why none can be written now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    pub path: String,
    /// Never with their values.
    pub names: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct HttpStatus {
    pub url: Option<String>,
    /// Why there is none.
    pub problem: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ServerStatus {
    pub name: String,
    /// `idle`, `starting`, `ready`, `draining`, `needs_login`, `backoff`, `broken`, `failed`, `stopped`, `disabled` or `misconfigured`.
    pub state: String,
    /// Set once it is known.
    pub era: Option<Era>,
    /// `auto`, `all`, `project` or `session`.
    pub share: String,
    /// Who shares a process, and why, in words.
    #[serde(default)]
    pub sharing: String,
    /// What an order of the configuration would save, and take for granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    pub instances: Vec<Instance>,
    /// How often an instance started.
    pub starts: u64,
    pub last_error: Option<String>,
    /// Seconds since the last start or end, where there was one.
    #[serde(default)]
    pub since: Option<u64>,
    /// Calls of the last hour, and how many of them failed.
    #[serde(default)]
    pub calls: u64,
    #[serde(default)]
    pub failures: u64,
    /// Tools and prompts that the all-servers view leaves out, because their names would be too long.
    pub hidden: Vec<String>,
    /// Tools that the filter keeps back.
    pub denied: Vec<String>,
    /// A request of the server that was refused, because it could have been for any of several agents; since then a
    /// process carries one call at a time.
    pub ambiguous_request: Option<String>,
    /// What it does that the specification forbids, and that is put up with.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl ServerStatus {
    /// Bytes that its processes hold, where that is known of any.
    pub fn memory(&self) -> Option<u64> {
        self.instances.iter().filter_map(|instance| instance.memory).reduce(|one, other| one + other)
    }

    /// How many calls it is at.
    pub fn in_flight(&self) -> usize {
        self.instances.iter().map(|instance| instance.in_flight).sum()
    }

    /// How many agents use it.
    pub fn agents(&self) -> usize {
        self.instances.iter().flat_map(|instance| &instance.sessions).collect::<BTreeSet<_>>().len()
    }
}

/// Resident bytes of all servers together.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Memory {
    pub used: u64,
    /// What they would hold more if every agent had processes of its own.
    pub saved: u64,
    /// Bytes that wait in the daemon for agents and servers, with what servers offer, and how many may (`max_memory`).
    #[serde(default)]
    pub waiting: u64,
    #[serde(default)]
    pub most: u64,
}

/// Where logins and secrets are kept, and what logins there are; never their values.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Credentials {
    /// Where the key to them is: `keyring`, or `file` where there is no keyring; nothing is kept yet if not set.
    pub key: Option<String>,
    /// What a person should know.
    pub notice: Option<String>,
    pub logins: Vec<LoginStatus>,
}

/// One login.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LoginStatus {
    pub server: String,
    pub account: String,
    pub url: String,
    pub issuer: Option<String>,
    /// What was asked for.
    pub scopes: Vec<String>,
    /// `ok`, `needs_login` or `none`.
    pub state: String,
    /// Seconds that the token still holds, where that is known.
    pub expires_in: Option<u64>,
    /// Why a login is needed, or what else is wrong.
    pub reason: Option<String>,
}

/// A login that was begun.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LoginBegun {
    /// The page for a person to open.
    pub url: String,
    /// Where that page leads back to.
    pub redirect_uri: String,
}

/// One connection of a server: a process, or over HTTP.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Instance {
    /// Of a process.
    pub pid: Option<u32>,
    pub era: Era,
    /// The folder that its agents work in, where that matters.
    pub project: Option<PathBuf>,
    /// Seconds since it was ready.
    pub age: u64,
    pub in_flight: usize,
    /// What the server has asked agents, who have not answered.
    #[serde(default)]
    pub questions: usize,
    /// It takes no new calls.
    pub draining: bool,
    /// The calls that it is at, the oldest first; of many, the oldest 100.
    #[serde(default)]
    pub calls: Vec<OpenCall>,
    /// Bytes that its process group holds, where the system tells; what several processes share counts for each in part.
    pub memory: Option<u64>,
    /// The agents that share it.
    pub sessions: Vec<u64>,
}

/// A call that a server is at.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct OpenCall {
    /// The agent's that made it.
    pub session: u64,
    pub agent: Option<String>,
    pub method: String,
    /// The tool, prompt or URI.
    pub subject: Option<String>,
    /// Seconds since it was made.
    pub age: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SessionStatus {
    pub session: u64,
    pub name: Option<String>,
    /// The server it is attached to; all of them if not set.
    pub server: Option<String>,
    /// The servers of a profile, if it is attached to one.
    pub profile: Option<String>,
    pub cwd: Option<String>,
    /// The machine that it is on, where its folder is none of the daemon's machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The folder that it works in: its first root, or else `cwd`.
    pub project: Option<PathBuf>,
    pub pid: Option<u32>,
    pub era: Option<Era>,
    /// Seconds since it attached.
    pub age: u64,
    /// What it waits for: from a server, or for one.
    pub in_flight: usize,
    /// Bytes of it and for it that wait in the daemon.
    #[serde(default)]
    pub waiting: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ServerTools {
    pub server: String,
    #[schemars(with = "Vec<serde_json::Value>")]
    pub tools: Vec<Box<RawValue>>,
    /// Why there are none.
    pub error: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    pub line: String,
}

/// Stands in a stream for what its reader was too slow for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Missed {
    pub missed: u64,
}

/// Why a server is as it is.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Why {
    pub server: String,
    /// As in `daemon.status`.
    pub state: String,
    /// The same in a sentence.
    pub sentence: String,
    /// Seconds since the last start or end, where there was one.
    pub since: Option<u64>,
    /// What went wrong last.
    pub cause: Option<String>,
    /// How it is started; absent for a server with a URL.
    pub command: Option<Started>,
    /// Where it is, as the configuration has it.
    pub url: Option<String>,
    pub login: Option<LoginStatus>,
    /// The last lines of its standard error, the oldest first.
    pub stderr: Vec<String>,
    /// Its last starts and ends.
    pub history: Vec<Moment>,
    /// How many requests wait for it to be up.
    pub waiting: usize,
    /// Seconds until it may be started again.
    pub next_start: Option<u64>,
    /// The calls that it is at.
    pub calls: Vec<OpenCall>,
    /// Calls of the last hour, how many of them failed, and the last of those.
    pub last_hour: (u64, u64),
    pub failed: Vec<CallShape>,
    /// What it does that the specification forbids, and that is put up with.
    pub notes: Vec<String>,
    /// What to type next.
    pub next: Vec<String>,
}

/// A command, and what its process gets.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Started {
    /// As it stands in the configuration.
    pub words: Vec<String>,
    /// Where its program is found.
    pub program: Option<String>,
    /// The daemon's PATH, in which it is looked for.
    pub path: String,
    pub folder: Option<String>,
    /// Names of the variables that it is given, and of those of the person's that are withheld.
    pub given: Vec<String>,
    pub withheld: Vec<String>,
    /// Of the withheld, those that its last words or its kind point at.
    pub missed: Vec<String>,
}

/// When something happened.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Moment {
    /// In RFC 3339.
    pub at: String,
    pub what: String,
}
