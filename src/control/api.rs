//! The calls and their shapes, written once for the server and the client.

use std::path::PathBuf;

use jsonrpsee::core::{RpcResult, SubscriptionResult};
use jsonrpsee::proc_macros::rpc;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::config::Examined;
use crate::era::Era;
use crate::hub::Reloaded;

/// Calls take their parameters by name.
#[rpc(server, client)]
pub trait Daemon {
    /// The daemon, its servers and its agents.
    #[method(name = "daemon.status")]
    async fn status(&self) -> RpcResult<Status>;

    /// Every configured server.
    #[method(name = "daemon.servers")]
    async fn servers(&self) -> RpcResult<Vec<ServerStatus>>;

    /// Every attached agent.
    #[method(name = "daemon.sessions")]
    fn sessions(&self) -> RpcResult<Vec<SessionStatus>>;

    /// Starts a server, also one that was stopped by hand or that failed too often.
    #[method(name = "daemon.start", param_kind = map)]
    async fn start(&self, server: String) -> RpcResult<()>;

    /// Stops a server and keeps it stopped; its calls in flight have 10 s to end.
    #[method(name = "daemon.stop", param_kind = map)]
    async fn stop(&self, server: String) -> RpcResult<()>;

    /// Stops a server and starts it for those who use it.
    #[method(name = "daemon.restart", param_kind = map)]
    async fn restart(&self, server: String) -> RpcResult<()>;

    /// Reads the configuration again and takes it over; the error's data are all problems of the file.
    #[method(name = "daemon.reload")]
    async fn reload(&self) -> RpcResult<Reloaded>;

    /// What is wrong with a configuration file, and what a person should know of it, as this daemon would take it.
    #[method(name = "daemon.check", param_kind = map)]
    async fn check(&self, file: PathBuf) -> RpcResult<Examined>;

    /// What the daemon has of the person's environment: its PATH, and the names of its variables.
    #[method(name = "daemon.environment")]
    fn environment(&self) -> RpcResult<Environment>;

    /// The tools of one server, or of all, as the servers describe them; `cwd` says for whom, where that matters.
    #[method(name = "daemon.list_tools", param_kind = map)]
    async fn list_tools(&self, server: Option<String>, cwd: Option<PathBuf>) -> RpcResult<Vec<ServerTools>>;

    /// Calls a tool and returns its result as the server sent it; its error is this call's error.
    #[method(name = "daemon.call_tool", param_kind = map)]
    async fn call_tool(
        &self,
        server: String,
        tool: String,
        arguments: Option<Box<RawValue>>,
        cwd: Option<PathBuf>,
    ) -> RpcResult<Box<RawValue>>;

    /// Begins a login at a server: the page to open. A login that is under way is given up for it, unless `join` is set.
    #[method(name = "daemon.login", param_kind = map)]
    async fn login(&self, server: String, join: Option<bool>) -> RpcResult<LoginBegun>;

    /// Waits until the login is done, or finishes it with the redirect that a browser ended at; tells what is wrong with it all
    /// the same, if anything is.
    #[method(name = "daemon.login_complete", param_kind = map)]
    async fn login_complete(&self, server: String, redirect: Option<String>) -> RpcResult<Option<String>>;

    /// Takes over the login at a server that Codex keeps, in the keyring or below its home folder; the server has the same name
    /// there, or the same URL.
    #[method(name = "daemon.login_from_codex", param_kind = map)]
    async fn login_from_codex(&self, server: String, home: PathBuf) -> RpcResult<()>;

    /// Forgets a login, and has its tokens taken back; tells whether there was one.
    #[method(name = "daemon.logout", param_kind = map)]
    async fn logout(&self, server: String) -> RpcResult<bool>;

    /// Every event from now on; a reader that is too slow gets `{"missed": n}` in between.
    #[subscription(name = "daemon.subscribe_events" => "daemon.event", unsubscribe = "daemon.unsubscribe_events", item = Box<RawValue>)]
    async fn subscribe_events(&self) -> SubscriptionResult;

    /// The last `tail` lines of the daemon's log, or of a server's standard error, and every one from then on.
    #[subscription(name = "daemon.subscribe_logs" => "daemon.log", unsubscribe = "daemon.unsubscribe_logs", item = Box<RawValue>, param_kind = map)]
    async fn subscribe_logs(&self, server: Option<String>, tail: Option<usize>) -> SubscriptionResult;

    /// Ends the daemon: agents are disconnected and servers stopped.
    #[method(name = "daemon.shutdown")]
    fn shutdown(&self) -> RpcResult<()>;
}

#[derive(Debug, Clone, Serialize, Deserialize)]
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
    pub memory: Memory,
    pub credentials: Credentials,
    pub servers: Vec<ServerStatus>,
    pub sessions: Vec<SessionStatus>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Environment {
    pub path: String,
    /// Never with their values.
    pub names: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HttpStatus {
    pub url: Option<String>,
    /// Why there is none.
    pub problem: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
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

/// Resident bytes of all servers together.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Credentials {
    /// Where the key to them is: `keyring`, or `file` where there is no keyring; nothing is kept yet if not set.
    pub key: Option<String>,
    /// What a person should know.
    pub notice: Option<String>,
    pub logins: Vec<LoginStatus>,
}

/// One login.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoginBegun {
    /// The page for a person to open.
    pub url: String,
    /// Where that page leads back to.
    pub redirect_uri: String,
}

/// One connection of a server: a process, or over HTTP.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    /// Calls that are older than a minute.
    #[serde(default)]
    pub long_calls: Vec<LongCall>,
    /// Resident bytes of its process group, where the system tells.
    pub memory: Option<u64>,
    /// The agents that share it.
    pub sessions: Vec<u64>,
}

/// A call that a server has been at for long.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LongCall {
    /// The agent's that made it.
    pub session: u64,
    /// Seconds since it was made.
    pub age: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
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

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerTools {
    pub server: String,
    pub tools: Vec<Box<RawValue>>,
    /// Why there are none.
    pub error: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogLine {
    pub line: String,
}

/// Stands in a stream for what its reader was too slow for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Missed {
    pub missed: u64,
}
