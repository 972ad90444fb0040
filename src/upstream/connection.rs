//! One live connection to an upstream: its wire, its tasks, and what its handshake said.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rmcp::model::{ClientCapabilities, ClientConfig, Implementation, ProtocolVersion};
use rmcp::service::{ClientInitializeError, ClientLifecycleMode, ClientServiceExt, RoleClient, RunningService};
use secrecy::ExposeSecret;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{Given, ServerConfig, Template, Transport};
use crate::era::{self, ClientProfile, Era};
use crate::upstream::handshake::Handshake;
use crate::upstream::inbound::Inbound;
use crate::upstream::instance_services::InstanceServices;
use crate::upstream::link::Link;
use crate::upstream::running::{Ended, Running};
use crate::upstream::start_error::StartError;
use crate::upstream::stdio::quoted_stderr;
use crate::upstream::tap::Tap;
use crate::upstream::terms::{Speak, Terms};
use crate::upstream::{http, stdio};

/// How long a server may be silent on `server/discover` before it is sent `initialize`, as in `rmcp`'s own probe.
const PROBE: Duration = Duration::from_secs(10);
/// How long the wire may take to say why it ended.
const OWNER_WAIT: Duration = Duration::from_secs(4);

/// A started server. Dropping it leaves the wire to its owner task, which ends with the token.
#[derive(Debug)]
pub struct Connection {
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

impl Connection {
    /// Starts `server` and shakes hands. `inbound` gets everything that is not the handshake's, and is called for the
    /// last time with [`Inbound::Closed`].
    pub async fn start(
        server: &ServerConfig,
        terms: &Terms,
        link: Link,
        around: InstanceServices,
        inbound: impl Fn(Inbound<'_>) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let names = server.templates().flat_map(Template::secret_names).collect();
        let secrets = around.vault.secrets(names).await.map_err(|error| StartError::Template(error.to_string()))?;
        secrets.values().for_each(|secret| around.masks.note(secret.expose_secret()));
        let given = Given { project: terms.project.as_deref(), secrets: &secrets };
        let tap = Tap::new(link, around.clone(), terms.speak.profile.capabilities.clone(), terms.client_info.clone());
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
        let (mode, config) = lifecycle(era, &speak.profile);
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

impl Drop for Connection {
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

fn lifecycle(era: Era, profile: &ClientProfile) -> (ClientLifecycleMode, ClientConfig) {
    let identity = Implementation::new("trunkline", env!("CARGO_PKG_VERSION"));
    let config = ClientConfig::new(ClientCapabilities::default(), identity);
    match era {
        Era::Modern => (ClientLifecycleMode::Discover { preferred_versions: vec![version(era::MODERN)] }, config),
        Era::Legacy => (ClientLifecycleMode::Initialize, config.with_protocol_version(version(&profile.version))),
    }
}

fn version(text: &str) -> ProtocolVersion {
    serde_json::from_value(text.into()).unwrap_or_default()
}
