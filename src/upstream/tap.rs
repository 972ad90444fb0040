//! Sits between a wire and the upstream's `rmcp` client: the handshake goes to `rmcp`, the agents' traffic goes past it.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::service::RoleClient;
use rmcp::transport::Transport;
use tokio::sync::mpsc;

use crate::envelope::reply::{self, code};
use crate::envelope::{Edit, Envelope, Kind, Malformed, splice};
use crate::method::Method;
use crate::names::ServerName;
use crate::recording::Direction;
use crate::shown;
use crate::upstream::handshake::{Handshake, tolerated};
use crate::upstream::heard::Heard;
use crate::upstream::ids::respelled;
use crate::upstream::inbound::Inbound;
use crate::upstream::instance_services::InstanceServices;
use crate::upstream::link::Link;
use crate::upstream::quirks::Quirk;
use crate::upstream::salvage::{Lost, Salvaged};
use crate::wire::{Outbox, Refused};

/// How much is shown of a message that is skipped, in bytes.
const SKIPPED: usize = 120;
/// `rmcp` asks one thing at a time while it shakes hands.
const TO_RMCP: usize = 16;

/// The half that the wire holds.
#[derive(Debug)]
pub(super) struct Tap {
    link: Link,
    around: InstanceServices,
    /// How many lines were no messages, and the last of them.
    noise: Mutex<(u64, String)>,
    /// Capabilities to promise in `initialize`, in the agent's own words.
    capabilities: String,
    /// Who to say that we are, likewise.
    client_info: Option<String>,
    /// Requests of `rmcp` that wait for a reply: our id -> its id as text, and the method.
    own: Mutex<HashMap<u64, (String, String)>>,
    /// Something was asked before, whose answer nobody waits for any more.
    abandoned: AtomicBool,
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
    pub(super) fn new(
        link: Link,
        around: InstanceServices,
        capabilities: String,
        client_info: Option<String>,
    ) -> Arc<Self> {
        Arc::new(Self {
            link,
            around,
            noise: Mutex::default(),
            capabilities,
            client_info,
            own: Mutex::default(),
            abandoned: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            handshake: Mutex::default(),
            to_rmcp: Mutex::default(),
        })
    }

    /// A way for `rmcp` to shake hands. One that was handed out before is over: what the server still answers to it is
    /// dropped.
    pub(super) fn transport(self: &Arc<Self>) -> TapTransport {
        let (to_rmcp, from_server) = mpsc::channel(TO_RMCP);
        let mut own = self.own.lock();
        self.abandoned.fetch_or(!own.is_empty(), Ordering::Relaxed);
        own.clear();
        drop(own);
        self.waiting.store(0, Ordering::Relaxed);
        *self.to_rmcp.lock() = Some(to_rmcp);
        TapTransport { tap: self.clone(), from_server }
    }

    /// The name of the server.
    pub(super) fn server(&self) -> &ServerName {
        &self.around.name
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
        if self.link.is_watched() {
            self.link.hear(Direction::FromServer, envelope.frame);
        }
        match envelope.kind {
            Kind::Response => match self.meant(envelope, call) {
                None if self.take_reply(envelope) => {}
                None => inbound(Inbound::Message { envelope, call }),
                Some(id) => self.sort_under(envelope, id, call, inbound),
            },
            Kind::Request if envelope.method == Some(Method::Ping) => {
                self.say(&format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, envelope.id));
            }
            Kind::Request | Kind::Notification => inbound(Inbound::Message { envelope, call }),
        }
    }

    /// Answers the server.
    fn say(&self, answer: &str) {
        if let Err(refused) = self.link.push(answer.len(), |out| out.extend_from_slice(answer.as_bytes())) {
            tracing::debug!(?refused, "the server takes no answer");
        }
    }

    /// Which request a response answers, if its id does not say so in our spelling: one that it says in another, the one on
    /// whose stream it came, or the only one of the handshake.
    pub(super) fn meant(&self, envelope: &Envelope<'_>, call: Option<u64>) -> Option<u64> {
        match envelope.id.parse::<u64>() {
            // What was asked under it may be over.
            Ok(id) if self.link.has_issued(id) => {
                self.link.note_answer(id);
                return None;
            }
            Ok(_) | Err(_) => {}
        }
        if let Some(id) = respelled(envelope.id).filter(|id| self.link.has_issued(*id)) {
            self.note(&Quirk::IdSpelling(envelope.id.to_owned()));
            return Some(id);
        }
        let only = || {
            let own = self.own.lock();
            let mut all = own.keys();
            let only = all.next().copied().filter(|_| all.next().is_none());
            // It may be the late refusal of what was asked first.
            only.filter(|_| envelope.error.is_none() || !self.abandoned.load(Ordering::Relaxed))
        };
        let id = call.or_else(only);
        if id.is_some() {
            self.note(&Quirk::StrangeId(envelope.id.to_owned()));
        }
        id
    }

    /// Sorts a response as if it had come under this id.
    fn sort_under(&self, envelope: &Envelope<'_>, id: u64, call: Option<u64>, inbound: &impl Fn(Inbound<'_>)) {
        let frame = envelope.under(&id.to_string());
        if let Ok(envelope) = Envelope::parse(frame.as_bytes())
            && !self.take_reply(&envelope)
        {
            inbound(Inbound::Message { envelope: &envelope, call });
        }
    }

    /// Notes what was found in bytes that are no message as they are, for this reason; what there is to be done with it.
    pub(super) fn noted(&self, found: Salvaged, error: &Malformed) -> Salvaged {
        let mut found = found;
        if let Malformed::Ambiguous { .. } = error {
            self.note(&Quirk::Ambiguous(error.to_string()));
            found.noise.clear();
        }
        found.quirks.iter().for_each(|quirk| self.note(quirk));
        if !found.noise.is_empty() {
            let alone = found.messages.is_empty() && found.behind_text.is_empty();
            self.note_noise(&found.noise, alone && found.lost.is_none());
        }
        found.lost = found.lost.filter(|lost| lost.is_answer);
        found
    }

    /// Sorts what was heard.
    pub(super) fn sort_heard(&self, heard: Heard, inbound: &impl Fn(Inbound<'_>)) {
        match heard {
            Heard::Message(message) => self.sort(message.envelope(), None, inbound),
            Heard::Other { found, error } => self.sort_rest(found, &error, inbound),
        }
    }

    /// Sorts what was found in bytes that are no message as they are, for this reason.
    pub(super) fn sort_rest(&self, found: Salvaged, error: &Malformed, inbound: &impl Fn(Inbound<'_>)) {
        let Salvaged { messages, behind_text, lost, .. } = self.noted(found, error);
        if let Malformed::Ambiguous { id: Some(_), .. } = error {
            // A question, which waits for an answer.
            self.say(&error.refusal());
        }
        for message in &messages {
            if let Ok(envelope) = Envelope::parse(message.as_bytes()) {
                self.sort(&envelope, None, inbound);
            }
        }
        for message in &behind_text {
            let Ok(envelope) = Envelope::parse(message.as_bytes()) else { continue };
            // Before the handshake is over, nobody else can have said anything that the server writes down.
            if envelope.kind == Kind::Response && self.waiting.load(Ordering::Relaxed) > 0 {
                self.sort(&envelope, None, inbound);
            } else {
                inbound(Inbound::BehindText(&envelope));
            }
        }
        if let Some(lost) = lost {
            self.lose(&lost, &error.to_string(), inbound);
        }
    }

    /// An answer came that cannot be read: its request fails.
    pub(super) fn lose(&self, lost: &Lost, error: &str, inbound: &impl Fn(Inbound<'_>)) {
        self.note(&Quirk::Unreadable(error.to_owned()));
        let id = lost.id.as_deref().and_then(respelled).filter(|id| self.link.has_issued(*id));
        let own = self.own.lock();
        let is_own = id.map_or(!own.is_empty(), |id| own.contains_key(&id));
        drop(own);
        if is_own {
            self.handshake.lock().unreadable = Some(format!("its answer to the handshake cannot be read: {error}"));
            self.close();
        } else {
            inbound(Inbound::Unreadable { id, reason: error });
        }
    }

    /// Answers a request of the server that was passed over.
    pub(super) fn refuse(&self, id: &str, error: &str) {
        let refusal = reply::error(id, code::INTERNAL, &format!("this request was not passed on: {error}"));
        if let Err(refused) = self.link.push(refusal.len(), |out| out.extend_from_slice(refusal.as_bytes())) {
            tracing::debug!(server = %self.server(), ?refused, "refusal dropped");
        }
    }

    /// Tells once what the server does that it should not.
    pub(super) fn note(&self, quirk: &Quirk) {
        self.around.note(quirk);
    }

    /// Puts into the server's log that a message was passed over, and how it begins.
    pub(super) fn note_skipped(&self, why: &str, head: &[u8]) {
        let head = &head[..head.len().min(SKIPPED)];
        let begins = shown::line(&String::from_utf8_lossy(head)).into_owned();
        self.around.log.push(&format!("trunkline: a message is skipped: {why}; it begins with: {begins}"));
    }

    fn note_noise(&self, line: &str, alone: bool) {
        self.around.log.push(&format!("[no message] {line}"));
        if self.link.is_watched() {
            self.link.hear(Direction::FromServer, line);
        }
        let mut noise = self.noise.lock();
        *noise = (noise.0 + 1, line.to_owned());
        drop(noise);
        if alone {
            self.note(&Quirk::Noise(line.to_owned()));
        }
    }

    /// What it wrote that is no message, for an error message; empty if nothing.
    pub(super) fn quoted_noise(&self) -> String {
        let (count, last) = &*self.noise.lock();
        match count {
            0 => String::new(),
            1 => format!("; it wrote a line on standard output that is no message: {last}"),
            _ => format!("; it wrote {count} lines on standard output that are no messages; the last: {last}"),
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
        self.handshake.lock().record(&method, envelope.frame);
        let (frame, wrong) = tolerated(envelope, &method);
        wrong.into_iter().for_each(|wrong| self.note(&Quirk::HandshakeShape(wrong)));
        let under = Envelope::parse(frame.as_bytes()).map(|envelope| envelope.under(&id)).unwrap_or_default();
        match serde_json::from_str::<ServerJsonRpcMessage>(&under) {
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
        if envelope.kind == Kind::Notification {
            self.link.note_notice();
        } else if !envelope.method_name.is_empty() && !envelope.id.is_empty() {
            self.own.lock().insert(id, (envelope.id.to_owned(), envelope.method_name.clone().into_owned()));
            self.waiting.fetch_add(1, Ordering::Relaxed);
            edits.push(envelope.edit(envelope.id, &ours));
        }
        let params = &envelope.params;
        let own_words =
            [(params.capabilities, Some(&self.capabilities)), (params.client_info, self.client_info.as_ref())];
        if envelope.method == Some(Method::Initialize) {
            let replaced = own_words.into_iter().filter_map(|(part, with)| Some(envelope.edit(part?, with?)));
            edits.extend(replaced);
        }
        self.link.push(frame.len(), |out| splice(&frame, &mut edits, out)).map_err(|refused| match refused {
            Refused::Full | Refused::OverBudget => {
                io::Error::new(io::ErrorKind::WouldBlock, "the server does not read its input")
            }
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
