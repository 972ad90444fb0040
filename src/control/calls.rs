//! What each control call does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonrpsee::PendingSubscriptionSink;
use jsonrpsee::core::server::SubscriptionSink;
use jsonrpsee::core::{RpcResult, SubscriptionResult, async_trait, to_json_raw_value};
use jsonrpsee::types::{ErrorObject, ErrorObjectOwned};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::api::{
    DaemonServer, Environment, LogLine, LoginBegun, Missed, ServerStatus, ServerTools, SessionStatus, Status,
};
use super::status;
use crate::config::{Config, Examined, LoadError, Problem, located};
use crate::credentials::Vault;
use crate::envelope::reply::code;
use crate::envelope::{Envelope, quoted};
use crate::hub::{Failure, Hub, Instance, Reloaded, Server};
use crate::lines::Lines;
use crate::lists::ListKind;
use crate::method::Method;
use crate::oauth::{Afresh, Keeper, Keepers};

/// How many lines a log subscription starts with if it does not say.
const TAIL: usize = 100;
/// How long a list may take.
const LIST_WAIT: Duration = Duration::from_secs(120);

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
}

pub(super) fn refused(code: i32, message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObject::owned(code, message, None::<()>)
}

fn kept(server: &str, keeper: Result<Option<Keeper>, Failure>) -> RpcResult<Keeper> {
    let message = "has no login: it is started by a command, or its entry has an `Authorization` header";
    keeper
        .map_err(|failure| failed(&failure))?
        .ok_or_else(|| refused(code::INVALID_PARAMS, format!("server `{server}` {message}")))
}

fn failed(failure: &Failure) -> ErrorObjectOwned {
    refused(failure.code(), failure.to_string())
}

impl Api {
    fn server(&self, name: &str) -> RpcResult<Arc<Server>> {
        self.hub.server(name).map_err(|failure| failed(&failure))
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
        if let Some(failure) = upstream.refuses(&tool) {
            return Err(failed(&failure));
        }
        let line = upstream.free_instance(&upstream.own_key(cwd)).await.map_err(|failure| failed(&failure))?;
        let arguments = arguments.as_deref().map_or("{}", RawValue::get);
        let params = line.own_params(Some(format!(r#""name":{},"arguments":{arguments}"#, quoted(&tool))));
        let mut call = line.call(Method::CallTool, &params);
        let frame = match (&mut call.answer).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(reason)) => return Err(refused(code::CONNECTION_CLOSED, &*reason)),
            Err(_) => {
                let message = format!("server `{server}` stopped before it was asked: {}", line.closed_reason());
                return Err(refused(code::CONNECTION_CLOSED, message));
            }
        };
        answer(&frame)
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

    fn shutdown(&self) -> RpcResult<()> {
        self.shutdown.cancel();
        Ok(())
    }
}

fn log_line(line: Arc<str>) -> LogLine {
    LogLine { line: line.to_string() }
}

/// Passes a stream on until the subscriber goes; what it is too slow for is counted in its place.
async fn follow<T: Clone, M: Serialize>(
    sink: SubscriptionSink,
    mut stream: broadcast::Receiver<T>,
    message: impl Fn(T) -> M,
) {
    loop {
        let received = tokio::select! {
            () = sink.closed() => return,
            received = stream.recv() => received,
        };
        let sent = match received {
            Ok(item) => send(&sink, &message(item)).await,
            Err(broadcast::error::RecvError::Lagged(missed)) => send(&sink, &Missed { missed }).await,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn send(sink: &SubscriptionSink, message: &impl Serialize) -> Result<(), ()> {
    let message = to_json_raw_value(message).map_err(drop)?;
    sink.send(message).await.map_err(drop)
}

/// A server's answer as this call's: its result, or its error with code and data.
fn answer(frame: &str) -> RpcResult<Box<RawValue>> {
    let unreadable = || refused(code::INTERNAL, "the server's answer cannot be read");
    let envelope = Envelope::parse(frame.as_bytes()).map_err(|_| unreadable())?;
    match (envelope.result, envelope.error) {
        (Some(result), None) => RawValue::from_string(result.to_owned()).map_err(|_| unreadable()),
        // Whatever stands beside it.
        (_, Some(error)) => {
            Err(serde_json::from_str::<ErrorObjectOwned>(error).unwrap_or_else(|_| refused(code::INTERNAL, error)))
        }
        (None, None) => Err(unreadable()),
    }
}

async fn tools_of(upstream: Arc<Server>, cwd: Option<PathBuf>) -> ServerTools {
    let list = async {
        // Any instance tells what the tools are; only a call needs one that was promised nothing.
        let line: Arc<Instance> = match upstream.instances().into_iter().next() {
            Some(line) => line,
            None => {
                // One that is starting for this already is not started twice.
                let key = upstream.introduction().unwrap_or_else(|| upstream.own_key(cwd));
                upstream.instance(&key).await.map_err(|failure| failure.to_string())?
            }
        };
        upstream.list(&line, ListKind::Tools).await.map_err(|error| error.to_string())
    };
    let list =
        tokio::time::timeout(LIST_WAIT, list).await.unwrap_or_else(|_| Err(format!("no list within {LIST_WAIT:?}")));
    let server = upstream.name.to_string();
    match list {
        Ok(list) => {
            let offered = list.iter().filter(|item| upstream.allows(&item.key));
            let tools = offered.filter_map(|item| RawValue::from_string(item.raw.to_string()).ok()).collect();
            ServerTools { server, tools, error: None }
        }
        Err(error) => ServerTools { server, tools: Vec::new(), error: Some(error) },
    }
}
