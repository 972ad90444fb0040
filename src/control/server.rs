//! The daemon's end of the control calls: one `RpcModule` for each connection, with subscriptions of its own.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jsonrpsee::PendingSubscriptionSink;
use jsonrpsee::core::id_providers::RandomIntegerIdProvider;
use jsonrpsee::core::server::{
    BoundedSubscriptions, ConnectionId, Extensions, MethodCallback, MethodResponse, MethodSink, Methods,
    SubscriptionSink, SubscriptionState,
};
use jsonrpsee::core::{RpcResult, SubscriptionResult, async_trait, to_json_raw_value};
use jsonrpsee::types::{ErrorCode, ErrorObject, ErrorObjectOwned, Id, Params, Request};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::api::{DaemonServer, Instance, LogLine, Missed, ServerStatus, ServerTools, SessionStatus, Status};
use crate::envelope::{Envelope, quoted};
use crate::hub::reply::code;
use crate::hub::{Failure, Hub, Line, ListKind, Session, Upstream, View, Want};
use crate::ipc::{ReadHalf, WriteHalf, hung_up};
use crate::lines::Lines;
use crate::names::ServerName;
use crate::wire::{Frames, Outbox, Refused};

/// How many calls of one connection may run at once; then it is not read from.
const MAX_CALLS: usize = 64;
const MAX_SUBSCRIPTIONS: u32 = 16;
/// Subscription messages between a subscription and its connection.
const SINK: usize = 16;
/// How many bytes may wait for a script that reads slowly; one larger answer still passes.
const QUEUE: usize = 1 << 20;
/// How many lines a log subscription starts with if it does not say.
const TAIL: usize = 100;
/// How long a list may take.
const LIST_WAIT: Duration = Duration::from_secs(120);

/// What the calls act on.
#[derive(Debug, Clone)]
pub struct Api {
    pub hub: Arc<Hub>,
    pub log: Lines,
    pub shutdown: CancellationToken,
    pub started: Instant,
    pub socket: PathBuf,
    pub config: PathBuf,
}

/// Serves control calls on a connection until it closes; `first` is the frame that made it a control connection.
pub async fn serve(api: Api, mut frames: Frames<ReadHalf>, write: WriteHalf, first: Vec<u8>, stop: CancellationToken) {
    let methods: Methods = api.into_rpc().into();
    let outbox = Outbox::new(QUEUE);
    let writer = outbox.clone();
    let mut writing = tokio::spawn(async move { writer.write_to(write).await });
    let (sink, mut notices) = mpsc::channel::<Box<RawValue>>(SINK);
    let subscriptions = BoundedSubscriptions::new(MAX_SUBSCRIPTIONS);
    let mut calls = FuturesUnordered::new();
    calls.push(dispatch(methods.clone(), first, sink.clone(), subscriptions.clone()));
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = &mut writing => return,
            Some(answer) = calls.next() => push(&outbox, answer, &stop).await,
            // Not taken while the reader is behind: the subscription then falls behind, and says so.
            Some(notice) = notices.recv(), if !outbox.is_half_full() => push(&outbox, Some(notice), &stop).await,
            () = outbox.room(), if outbox.is_half_full() => {}
            frame = frames.next(), if calls.len() < MAX_CALLS && !outbox.is_half_full() => match frame {
                Ok(Some(frame)) => calls.push(dispatch(methods.clone(), frame.to_vec(), sink.clone(), subscriptions.clone())),
                Ok(None) | Err(_) => break,
            },
        }
    }
    // A script that closed its side after its last call still gets the answers; with one that is gone, what still runs
    // is cancelled.
    let hung_up = hung_up(frames.stream()).await;
    let answers = async {
        if hung_up {
            return;
        }
        while let Some(answer) = calls.next().await {
            push(&outbox, answer, &stop).await;
        }
    };
    tokio::select! {
        () = answers => {}
        () = stop.cancelled() => {}
        _ = &mut writing => return,
    }
    outbox.close();
    if tokio::time::timeout(Duration::from_secs(2), &mut writing).await.is_err() {
        writing.abort();
    }
}

async fn push(outbox: &Outbox, message: Option<Box<RawValue>>, stop: &CancellationToken) {
    let Some(message) = message else { return };
    let text = message.get();
    while outbox.push(text.len(), |out| out.extend_from_slice(text.as_bytes())) == Err(Refused::Full) {
        tokio::select! {
            () = outbox.room_for(text.len()) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Carries one call out; a subscription answers through `sink`, and a notification not at all.
async fn dispatch(
    methods: Methods,
    frame: Vec<u8>,
    sink: mpsc::Sender<Box<RawValue>>,
    subscriptions: BoundedSubscriptions,
) -> Option<Box<RawValue>> {
    let request: Request<'_> = match serde_json::from_slice(&frame) {
        Ok(request) => request,
        Err(error) => {
            let error = ErrorObject::owned(code::PARSE, format!("not a JSON-RPC request: {error}"), None::<()>);
            return Some(MethodResponse::error(Id::Null, error).to_json());
        }
    };
    let Request { id, method, params, .. } = request;
    let params = Params::new(params.as_ref().map(|params| params.get()));
    let (extensions, connection, limit) = (Extensions::new(), ConnectionId(0), usize::MAX);
    let response = match methods.method(&method) {
        None => {
            let message = format!("no method `{method}` in this version of trunkline");
            MethodResponse::error(id, ErrorObject::owned(ErrorCode::MethodNotFound.code(), message, None::<()>))
        }
        Some(MethodCallback::Sync(call)) => call(id, params, limit, extensions),
        Some(MethodCallback::Async(call)) => {
            call(id.into_owned(), params.into_owned(), connection, limit, extensions).await
        }
        Some(MethodCallback::Unsubscription(call)) => call(id, params, connection, limit, extensions),
        Some(MethodCallback::Subscription(call)) => match subscriptions.acquire() {
            Some(subscription_permit) => {
                let state = SubscriptionState {
                    conn_id: connection,
                    id_provider: &RandomIntegerIdProvider,
                    subscription_permit,
                };
                call(id, params, MethodSink::new(sink), state, extensions).await;
                return None;
            }
            None => MethodResponse::error(
                id,
                refused(code::INTERNAL, format!("at most {MAX_SUBSCRIPTIONS} subscriptions a connection")),
            ),
        },
    };
    Some(response.to_json())
}

fn refused(code: i32, message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObject::owned(code, message, None::<()>)
}

fn failed(failure: &Failure) -> ErrorObjectOwned {
    let code = match failure {
        Failure::Unknown { .. } | Failure::Disabled(_) => code::INVALID_PARAMS,
        Failure::Start { .. } | Failure::NoLegacy { .. } | Failure::NoModern { .. } => code::CONNECTION_CLOSED,
    };
    refused(code, failure.to_string())
}

#[async_trait]
impl DaemonServer for Api {
    fn status(&self) -> RpcResult<Status> {
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime: self.started.elapsed().as_secs(),
            socket: self.socket.clone(),
            config: self.config.clone(),
            servers: self.servers()?,
            sessions: self.sessions()?,
        })
    }

    fn servers(&self) -> RpcResult<Vec<ServerStatus>> {
        Ok(self.hub.upstreams().iter().map(|upstream| server_status(upstream)).collect())
    }

    fn sessions(&self) -> RpcResult<Vec<SessionStatus>> {
        Ok(self.hub.sessions().iter().map(|session| session_status(session)).collect())
    }

    async fn list_tools(&self, server: Option<String>) -> RpcResult<Vec<ServerTools>> {
        let upstreams = match &server {
            Some(name) => vec![self.hub.upstream(name).map_err(|failure| failed(&failure))?.clone()],
            None => self.hub.upstreams().iter().filter(|upstream| upstream.server.enabled).cloned().collect(),
        };
        let lists = futures_util::future::join_all(upstreams.iter().map(tools_of)).await;
        if let (Some(_), [ServerTools { error: Some(error), .. }]) = (&server, lists.as_slice()) {
            return Err(refused(code::CONNECTION_CLOSED, error.clone()));
        }
        Ok(lists)
    }

    async fn call_tool(
        &self,
        server: String,
        tool: String,
        arguments: Option<Box<RawValue>>,
    ) -> RpcResult<Box<RawValue>> {
        let upstream = self.hub.upstream(&server).map_err(|failure| failed(&failure))?;
        let line = upstream.line(Want::Any).await.map_err(|failure| failed(&failure))?;
        let arguments = arguments.as_deref().map_or("{}", RawValue::get);
        let params = line.own_params(Some(format!(r#""name":{},"arguments":{arguments}"#, quoted(&tool))));
        let stopped = |reason: &str| {
            refused(code::CONNECTION_CLOSED, format!("server `{server}` stopped before it answered: {reason}"))
        };
        let mut call = line.call("tools/call", &params);
        let frame = match (&mut call.answer).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(reason)) => return Err(stopped(&reason)),
            Err(_) => return Err(stopped("it takes no more messages")),
        };
        answer(&frame)
    }

    async fn subscribe_events(&self, pending: PendingSubscriptionSink) -> SubscriptionResult {
        let events = self.hub.events.watch();
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
        let lines = match server.map(|name| self.hub.upstream(&name).map(|upstream| upstream.stderr.clone())) {
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
        (Some(result), _) => RawValue::from_string(result.to_owned()).map_err(|_| unreadable()),
        (None, Some(error)) => Err(serde_json::from_str::<ErrorObjectOwned>(error).unwrap_or_else(|_| unreadable())),
        (None, None) => Err(unreadable()),
    }
}

fn tools_of(upstream: &Arc<Upstream>) -> impl Future<Output = ServerTools> + use<> {
    let upstream = upstream.clone();
    async move {
        let list = async {
            // Any instance tells what the tools are; only a call needs one that was promised nothing.
            let line: Arc<Line> = match upstream.lines().into_iter().next() {
                Some(line) => line,
                None => upstream.line(Want::Any).await.map_err(|failure| failure.to_string())?,
            };
            line.list(ListKind::Tools).await.map_err(|error| error.to_string())
        };
        let list = tokio::time::timeout(LIST_WAIT, list)
            .await
            .unwrap_or_else(|_| Err(format!("no list within {LIST_WAIT:?}")));
        let server = upstream.name.to_string();
        match list {
            Ok(list) => {
                let tools = list.iter().filter_map(|item| RawValue::from_string(item.raw.to_string()).ok()).collect();
                ServerTools { server, tools, error: None }
            }
            Err(error) => ServerTools { server, tools: Vec::new(), error: Some(error) },
        }
    }
}

fn server_status(upstream: &Upstream) -> ServerStatus {
    let known = upstream.known();
    let instance = |line: &Arc<Line>| {
        let instance = line.instance()?;
        let sessions = line.session_ids().into_iter().map(|id| id.0).collect();
        Some(Instance {
            pid: instance.pid,
            era: instance.era,
            age: instance.started.elapsed().as_secs(),
            in_flight: line.in_flight(),
            sessions,
        })
    };
    let instances: Vec<_> = upstream.lines().iter().filter_map(instance).collect();
    let state = match (upstream.server.enabled, instances.is_empty(), upstream.is_starting(), &known.last_error) {
        (false, ..) => "disabled",
        (true, false, ..) => "ready",
        (true, true, true, _) => "starting",
        (true, true, false, Some(_)) => "failed",
        (true, true, false, None) => "idle",
    };
    ServerStatus {
        name: upstream.name.to_string(),
        state: state.to_owned(),
        era: known.era,
        instances,
        starts: known.starts,
        last_error: known.last_error.map(|error| error.to_string()),
        hidden: known.hidden.into_iter().collect(),
        ambiguous_request: known.interactive,
    }
}

fn session_status(session: &Session) -> SessionStatus {
    let agent = session.agent();
    let server = match &session.view {
        View::One(server) => Some(ServerName::to_string(server)),
        View::All => None,
    };
    SessionStatus {
        session: session.id.0,
        name: agent.name,
        server,
        cwd: agent.cwd,
        pid: agent.pid,
        era: session.era(),
        age: session.since.elapsed().as_secs(),
        in_flight: session.in_flight(),
    }
}
