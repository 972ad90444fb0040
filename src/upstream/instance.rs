//! One live connection to an upstream: its wire, its tasks, and what its handshake said.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rmcp::model::{ClientCapabilities, ClientConfig, Implementation, ProtocolVersion};
use rmcp::service::{ClientInitializeError, ClientLifecycleMode, ClientServiceExt, RoleClient, RunningService};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::handshake::Handshake;
use super::http::{self, HttpClient};
use super::ledger::Ledger;
use super::stderr::ServerLog;
use super::stdio::{self, quoted_stderr};
use super::tap::{Ids, Tap};
use crate::config::{Given, Server, Template, Transport};
use crate::credentials::Vault;
use crate::envelope::Envelope;
use crate::era::{self, Class, Era};
use crate::lines::Lines;
use crate::names::ServerName;
use crate::oauth::Keepers;
use crate::wire::Outbox;

/// How long the wire may take to say why it ended.
const OWNER_WAIT: Duration = Duration::from_secs(4);

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
    /// A message; `call` is the request on whose stream it came, where the wire tells.
    Message { envelope: &'a Envelope<'a>, call: Option<u64> },
    /// The server was not given the request `id`, because a person must log in first: `frame` can be sent again.
    Parked { id: u64, frame: &'a str, why: &'a Arc<str> },
    /// No answer to this request will come: it was cancelled.
    Over(u64),
    /// The server has ended the stream of this request, and is asked for the rest of it later (legacy era).
    Paused(u64),
    /// The server had lost the session, and has another now: it must be told again what held in the old one.
    Renewed,
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
    /// Nothing can be said of the server itself: something on the way failed.
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    NeedsLogin(Arc<str>),
    #[error("it refused the handshake: {message}")]
    Refused { message: String, handshake: Handshake },
}

/// How a wire ended.
#[derive(Debug, Clone)]
pub(super) enum Ended {
    Gone(String),
    Unreachable(String),
    NeedsLogin(Arc<str>),
}

/// A wire that was just opened.
pub(super) struct Running {
    /// Of a child process.
    pub pid: Option<u32>,
    /// Cancelled when all of it is gone.
    pub gone: CancellationToken,
    pub owner: JoinHandle<Ended>,
    /// What a child process said last.
    pub last_lines: Lines,
}

/// A started server. Dropping it leaves the wire to its owner task, which ends with the token.
#[derive(Debug)]
pub struct Instance {
    /// Of a child process.
    pub pid: Option<u32>,
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
    pub name: ServerName,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    pub log: ServerLog,
    pub max_frame: usize,
    pub ledger: Ledger,
    /// The PATH of the servers, if it is not the daemon's own.
    pub path: Option<OsString>,
    pub client: HttpClient,
    pub vault: Vault,
    pub keepers: Keepers,
}

impl Surroundings {
    /// Does something after a pause, unless everything ends before.
    pub fn later(&self, pause: Duration, work: impl FnOnce() + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
                work();
            }
        });
    }
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
        let names = server.templates().flat_map(Template::secret_names).collect();
        let secrets = around.vault.secrets(names).await.map_err(|error| StartError::Template(error.to_string()))?;
        let given = Given { project: terms.project.as_deref(), secrets: &secrets };
        let capabilities = match speak {
            Speak::Legacy(class) => Some(class.capabilities.clone()),
            Speak::Auto | Speak::Modern => None,
        };
        let (tap, transport) = Tap::new(link, capabilities, terms.client_info.clone());
        let stop = around.stop.child_token();
        let stopped = stop.clone().drop_guard();
        let limit = server.startup_timeout.0;
        let Running { pid, gone, owner, last_lines } = match &server.transport {
            Transport::Stdio(stdio) => {
                stdio::start(stdio, server.share, given, tap.clone(), &around, stop.clone(), inbound)?
            }
            Transport::Http(http) => http::start(http, limit, given, tap.clone(), &around, stop.clone(), inbound)?,
        };
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
                let closed = matches!(
                    error,
                    ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::TransportError { .. }
                );
                let ended = if closed { timeout(OWNER_WAIT, owner).await.ok().and_then(Result::ok) } else { None };
                Err(why(&error, handshake, ended))
            }
            Err(_) => Err(StartError::Timeout(limit, quoted_stderr(&last_lines))),
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
fn why(error: &ClientInitializeError, handshake: Handshake, ended: Option<Ended>) -> StartError {
    if let Some(unreadable) = handshake.unreadable {
        return StartError::Ended(unreadable);
    }
    match error {
        ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::TransportError { .. } => match ended {
            Some(Ended::Gone(reason)) => StartError::Ended(reason),
            Some(Ended::Unreachable(reason)) => StartError::Unreachable(reason),
            Some(Ended::NeedsLogin(reason)) => StartError::NeedsLogin(reason),
            None => StartError::Ended(error.to_string()),
        },
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => why(fallback, handshake, ended),
        ClientInitializeError::JsonRpcError(data) => {
            StartError::Refused { message: data.message.to_string(), handshake }
        }
        ClientInitializeError::NoCompatibleProtocolVersion { server_supported, .. } => {
            let all: Vec<_> = server_supported.iter().map(ProtocolVersion::as_str).collect();
            StartError::Refused { message: format!("it speaks revision {} only", all.join(", ")), handshake }
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
