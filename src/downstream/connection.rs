//! One connection on the socket, from its first message to its end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Deserialize;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::envelope::{Envelope, Kind};
use crate::hub::reply::{self, code};
use crate::hub::{Agent, Hub, Later, Routed, Session, View};
use crate::ipc::{Peer, ReadHalf, WriteHalf, hung_up};
use crate::names::ServerName;
use crate::wire::{FrameError, Frames, Outbox};

/// How long a connection may take to send its first message.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);
/// How long the calls of an agent that said all it had to say may go on, and its last frames be written.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How many requests of one agent may wait for servers at once; then it is not read from.
const MAX_WAITING: usize = 256;

/// An accepted connection and the frames that were read from it.
#[derive(Debug)]
pub struct Connection {
    pub frames: Frames<ReadHalf>,
    pub write: WriteHalf,
    pub peer: Peer,
}

/// What a connection turned out to be.
#[derive(Debug)]
pub enum Opened {
    /// MCP, with the first frame if it was MCP itself.
    Agent { view: View, agent: Agent, attach_id: Option<String>, first: Option<Vec<u8>> },
    /// `daemon.*` calls, with the first of them.
    Control { first: Vec<u8> },
    /// Neither; this error is its answer.
    Refused { error: String },
    /// It closed without a word.
    Silent,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attach {
    server: Option<String>,
    profile: Option<String>,
    cwd: Option<String>,
    client: Option<String>,
}

/// Reads the first message and says what it makes of the connection.
pub async fn open(connection: &mut Connection) -> Opened {
    let refused = |code, message: &str| Opened::Refused { error: reply::error("null", code, message) };
    let frame = match timeout(FIRST_MESSAGE, connection.frames.next()).await {
        Ok(Ok(Some(frame))) => frame,
        Ok(Ok(None)) => return Opened::Silent,
        Ok(Err(error @ FrameError::TooLong(_))) => return refused(code::INVALID_REQUEST, &error.to_string()),
        Ok(Err(FrameError::Io(error))) => {
            tracing::debug!(%error, "connection lost before its first message");
            return Opened::Silent;
        }
        Err(_) => return refused(code::INVALID_REQUEST, &format!("no message within {FIRST_MESSAGE:?}")),
    };
    let envelope = match Envelope::from_agent(frame) {
        Ok(envelope) => envelope,
        Err(error) => return refused(code::PARSE, &error.to_string()),
    };
    let pid = connection.peer.pid;
    if envelope.kind != Kind::Request {
        return refused(
            code::INVALID_REQUEST,
            "the first message must be a request: daemon.attach, another daemon.* call, or MCP",
        );
    }
    if envelope.method == "daemon.attach" {
        return match attach(&envelope) {
            Ok((view, agent)) => Opened::Agent {
                view,
                agent: Agent { pid, ..agent },
                attach_id: Some(envelope.id.to_owned()),
                first: None,
            },
            Err(message) => Opened::Refused { error: reply::error(envelope.id, code::INVALID_PARAMS, &message) },
        };
    }
    if envelope.method.starts_with("daemon.") {
        return Opened::Control { first: frame.to_vec() };
    }
    if envelope.method == "initialize" || envelope.method == "ping" || envelope.is_modern() {
        return Opened::Agent {
            view: View::All,
            agent: Agent { pid, ..Agent::default() },
            attach_id: None,
            first: Some(frame.to_vec()),
        };
    }
    let message = format!(
        "`{}` cannot be the first message: begin with `initialize`, `server/discover`, daemon.attach or another daemon.* call",
        envelope.method
    );
    Opened::Refused { error: reply::error(envelope.id, code::INVALID_REQUEST, &message) }
}

fn attach(envelope: &Envelope<'_>) -> Result<(View, Agent), String> {
    #[derive(Deserialize)]
    struct Request {
        #[serde(default)]
        params: Attach,
    }
    let request: Request = serde_json::from_str(envelope.frame)
        .map_err(|error| format!("daemon.attach: {error}; it takes server, cwd and client, by name"))?;
    let Attach { server, profile, cwd, client } = request.params;
    if profile.is_some() {
        return Err(
            "daemon.attach: profiles are not in this version of trunkline yet: name a server, or nothing for all"
                .to_owned(),
        );
    }
    let view = match server {
        Some(name) => View::One(ServerName::parse(&name).map_err(|error| format!("daemon.attach: {error}"))?),
        None => View::All,
    };
    Ok((view, Agent { name: client, cwd, pid: None }))
}

/// Serves an agent until it leaves, does not read, or `stop` is cancelled.
pub async fn serve(
    hub: Arc<Hub>,
    connection: Connection,
    view: View,
    agent: Agent,
    attach_id: Option<String>,
    first: Option<Vec<u8>>,
    stop: CancellationToken,
) {
    let Connection { mut frames, mut write, .. } = connection;
    let (session, outbox) = match hub.attach(view, agent, stop.child_token()) {
        Ok(attached) => attached,
        Err(failure) => {
            return refuse(&mut write, &failure.frame(attach_id.as_deref().unwrap_or("null"), "daemon.attach")).await;
        }
    };
    if let Some(id) = attach_id {
        session.send_text(&reply::result(
            &id,
            &format!(r#"{{"session":{},"version":"{}"}}"#, session.id.0, env!("CARGO_PKG_VERSION")),
        ));
    }
    let writer = outbox.clone();
    let mut writing = tokio::spawn(async move { writer.write_to(write).await });
    tokio::select! {
        biased;
        () = read(&hub, &session, &outbox, &mut frames, first) => {}
        () = session.gone.cancelled() => {}
        _ = &mut writing => {}
    }
    hub.detach(&session);
    outbox.close();
    if !writing.is_finished()
        && (session.gone.is_cancelled() && !stop.is_cancelled() || timeout(LAST_WORDS, &mut writing).await.is_err())
    {
        writing.abort();
    }
}

/// Answers a connection that is not taken, and closes it.
pub async fn refuse(write: &mut WriteHalf, frame: &str) {
    use tokio::io::AsyncWriteExt;
    let answer = async {
        write.write_all(frame.as_bytes()).await?;
        write.write_all(b"\n").await?;
        write.shutdown().await
    };
    if let Ok(Err(error)) = timeout(LAST_WORDS, answer).await {
        tracing::debug!(%error, "refusal not delivered");
    }
}

/// Reads until the agent has said all, and then until it has been answered.
async fn read(
    hub: &Arc<Hub>,
    session: &Arc<Session>,
    outbox: &Outbox,
    frames: &mut Frames<ReadHalf>,
    first: Option<Vec<u8>>,
) {
    let mut waiting: FuturesUnordered<Later> = FuturesUnordered::new();
    if let Some(frame) = first {
        take(hub, session, &frame, &mut waiting).await;
    }
    loop {
        if outbox.is_half_full() {
            // Reading on would only make more answers for an agent that is behind with reading.
            outbox.room().await;
        }
        let next = if waiting.is_empty() {
            frames.next().await
        } else {
            tokio::select! {
                biased;
                Some(()) = waiting.next() => continue,
                next = frames.next(), if waiting.len() < MAX_WAITING => next,
            }
        };
        match next {
            Ok(Some(frame)) => take(hub, session, frame, &mut waiting).await,
            Ok(None) => {
                if !hung_up(frames.stream()).await {
                    // It closed its side only: what it asked for is still answered.
                    while waiting.next().await.is_some() {}
                    drop(timeout(LAST_WORDS, session.settled()).await);
                }
                return;
            }
            Err(error) => {
                session.send_text(&reply::error(
                    "null",
                    code::INVALID_REQUEST,
                    &format!("{error}; the connection is closed"),
                ));
                return;
            }
        }
    }
}

/// Routes a frame. In a one-server view what comes later must not overtake it; among all servers nobody waits for the
/// slowest.
async fn take(hub: &Arc<Hub>, session: &Arc<Session>, frame: &[u8], waiting: &mut FuturesUnordered<Later>) {
    match (hub.route(session, frame), &session.view) {
        (Routed::Done, _) => {}
        (Routed::Later(later), View::One(_)) => later.await,
        (Routed::Later(later), View::All) => waiting.push(later),
    }
}
