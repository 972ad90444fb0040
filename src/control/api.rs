//! The calls and their shapes, written once for the server and the client.

use std::path::PathBuf;

use jsonrpsee::core::{RpcResult, SubscriptionResult};
use jsonrpsee::proc_macros::rpc;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::era::Era;

/// Calls take their parameters by name.
#[rpc(server, client)]
pub trait Daemon {
    /// The daemon, its servers and its agents.
    #[method(name = "daemon.status")]
    fn status(&self) -> RpcResult<Status>;

    /// Every configured server.
    #[method(name = "daemon.servers")]
    fn servers(&self) -> RpcResult<Vec<ServerStatus>>;

    /// Every attached agent.
    #[method(name = "daemon.sessions")]
    fn sessions(&self) -> RpcResult<Vec<SessionStatus>>;

    /// The tools of one server, or of all, as the servers describe them.
    #[method(name = "daemon.list_tools", param_kind = map)]
    async fn list_tools(&self, server: Option<String>) -> RpcResult<Vec<ServerTools>>;

    /// Calls a tool and returns its result as the server sent it; its error is this call's error.
    #[method(name = "daemon.call_tool", param_kind = map)]
    async fn call_tool(
        &self,
        server: String,
        tool: String,
        arguments: Option<Box<RawValue>>,
    ) -> RpcResult<Box<RawValue>>;

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
    pub config: PathBuf,
    pub servers: Vec<ServerStatus>,
    pub sessions: Vec<SessionStatus>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerStatus {
    pub name: String,
    /// `idle`, `starting`, `ready`, `failed` or `disabled`.
    pub state: String,
    /// Set once it is known.
    pub era: Option<Era>,
    pub instances: Vec<Instance>,
    /// How often an instance started.
    pub starts: u64,
    pub last_error: Option<String>,
    /// Tools and prompts that the all-servers view leaves out, because their names would be too long.
    pub hidden: Vec<String>,
    /// A request of the server that was refused, because it could have been for any of several agents.
    pub ambiguous_request: Option<String>,
}

/// One process of a server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Instance {
    pub pid: u32,
    pub era: Era,
    /// Seconds since it was ready.
    pub age: u64,
    pub in_flight: usize,
    /// The agents that share it.
    pub sessions: Vec<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionStatus {
    pub session: u64,
    pub name: Option<String>,
    /// The server it is attached to; all of them if not set.
    pub server: Option<String>,
    pub cwd: Option<String>,
    pub pid: Option<u32>,
    pub era: Option<Era>,
    /// Seconds since it attached.
    pub age: u64,
    pub in_flight: usize,
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
