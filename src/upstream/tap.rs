//! Sits between a wire and the upstream's `rmcp` client: the handshake goes to `rmcp`, the agents' traffic goes past it.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::service::RoleClient;
use rmcp::transport::Transport;
use tokio::sync::mpsc;

use super::handshake::Handshake;
use super::instance::{Inbound, Link};
use crate::envelope::{Edit, Envelope, Kind, splice};
use crate::wire::{Outbox, Refused};

/// `rmcp` asks one thing at a time while it shakes hands.
const TO_RMCP: usize = 16;

/// The half that the wire holds.
#[derive(Debug)]
pub(super) struct Tap {
    link: Link,
    /// Capabilities to promise in `initialize`, in the agent's own words.
    capabilities: String,
    /// Who to say that we are, likewise.
    client_info: Option<String>,
    /// Requests of `rmcp` that wait for a reply: our id -> its id as text, and the method.
    own: Mutex<HashMap<u64, (String, String)>>,
    /// How many wait, so that the agents' replies need not take the lock.
    waiting: AtomicUsize,
    handshake: Mutex<Handshake>,
    to_rmcp: Mutex<Option<mpsc::Sender<ServerJsonRpcMessage>>>,
}

/// The half that `rmcp` holds.
#[derive(Debug)]
pub(super) struct TapTransport {
    tap: Arc<Tap>,
    from_server: mpsc::Receiver<ServerJsonRpcMessage>,
}

impl Tap {
    pub(super) fn new(link: Link, capabilities: String, client_info: Option<String>) -> Arc<Self> {
        Arc::new(Self {
            link,
            capabilities,
            client_info,
            own: Mutex::default(),
            waiting: AtomicUsize::new(0),
            handshake: Mutex::default(),
            to_rmcp: Mutex::default(),
        })
    }

    /// A way for `rmcp` to shake hands. One that was handed out before is over: what the server still answers to it is
    /// dropped.
    pub(super) fn transport(self: &Arc<Self>) -> TapTransport {
        let (to_rmcp, from_server) = mpsc::channel(TO_RMCP);
        self.own.lock().clear();
        self.waiting.store(0, Ordering::Relaxed);
        *self.to_rmcp.lock() = Some(to_rmcp);
        TapTransport { tap: self.clone(), from_server }
    }

    /// The queue to the server.
    pub(super) fn outbox(&self) -> &Outbox {
        &self.link.outbox
    }

    /// An id of trunkline's own.
    pub(super) fn next_id(&self) -> u64 {
        self.link.next_id()
    }

    /// Whether `rmcp` waits for the reply to this request.
    pub(super) fn is_rmcps(&self, id: u64) -> bool {
        self.own.lock().contains_key(&id)
    }

    /// Brings a message of the server to `rmcp` or to the hub; a ping is answered here. `call` is the request on whose
    /// stream it came, where the wire tells.
    pub(super) fn sort(&self, envelope: &Envelope<'_>, call: Option<u64>, inbound: &impl Fn(Inbound<'_>)) {
        match envelope.kind {
            Kind::Response if self.take_reply(envelope) => {}
            Kind::Request if envelope.method == "ping" => {
                let pong = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, envelope.id);
                if let Err(refused) = self.link.outbox.push(pong.len(), |out| out.extend_from_slice(pong.as_bytes())) {
                    tracing::debug!(?refused, "ping not answered");
                }
            }
            Kind::Request | Kind::Notification | Kind::Response => inbound(Inbound::Message { envelope, call }),
        }
    }

    /// Takes `envelope` if it is a reply to `rmcp`; tells whether it did.
    fn take_reply(&self, envelope: &Envelope<'_>) -> bool {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let Some((id, method)) = envelope.id.parse().ok().and_then(|id: u64| self.own.lock().remove(&id)) else {
            return false;
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        let mut frame = Vec::with_capacity(envelope.frame.len());
        splice(envelope.frame, &mut [envelope.edit(envelope.id, &id)], &mut frame);
        self.handshake.lock().record(&method, envelope.frame);
        match serde_json::from_slice::<ServerJsonRpcMessage>(&frame) {
            Ok(message) => {
                let sender = self.to_rmcp.lock().clone();
                if sender.is_none_or(|sender| sender.try_send(message).is_err()) {
                    tracing::debug!(method, "rmcp no longer waits for this reply");
                }
            }
            Err(error) => {
                self.handshake.lock().unreadable = Some(format!("its reply to `{method}` cannot be read: {error}"));
                self.close();
            }
        }
        true
    }

    /// What the handshake brought so far.
    pub(super) fn handshake(&self) -> Handshake {
        self.handshake.lock().clone()
    }

    /// Tells `rmcp` that the server is gone.
    pub(super) fn close(&self) {
        self.to_rmcp.lock().take();
    }

    fn send(&self, message: &ClientJsonRpcMessage) -> io::Result<()> {
        let frame = serde_json::to_string(message)?;
        let envelope = Envelope::parse(frame.as_bytes()).map_err(io::Error::other)?;
        let id = self.link.next_id();
        let ours = id.to_string();
        let mut edits: Vec<Edit<'_>> = Vec::new();
        if !envelope.method.is_empty() && !envelope.id.is_empty() {
            self.own.lock().insert(id, (envelope.id.to_owned(), envelope.method.clone().into_owned()));
            self.waiting.fetch_add(1, Ordering::Relaxed);
            edits.push(envelope.edit(envelope.id, &ours));
        }
        let params = &envelope.params;
        let own_words =
            [(params.capabilities, Some(&self.capabilities)), (params.client_info, self.client_info.as_ref())];
        if envelope.method == "initialize" {
            let replaced = own_words.into_iter().filter_map(|(part, with)| Some(envelope.edit(part?, with?)));
            edits.extend(replaced);
        }
        self.link.outbox.push(frame.len(), |out| splice(&frame, &mut edits, out)).map_err(|refused| match refused {
            Refused::Full => io::Error::new(io::ErrorKind::WouldBlock, "the server does not read its input"),
            Refused::Closed => io::ErrorKind::BrokenPipe.into(),
        })
    }
}

impl Transport<RoleClient> for TapTransport {
    type Error = io::Error;

    fn send(&mut self, item: ClientJsonRpcMessage) -> impl Future<Output = io::Result<()>> + Send + 'static {
        std::future::ready(self.tap.send(&item))
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        self.from_server.recv().await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.from_server.close();
        Ok(())
    }
}

/// Ids for everything that goes to one server, `rmcp`'s requests and the agents' alike.
#[derive(Debug, Clone, Default)]
pub(super) struct Ids(Arc<AtomicU64>);

impl Ids {
    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}
