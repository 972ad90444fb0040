//! One live connection to an upstream: its wire, its tasks, and what its handshake said.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rmcp::model::{ClientCapabilities, ClientConfig, Implementation, ProtocolVersion};
use rmcp::service::{ClientInitializeError, ClientLifecycleMode, ClientServiceExt, RoleClient, RunningService};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::handshake::Handshake;
use super::http::{self, HttpClient};
use super::ids::Ids;
use super::ledger::Ledger;
use super::quirks::{Quirk, Quirks};
use super::stderr::ServerLog;
use super::stdio::{self, quoted_stderr};
use super::tap::Tap;
use crate::config::{Given, Server, Template, Transport};
use crate::credentials::Vault;
use crate::envelope::Envelope;
use crate::era::{self, Class, Era};
use crate::lines::Lines;
use crate::names::ServerName;
use crate::oauth::Keepers;
use crate::wire::{Account, Budget, Outbox};

/// How long a server may be silent on `server/discover` before it is sent `initialize`, as in `rmcp`'s own probe.
const PROBE: Duration = Duration::from_secs(10);
/// How long the wire may take to say why it ended.
const OWNER_WAIT: Duration = Duration::from_secs(4);

/// Why a server is stopped, or a call of it fails, where too much waits for it or comes of it.
pub(super) const OVER_BUDGET: &str =
    "as much waits in the daemon as may (max_memory), and most of it for this server or from it";

/// The way to a server: its queue, and the ids of what goes into it.
#[derive(Debug, Clone)]
pub struct Link {
    pub outbox: Outbox,
    ids: Ids,
    order: Arc<Order>,
}

/// What was said last that needs no answer, and what was answered last. A server takes messages in their order.
#[derive(Debug, Default)]
struct Order {
    /// The id that the next request had then.
    notice: AtomicU64,
    /// The id behind the highest one that was answered.
    answered: AtomicU64,
}

impl Link {
    /// A link whose queue holds as much as the account may; where that is cut off, the server is stopped.
    pub fn new(account: Account) -> Self {
        Self { outbox: Outbox::new(account), ids: Ids::new(), order: Arc::default() }
    }

    /// An id that this server was not given before.
    pub fn next_id(&self) -> u64 {
        self.ids.next()
    }

    /// Notes that something goes to the server that it need not answer.
    pub fn note_notice(&self) {
        self.order.notice.store(self.ids.peek(), Ordering::Relaxed);
    }

    pub(super) fn note_answer(&self, id: u64) {
        self.order.answered.fetch_max(id + 1, Ordering::Relaxed);
    }

    /// Whether the server has answered something behind the last message that it need not answer: it will not speak of that
    /// any more.
    pub fn is_settled(&self) -> bool {
        let notice = self.order.notice.load(Ordering::Relaxed);
        notice == 0 || self.order.answered.load(Ordering::Relaxed) > notice
    }

    /// Whether something was asked under this id.
    pub fn has_issued(&self, id: u64) -> bool {
        self.ids.holds(id)
    }
}

/// What to say to a server that starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speak {
    /// The eras to try on the same process, in this order.
    pub eras: Vec<Era>,
    /// What to promise in `initialize`.
    pub class: Class,
}

/// On what terms an instance starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    pub speak: Speak,
    /// The folder that its agents work in.
    pub project: Option<PathBuf>,
    /// Who to say that we are, raw, if it serves one agent only; otherwise trunkline.
    pub client_info: Option<String>,
    /// Nobody waits for it.
    pub background: bool,
}

/// What an instance passes up, in the order in which the server sent it.
#[derive(Debug)]
pub enum Inbound<'a> {
    /// A message; `call` is the request on whose stream it came, where the wire tells.
    Message { envelope: &'a Envelope<'a>, call: Option<u64> },
    /// A message behind text on its line, which may be one that the server was sent, and has written down.
    BehindText(&'a Envelope<'a>),
    /// An answer came that cannot be read: to this request, or it is not known to which.
    Unreadable { id: Option<u64>, reason: &'a str },
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
    #[error("it refused the handshake: {0}")]
    Refused(String),
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
    pub quirks: Quirks,
    pub max_frame: usize,
    pub ledger: Ledger,
    pub client: HttpClient,
    pub vault: Vault,
    pub keepers: Keepers,
    /// Of all that waits.
    pub budget: Budget,
}

impl Surroundings {
    /// Tells once, in the server's log and the daemon's, what the server does that it should not.
    pub fn note(&self, quirk: &Quirk) {
        if let Some(text) = self.quirks.note(quirk) {
            self.log.push(&format!("trunkline: {text}"));
            tracing::warn!(server = %self.name, "{text}");
        }
    }

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
        let names = server.templates().flat_map(Template::secret_names).collect();
        let secrets = around.vault.secrets(names).await.map_err(|error| StartError::Template(error.to_string()))?;
        let given = Given { project: terms.project.as_deref(), secrets: &secrets };
        let tap = Tap::new(link, around.clone(), terms.speak.class.capabilities.clone(), terms.client_info.clone());
        let stop = around.stop.child_token();
        let stopped = stop.clone().drop_guard();
        let limit = server.startup_timeout.0;
        let Running { pid, gone, owner, last_lines } = match &server.transport {
            Transport::Stdio(stdio) => {
                stdio::start(stdio, given, terms.background, tap.clone(), &around, stop.clone(), inbound)?
            }
            Transport::Http(http) => http::start(http, limit, given, tap.clone(), &around, stop.clone(), inbound)?,
        };
        match timeout(limit, shake_hands(&tap, &terms.speak)).await {
            Ok(Ok((era, rmcp))) => {
                stopped.disarm();
                let handshake = tap.handshake().of(era);
                Ok(Self { pid, era, handshake, started: Instant::now(), stop, gone, _rmcp: rmcp })
            }
            Ok(Err(error)) => {
                drop(stopped);
                // Only a server that ended by itself has more to say; the others are ended in their own time.
                let ended =
                    if is_over(&error) { timeout(OWNER_WAIT, owner).await.ok().and_then(Result::ok) } else { None };
                Err(why(&error, tap.handshake().unreadable, ended))
            }
            Err(_) => Err(StartError::Timeout(limit, tap.quoted_noise() + &quoted_stderr(&last_lines))),
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

/// Tries each era in turn on the same wire, until the server takes one. A server may need longer to start than it is given
/// for `server/discover`: then `initialize` is behind it, and a late refusal of the first changes nothing.
async fn shake_hands(
    tap: &Arc<Tap>,
    speak: &Speak,
) -> Result<(Era, RunningService<RoleClient, ClientConfig>), ClientInitializeError> {
    let mut eras: VecDeque<Era> = speak.eras.iter().copied().collect();
    let mut refused: Option<ClientInitializeError> = None;
    let mut probed = false;
    loop {
        let Some(era) = eras.pop_front() else {
            return Err(refused.unwrap_or(ClientInitializeError::Cancelled));
        };
        let (mode, config) = lifecycle(era, &speak.class);
        let shaking = config.serve_with_lifecycle(tap.transport(), mode);
        let outcome = if era == Era::Modern && !eras.is_empty() {
            match timeout(PROBE, shaking).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    probed = true;
                    continue;
                }
            }
        } else {
            shaking.await
        };
        match outcome {
            Ok(rmcp) => return Ok((era, rmcp)),
            // A server that ends after it refused one era may speak the other in a new process.
            Err(error) if is_over(&error) || tap.handshake().unreadable.is_some() => {
                return Err(refused.unwrap_or(error));
            }
            Err(error) => {
                // It was slow, and not silent: asked again, it may well know it.
                if era == Era::Legacy && std::mem::take(&mut probed) {
                    eras.push_back(Era::Modern);
                }
                // What it says to the era that was tried first explains more.
                refused.get_or_insert(error);
            }
        }
    }
}

/// Whether nothing more can be said to the server.
fn is_over(error: &ClientInitializeError) -> bool {
    matches!(error, ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::TransportError { .. })
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "rmcp's enum is open, and all the rest is said by its own words")]
fn why(error: &ClientInitializeError, unreadable: Option<String>, ended: Option<Ended>) -> StartError {
    if let Some(unreadable) = unreadable {
        return StartError::Ended(unreadable);
    }
    match error {
        ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::TransportError { .. } => match ended {
            Some(Ended::Gone(reason)) => StartError::Ended(reason),
            Some(Ended::Unreachable(reason)) => StartError::Unreachable(reason),
            Some(Ended::NeedsLogin(reason)) => StartError::NeedsLogin(reason),
            None => StartError::Ended(error.to_string()),
        },
        ClientInitializeError::JsonRpcError(data) => StartError::Refused(data.message.to_string()),
        ClientInitializeError::NoCompatibleProtocolVersion { server_supported, .. } => {
            let all: Vec<_> = server_supported.iter().map(ProtocolVersion::as_str).collect();
            StartError::Refused(format!("it speaks revision {} only", all.join(", ")))
        }
        other => {
            // Its words show types, which say nothing to a person.
            tracing::debug!(error = %other, "handshake not understood");
            StartError::Refused("its answer to the handshake is none that this protocol knows".to_owned())
        }
    }
}

fn lifecycle(era: Era, class: &Class) -> (ClientLifecycleMode, ClientConfig) {
    let identity = Implementation::new("trunkline", env!("CARGO_PKG_VERSION"));
    let config = ClientConfig::new(ClientCapabilities::default(), identity);
    match era {
        Era::Modern => (ClientLifecycleMode::Discover { preferred_versions: vec![version(era::MODERN)] }, config),
        Era::Legacy => (ClientLifecycleMode::Initialize, config.with_protocol_version(version(&class.version))),
    }
}

fn version(text: &str) -> ProtocolVersion {
    serde_json::from_value(text.into()).unwrap_or_default()
}
