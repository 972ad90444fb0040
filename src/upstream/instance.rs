//! One live connection to an upstream: a child process, its tasks, and what its handshake said.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rmcp::model::{ClientCapabilities, ClientConfig, Implementation, ProtocolVersion};
use rmcp::service::{ClientInitializeError, ClientLifecycleMode, ClientServiceExt, RoleClient, RunningService};
use tokio::io::AsyncRead;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::child::{Child, SpawnError};
use super::handshake::Handshake;
use super::ledger::Ledger;
use super::stderr::{self, ServerLog};
use super::tap::{Ids, Tap};
use crate::config::Server;
use crate::envelope::{Envelope, Kind};
use crate::era::{self, Class, Era};
use crate::lines::Lines;
use crate::wire::{FrameError, Frames, Outbox};

/// How many lines of standard error an error message quotes.
const QUOTED_LINES: usize = 5;
/// How long to wait for the exit status once the output ended.
const EXIT_WAIT: Duration = Duration::from_secs(1);

/// The way to a server: its queue, and the ids of what goes into it.
#[derive(Debug, Clone)]
pub struct Link {
    pub outbox: Outbox,
    ids: Ids,
}

impl Link {
    /// A link whose queue holds at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { outbox: Outbox::new(limit), ids: Ids::default() }
    }

    /// An id that this server was not given before.
    pub fn next_id(&self) -> u64 {
        self.ids.next()
    }
}

/// What to say to a server that starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speak {
    /// Probe `server/discover`, else `initialize` as trunkline, promising nothing.
    Auto,
    /// `initialize` with an agent's version and capabilities.
    Legacy(Class),
    Modern,
}

/// On what terms an instance starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub speak: Speak,
    /// The folder that its agents work in.
    pub project: Option<PathBuf>,
    /// Who to say that we are, raw, if it serves one agent only; otherwise trunkline.
    pub client_info: Option<String>,
}

/// What an instance passes up, in the order in which the server sent it.
#[derive(Debug)]
pub enum Inbound<'a> {
    Message(&'a Envelope<'a>),
    /// Nothing more will come, for this reason.
    Closed(&'a str),
}

/// Why an instance did not start.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Spawn(String),
    /// A `${…}` in its settings has no value: the server has not failed.
    #[error("{0}")]
    Template(String),
    #[error("it did not answer the handshake within {0:?} (startup_timeout){1}")]
    Timeout(Duration, String),
    #[error("it ended during the handshake: {0}")]
    Ended(String),
    #[error("it refused the handshake: {message}")]
    Refused { message: String, handshake: Handshake },
}

/// A started server. Dropping it leaves the process to [`Instance::stop`]'s owner task, which ends with the token.
#[derive(Debug)]
pub struct Instance {
    pub pid: u32,
    pub era: Era,
    pub handshake: Handshake,
    pub started: Instant,
    stop: CancellationToken,
    /// Cancelled when the process is gone.
    gone: CancellationToken,
    _rmcp: RunningService<RoleClient, ClientConfig>,
}

/// The surroundings of an instance: who owns its tasks, and where its lines go.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    pub log: ServerLog,
    pub max_frame: usize,
    pub ledger: Ledger,
    /// The PATH of the servers, if it is not the daemon's own.
    pub path: Option<OsString>,
}

impl Instance {
    /// Starts `server` and shakes hands. `inbound` gets everything that is not the handshake's, and is called for the
    /// last time with [`Inbound::Closed`].
    pub async fn start(
        server: &Server,
        terms: &Terms,
        link: Link,
        around: Surroundings,
        inbound: impl Fn(Inbound<'_>) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let speak = &terms.speak;
        let (child, streams) = Child::spawn(server, terms.project.as_deref(), around.path.as_ref(), &around.ledger)
            .map_err(|error| match error {
                SpawnError::Template(error) => StartError::Template(error.to_string()),
                SpawnError::Spawn { .. } | SpawnError::Streams(_) => StartError::Spawn(error.to_string()),
            })?;
        let pid = child.pid;
        let capabilities = match speak {
            Speak::Legacy(class) => Some(class.capabilities.clone()),
            Speak::Auto | Speak::Modern => None,
        };
        let (tap, transport) = Tap::new(link.clone(), capabilities, terms.client_info.clone());
        let stop = around.stop.child_token();
        // Errors quote this process only; the server's log has them all.
        let stderr = Lines::new(QUOTED_LINES);
        let writer = link.outbox.clone();
        let writing = around.tasks.spawn(async move { writer.write_to(streams.stdin).await });
        let erring = around.tasks.spawn(stderr::keep(streams.stderr, stderr.clone(), around.log.clone()));
        let reader = Reader { link, tap: tap.clone() };
        let gone = CancellationToken::new();
        let ended = gone.clone().drop_guard();
        let owner = Owner { child, reader, stop: stop.clone(), stderr: stderr.clone(), _ended: ended };
        let owner = around.tasks.spawn(owner.run(streams.stdout, around.max_frame, inbound, writing, erring));
        let stopped = stop.clone().drop_guard();
        let limit = server.startup_timeout.0;
        let (mode, config) = lifecycle(speak);
        let result = timeout(limit, config.serve_with_lifecycle(transport, mode)).await;
        let handshake = tap.handshake();
        match result {
            Ok(Ok(rmcp)) => {
                stopped.disarm();
                Ok(Self { pid, era: handshake.era(), handshake, started: Instant::now(), stop, gone, _rmcp: rmcp })
            }
            Ok(Err(error)) => {
                drop(stopped);
                // Only a server that ended by itself has more to say; the others are ended in their own time.
                let gone = matches!(
                    error,
                    ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::TransportError { .. }
                );
                let ended = if gone { timeout(EXIT_WAIT * 4, owner).await.ok().and_then(Result::ok) } else { None };
                Err(why(&error, handshake, ended))
            }
            Err(_) => Err(StartError::Timeout(limit, quoted_stderr(&stderr))),
        }
    }

    /// Waits until the process is gone.
    pub async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Asks the owner task to end the process; it does so within a few seconds.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "rmcp's enum is open, and all the rest is said by its own words")]
fn why(error: &ClientInitializeError, handshake: Handshake, ended: Option<String>) -> StartError {
    if let Some(unreadable) = handshake.unreadable {
        return StartError::Ended(unreadable);
    }
    match error {
        ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::TransportError { .. } => {
            StartError::Ended(ended.unwrap_or_else(|| error.to_string()))
        }
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => why(fallback, handshake, ended),
        ClientInitializeError::JsonRpcError(data) => {
            StartError::Refused { message: data.message.to_string(), handshake }
        }
        other => StartError::Refused { message: other.to_string(), handshake },
    }
}

fn lifecycle(speak: &Speak) -> (ClientLifecycleMode, ClientConfig) {
    let identity = Implementation::new("trunkline", env!("CARGO_PKG_VERSION"));
    let config = ClientConfig::new(ClientCapabilities::default(), identity);
    let modern = vec![version(era::MODERN)];
    match speak {
        Speak::Auto => (
            ClientLifecycleMode::Auto { preferred_versions: modern, legacy_version: Some(version(era::LEGACY)) },
            config,
        ),
        Speak::Modern => (ClientLifecycleMode::Discover { preferred_versions: modern }, config),
        Speak::Legacy(class) => {
            (ClientLifecycleMode::Initialize, config.with_protocol_version(version(&class.version)))
        }
    }
}

fn version(text: &str) -> ProtocolVersion {
    serde_json::from_value(text.into()).unwrap_or_default()
}

fn quoted_stderr(lines: &Lines) -> String {
    let tail = lines.tail(QUOTED_LINES);
    if tail.is_empty() { String::new() } else { format!("; its last lines on standard error: {}", tail.join(" | ")) }
}

/// Owns the process: reads it, and ends it.
struct Owner {
    child: Child,
    reader: Reader,
    stop: CancellationToken,
    /// What this process wrote to its standard error last.
    stderr: Lines,
    _ended: DropGuard,
}

impl Owner {
    /// Runs until the server ends or is stopped; returns why, in words.
    async fn run<O: AsyncRead + Unpin>(
        self,
        stdout: O,
        cap: usize,
        inbound: impl Fn(Inbound<'_>),
        mut writing: tokio::task::JoinHandle<io::Result<()>>,
        erring: tokio::task::JoinHandle<()>,
    ) -> String {
        let Self { mut child, reader, stop, stderr, _ended } = self;
        let pid = child.pid;
        let mut status = None;
        let cut = {
            let reading = reader.read(stdout, cap, pid, &inbound);
            tokio::pin!(reading);
            tokio::select! {
                biased;
                () = stop.cancelled() => Some("it was stopped".to_owned()),
                cut = &mut reading => cut,
                exited = child.wait() => {
                    status = exited.ok();
                    // Its last words are in the pipe; a process that it left behind may hold the pipe open for ever.
                    timeout(EXIT_WAIT, &mut reading).await.unwrap_or(None)
                }
                _ = &mut writing => match timeout(EXIT_WAIT, &mut reading).await {
                    Ok(cut) => cut,
                    Err(_) => Some("it does not take input any more".to_owned()),
                },
            }
        };
        reader.link.outbox.close();
        if cut.is_none() {
            if status.is_none() {
                status = timeout(EXIT_WAIT, child.wait()).await.ok().and_then(Result::ok);
            }
            // The last words on standard error explain the exit; they are in the pipe already.
            drop(timeout(EXIT_WAIT, erring).await);
        }
        let ended = cut.unwrap_or_else(|| ended_with(status, &stderr));
        inbound(Inbound::Closed(&ended));
        reader.tap.close();
        if !writing.is_finished() {
            writing.abort();
            drop(writing.await);
        }
        child.stop().await;
        tracing::info!(pid, reason = ended, "server process ended");
        ended
    }
}

/// What the process's output is brought to.
struct Reader {
    link: Link,
    tap: Arc<Tap>,
}

impl Reader {
    /// Reads until the output ends; `Some` says why reading was given up before that.
    async fn read<O: AsyncRead + Unpin>(
        &self,
        stdout: O,
        cap: usize,
        pid: u32,
        inbound: &impl Fn(Inbound<'_>),
    ) -> Option<String> {
        let mut frames = Frames::new(stdout, cap);
        let mut junk = 0u64;
        loop {
            match frames.next().await {
                Ok(Some(frame)) => match Envelope::parse(frame) {
                    Ok(envelope) => self.pass_on(&envelope, inbound),
                    Err(error) => {
                        junk += 1;
                        tracing::warn!(pid, junk, bytes = frame.len(), %error, "skipped a line that is no message");
                    }
                },
                Ok(None) => return None,
                Err(FrameError::Io(error)) => return Some(format!("its output cannot be read: {error}")),
                Err(error @ FrameError::TooLong(_)) => return Some(format!("{error}; it was stopped")),
            }
        }
    }

    fn pass_on(&self, envelope: &Envelope<'_>, inbound: &impl Fn(Inbound<'_>)) {
        match envelope.kind {
            Kind::Response if self.tap.take_reply(envelope) => {}
            Kind::Request if envelope.method == "ping" => {
                let pong = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, envelope.id);
                if let Err(refused) = self.link.outbox.push(pong.len(), |out| out.extend_from_slice(pong.as_bytes())) {
                    tracing::debug!(?refused, "ping not answered");
                }
            }
            Kind::Request | Kind::Notification | Kind::Response => inbound(Inbound::Message(envelope)),
        }
    }
}

fn ended_with(status: Option<ExitStatus>, stderr: &Lines) -> String {
    let how = match status {
        Some(status) => format!("the process ended ({status})"),
        None => "it closed its output".to_owned(),
    };
    how + &quoted_stderr(stderr)
}
