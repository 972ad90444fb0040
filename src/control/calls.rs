//! What each control call does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use jsonrpsee::PendingSubscriptionSink;
use jsonrpsee::core::{RpcResult, SubscriptionResult, async_trait};
use jsonrpsee::types::ErrorObject;
use parking_lot::Mutex;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::api::DaemonServer;
use super::openrpc::openrpc;
use super::record::Recorded;
use super::refusal::{failed, refused};
use super::shapes::{Environment, LoginBegun, ServerStatus, ServerTools, SessionStatus, Status, Why};
use super::subscriptions::{follow, log_line, send};
use super::tools::{answer, tools_of};
use super::{record, status, why};
use crate::config::{Config, Examined, LoadError, Problem, located};
use crate::credentials::Vault;
use crate::envelope::quoted;
use crate::envelope::reply::code;
use crate::hub::{Failure, Hub, PrincipalId, Reloaded, Server};
use crate::lines::Lines;
use crate::method::Method;
use crate::oauth::{Afresh, Keeper, Keepers};
use crate::record::{By, CallShape, Point, Query, ReadError, Reader, Stat};

/// How many lines a log subscription starts with if it does not say.
const TAIL: usize = 100;
/// How many failed calls of a server are shown.
const FAILED: usize = 3;
/// How many calls are given where nobody says, and at most.
const CALLS: usize = 50;
const MOST_CALLS: usize = 10_000;

/// Asks for the configuration to be read again; answered with what changed, or with every problem of the file.
pub type ReloadRequest = oneshot::Sender<Result<Reloaded, Vec<String>>>;

/// Words for `status` that may change at any time.
pub type Notice = Arc<Mutex<Option<String>>>;

/// What the calls act on.
#[derive(Debug, Clone)]
pub struct Api {
    pub hub: Arc<Hub>,
    pub log: Lines,
    pub shutdown: CancellationToken,
    pub reload: mpsc::Sender<ReloadRequest>,
    pub vault: Vault,
    pub keepers: Keepers,
    pub started: Instant,
    pub socket: PathBuf,
    /// What is to be said of a new program in the place of this one.
    pub replaced: Notice,
    pub config: PathBuf,
    /// Where the record of calls is.
    pub record: PathBuf,
}

fn kept(server: &str, keeper: Result<Option<Keeper>, Failure>) -> RpcResult<Keeper> {
    let message = "has no login: it is started by a command, or its entry has an `Authorization` header";
    keeper
        .map_err(|failure| failed(&failure))?
        .ok_or_else(|| refused(code::INVALID_PARAMS, format!("server `{server}` {message}")))
}

impl Api {
    fn server(&self, name: &str) -> RpcResult<Arc<Server>> {
        self.hub.server(name).map_err(|failure| failed(&failure))
    }

    /// Reads the record of calls, with all that has ended by now.
    async fn read_record<T: Default + Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, ReadError> + Send + 'static,
    ) -> RpcResult<T> {
        record::read(self.hub.recorder().clone(), self.record.clone(), read).await
    }

    /// The keeper of a server's login.
    async fn keeper(&self, server: &str) -> RpcResult<Keeper> {
        kept(server, self.server(server)?.keeper().await)
    }
}

#[async_trait]
impl DaemonServer for Api {
    async fn status(&self) -> RpcResult<Status> {
        let servers = status::servers(&self.hub).await;
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime: self.started.elapsed().as_secs(),
            socket: self.socket.clone(),
            http: status::http(&self.hub),
            config: self.config.clone(),
            replaced: self.replaced.lock().clone(),
            problems: self.hub.problems(),
            notes: located(&self.config, &self.hub.config().notes),
            record: status::record(&self.hub),
            memory: status::memory(&self.hub, &servers),
            credentials: status::credentials(&self.vault, &self.keepers),
            servers,
            sessions: self.sessions()?,
        })
    }

    async fn servers(&self) -> RpcResult<Vec<ServerStatus>> {
        Ok(status::servers(&self.hub).await)
    }

    fn sessions(&self) -> RpcResult<Vec<SessionStatus>> {
        Ok(self.hub.sessions().iter().map(|session| status::session(session)).collect())
    }

    async fn start(&self, server: String) -> RpcResult<()> {
        self.server(&server)?.start_now().await.map_err(|failure| failed(&failure))
    }

    async fn stop(&self, server: String) -> RpcResult<()> {
        self.server(&server)?.stop_now().await;
        Ok(())
    }

    async fn restart(&self, server: String) -> RpcResult<()> {
        self.server(&server)?.restart_now().await.map_err(|failure| failed(&failure))
    }

    async fn reload(&self) -> RpcResult<Reloaded> {
        let (sender, done) = oneshot::channel();
        let ends = || refused(code::INTERNAL, "the daemon is shutting down");
        self.reload.send(sender).await.map_err(|_| ends())?;
        done.await
            .map_err(|_| ends())?
            .map_err(|problems| ErrorObject::owned(code::INVALID_PARAMS, problems.join("\n"), Some(problems)))
    }

    fn environment(&self) -> RpcResult<Environment> {
        let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
        let path = std::env::var_os("PATH").unwrap_or_default().to_string_lossy().into_owned();
        Ok(Environment { path, names: names.collect() })
    }

    async fn check(&self, file: PathBuf) -> RpcResult<Examined> {
        let invalid = |error: &dyn std::fmt::Display| refused(code::INVALID_PARAMS, error.to_string());
        let config = match Config::load(&file) {
            Ok(config) => config,
            Err(LoadError::Problems { problems, .. }) => return Ok(Examined { problems, ..Examined::default() }),
            Err(error @ LoadError::Read { .. }) => return Err(invalid(&error)),
        };
        let secrets = self.vault.secrets(config.secret_names()).await.map_err(|error| invalid(&error))?;
        let mut examined = config.examined(&secrets);
        // What the servers of the file that runs have shown.
        for (name, server) in config.servers.iter().filter(|_| file == self.config) {
            let shown = self.hub.server(name.as_str()).map(|upstream| upstream.notes()).unwrap_or_default();
            let line = server.transport.main().line;
            let note = |note: String| Problem { line, message: format!("server `{name}`: {note}") };
            examined.notes.extend(shown.into_iter().map(note));
        }
        Ok(examined)
    }

    async fn list_tools(&self, server: Option<String>, cwd: Option<PathBuf>) -> RpcResult<Vec<ServerTools>> {
        let servers = match &server {
            Some(name) => vec![self.server(name)?],
            None => self.hub.servers().iter().filter(|upstream| upstream.settings().is_usable()).cloned().collect(),
        };
        let lists =
            futures_util::future::join_all(servers.into_iter().map(|upstream| tools_of(upstream, cwd.clone()))).await;
        if let (Some(name), [ServerTools { error: Some(error), .. }]) = (&server, lists.as_slice()) {
            let needs_login = self.server(name)?.login_need().is_some();
            let code = if needs_login { code::NEEDS_LOGIN } else { code::CONNECTION_CLOSED };
            return Err(refused(code, error.clone()));
        }
        Ok(lists)
    }

    async fn call_tool(
        &self,
        server: String,
        tool: String,
        arguments: Option<Box<RawValue>>,
        cwd: Option<PathBuf>,
    ) -> RpcResult<Box<RawValue>> {
        let upstream = self.server(&server)?;
        let refuse = |failure: Failure| {
            upstream.note_refused(&tool, failure.code());
            failed(&failure)
        };
        if let Some(failure) = upstream.refuses(&tool) {
            return Err(refuse(failure));
        }
        let key = upstream.own_key(cwd);
        let (line, waiter) = upstream.free_instance(&key, PrincipalId::DAEMON).await.map_err(refuse)?;
        let text = arguments.as_deref().map_or("{}", RawValue::get);
        let params = line.own_params(Some(format!(r#""name":{},"arguments":{text}"#, quoted(&tool))));
        drop(arguments);
        let mut call = line.call(Method::CallTool, &tool, &params);
        drop((params, waiter));
        let frame = match (&mut call.answer).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(reason)) => return Err(refused(code::CONNECTION_CLOSED, &*reason)),
            Err(_) => {
                let message = format!("server `{server}` stopped before it was asked: {}", line.closed_reason());
                return Err(refused(code::CONNECTION_CLOSED, message));
            }
        };
        answer(frame).await
    }

    async fn login(&self, server: String, join: Option<bool>) -> RpcResult<LoginBegun> {
        let keeper = kept(&server, self.server(&server)?.login_keeper().await)?;
        let afresh = if join == Some(true) { Afresh::Join } else { Afresh::Begin };
        let failed = |error| refused(code::INTERNAL, format!("server `{server}`: {error}"));
        let login = keeper.login(afresh).await.map_err(failed)?;
        Ok(LoginBegun { url: login.url.to_string(), redirect_uri: login.redirect_uri.clone() })
    }

    async fn login_complete(&self, server: String, redirect: Option<String>) -> RpcResult<Option<String>> {
        let keeper = self.keeper(&server).await?;
        let Some(login) = keeper.open_login() else {
            let message = format!("no login at `{server}` is under way: begin one with `trunkline login {server}`");
            return Err(refused(code::INVALID_PARAMS, message));
        };
        let outcome = match redirect {
            Some(redirect) => login.redirected(&redirect).await,
            None => login.done().await,
        };
        outcome.map_err(|error| refused(code::NEEDS_LOGIN, format!("server `{server}`: {error}")))?;
        Ok(keeper.state().trouble)
    }

    async fn login_from_codex(&self, server: String, home: PathBuf) -> RpcResult<()> {
        let keeper = self.keeper(&server).await?;
        let refuse = |error: String| refused(code::INTERNAL, format!("server `{server}`: {error}"));
        let found = self.vault.codex_login(home.clone(), server.clone(), keeper.id().url).await;
        let Some(login) = found.map_err(|error| refuse(error.to_string()))? else {
            let message = format!(
                "server `{server}`: Codex keeps no login for it, in the keyring under that name or in {} under its URL",
                home.display()
            );
            return Err(refused(code::INVALID_PARAMS, message));
        };
        keeper.take_over(login).await.map_err(refuse)
    }

    async fn logout(&self, server: String) -> RpcResult<bool> {
        let keeper = self.keeper(&server).await?;
        let failed = |error| format!("server `{server}`: you are still logged in: {error}");
        keeper.logout().await.map_err(|error| refused(code::INTERNAL, failed(error)))
    }

    async fn subscribe_events(&self, pending: PendingSubscriptionSink) -> SubscriptionResult {
        let events = self.hub.events().watch();
        let sink = pending.accept().await?;
        follow(sink, events, |event| event).await;
        Ok(())
    }

    async fn subscribe_logs(
        &self,
        pending: PendingSubscriptionSink,
        server: Option<String>,
        tail: Option<usize>,
    ) -> SubscriptionResult {
        let lines = match server.map(|name| self.hub.server(&name).map(|upstream| upstream.log.lines.clone())) {
            None => self.log.clone(),
            Some(Ok(lines)) => lines,
            Some(Err(failure)) => {
                pending.reject(failed(&failure)).await;
                return Ok(());
            }
        };
        let sink = pending.accept().await?;
        let (tail, live) = lines.follow(tail.unwrap_or(TAIL));
        for line in tail {
            if send(&sink, &log_line(line)).await.is_err() {
                return Ok(());
            }
        }
        follow(sink, live, log_line).await;
        Ok(())
    }

    async fn why(&self, server: String) -> RpcResult<Why> {
        let found = self.server(&server)?;
        let name = found.name.to_string();
        let query = Query {
            server: Some(name.clone()),
            since: Some("1h".to_owned()),
            failed: true,
            limit: Some(FAILED),
            ..Query::default()
        };
        // What cannot be read says nothing of the server.
        let failed = self.read_record(move |reader| reader.calls(&query)).await.unwrap_or_default();
        let status = status::one(&found).await;
        let login = status::credentials(&self.vault, &self.keepers).logins.into_iter();
        Ok(why::why(&found, &status, login.into_iter().find(|login| login.server == name), failed))
    }

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
    ) -> RpcResult<Vec<CallShape>> {
        let failed = failed.unwrap_or_default();
        let limit = Some(limit.unwrap_or(CALLS).min(MOST_CALLS));
        let query = Query { server, tool, agent, since, until, failed, slow_ms, after, id, limit };
        self.read_record(move |reader| reader.calls(&query)).await
    }

    async fn stats(
        &self,
        by: Option<By>,
        server: Option<String>,
        agent: Option<String>,
        since: Option<String>,
    ) -> RpcResult<Vec<Stat>> {
        let query = Query { server, agent, since, ..Query::default() };
        let stats = move |reader: &Reader| reader.stats(&query, by.unwrap_or_default());
        Ok(self.read_record(stats).await?.lines)
    }

    async fn timeline(&self, since: Option<String>, server: Option<String>) -> RpcResult<Vec<Point>> {
        let query = Query { server, since: since.or_else(|| Some("1h".to_owned())), ..Query::default() };
        self.read_record(move |reader| reader.timeline(&query)).await
    }

    async fn subscribe_calls(&self, pending: PendingSubscriptionSink) -> SubscriptionResult {
        let calls = self.hub.recorder().watch();
        let sink = pending.accept().await?;
        follow(sink, calls, |call| (*call).clone()).await;
        Ok(())
    }

    async fn record(
        &self,
        pending: PendingSubscriptionSink,
        server: Option<String>,
        agent: Option<String>,
    ) -> SubscriptionResult {
        let recorded = match (&server, &agent) {
            (Some(server), _) => self.server(server).map(Recorded::Server),
            (None, Some(agent)) => match record::agents(&self.hub, agent) {
                found if found.is_empty() => Err(refused(
                    code::INVALID_PARAMS,
                    format!(
                        "no agent is named `{agent}`, nor has that process or session: `trunkline status` shows the agents"
                    ),
                )),
                found => Ok(Recorded::Agents(found)),
            },
            (None, None) => Err(refused(code::INVALID_PARAMS, "name a `server` or an `agent`")),
        };
        match recorded {
            Ok(recorded) => {
                let sink = pending.accept().await?;
                record::follow(sink, recorded, self.hub.masks().clone()).await;
            }
            Err(error) => pending.reject(error).await,
        }
        Ok(())
    }

    fn discover(&self) -> RpcResult<Value> {
        Ok(openrpc())
    }

    fn shutdown(&self) -> RpcResult<()> {
        self.shutdown.cancel();
        Ok(())
    }
}
