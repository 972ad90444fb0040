//! The calls, written once for the server and the client.
#![allow(clippy::too_many_arguments, reason = "parameters are by name, and most are left out")]

use std::path::PathBuf;

use jsonrpsee::core::{RpcResult, SubscriptionResult};
use jsonrpsee::proc_macros::rpc;
use serde_json::Value;
use serde_json::value::RawValue;

use super::shapes::{Environment, LoginBegun, ServerStatus, ServerTools, SessionStatus, Status, Why};
use crate::config::Examined;
use crate::hub::Reloaded;
use crate::record::{By, CallShape, Point, Stat};

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

    /// Why a server is as it is, and what to do.
    #[method(name = "daemon.why", param_kind = map)]
    async fn why(&self, server: String) -> RpcResult<Why>;

    /// Recorded calls, the oldest first: the last `limit` of those that fit, or with `after`, what follows that number.
    #[method(name = "daemon.calls", param_kind = map)]
    async fn calls(
        &self,
        server: Option<String>,
        tool: Option<String>,
        agent: Option<String>,
        since: Option<String>,
        until: Option<String>,
        failed: Option<bool>,
        slow_ms: Option<u64>,
        after: Option<i64>,
        id: Option<i64>,
        limit: Option<usize>,
    ) -> RpcResult<Vec<CallShape>>;

    /// The recorded calls counted and measured, by `server`, `tool` or `agent`.
    #[method(name = "daemon.stats", param_kind = map)]
    async fn stats(
        &self,
        by: Option<By>,
        server: Option<String>,
        agent: Option<String>,
        since: Option<String>,
    ) -> RpcResult<Vec<Stat>>;

    /// The recorded calls minute by minute, from `since` on (an hour ago where nobody says); of one server, where one is named.
    #[method(name = "daemon.timeline", param_kind = map)]
    async fn timeline(&self, since: Option<String>, server: Option<String>) -> RpcResult<Vec<Point>>;

    /// Every call that ends from now on, also where none are recorded; a reader that is too slow gets `{"missed": n}` in between.
    #[subscription(name = "daemon.subscribe_calls" => "daemon.call_ended", unsubscribe = "daemon.unsubscribe_calls", item = Box<RawValue>)]
    async fn subscribe_calls(&self) -> SubscriptionResult;

    /// Every message from and to a server, or an agent (its name, process or session), as the wire has it, without the secrets that
    /// servers were given; `{"missed": n}` stands for what came too fast.
    #[subscription(name = "daemon.record" => "daemon.recorded", unsubscribe = "daemon.end_record", item = Box<RawValue>, param_kind = map)]
    async fn record(&self, server: Option<String>, agent: Option<String>) -> SubscriptionResult;

    /// These calls, as an OpenRPC document.
    #[method(name = "rpc.discover")]
    fn discover(&self) -> RpcResult<Value>;

    /// Ends the daemon: agents are disconnected and servers stopped.
    #[method(name = "daemon.shutdown")]
    fn shutdown(&self) -> RpcResult<()>;
}
