//! One instance as the hub sees it: what agents send to it, with ids of its own.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::catalog::Catalog;
use super::level::Level;
use super::registry::Upstream;
use super::reply::{self, code};
use super::session::{Question, Session, SessionId};
use super::table::{Answer, Owner, Pending, Table, Then};
use crate::envelope::{Edit, Envelope, splice};
use crate::era::{Dialect, Era};
use crate::upstream::{Handshake, Instance, Link};
use crate::wire::Refused;

/// How long a request waits for a server that does not read its input.
const ROOM_WAIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Line {
    pub upstream: Weak<Upstream>,
    pub(super) name: crate::names::ServerName,
    pub(super) link: Link,
    pub(super) table: Mutex<Table>,
    pub catalog: Catalog,
    instance: OnceLock<(Instance, Dialect)>,
}

impl Line {
    pub fn new(upstream: &Arc<Upstream>, link: Link) -> Arc<Self> {
        Arc::new(Self {
            upstream: Arc::downgrade(upstream),
            name: upstream.name.clone(),
            link,
            table: Mutex::default(),
            catalog: Catalog::default(),
            instance: OnceLock::new(),
        })
    }

    /// Gives the line its instance, once.
    pub fn set_instance(&self, instance: Instance, dialect: Dialect) {
        if let Err((instance, _)) = self.instance.set((instance, dialect)) {
            instance.stop();
        }
    }

    pub fn instance(&self) -> Option<&Instance> {
        self.instance.get().map(|(instance, _)| instance)
    }

    pub fn dialect(&self) -> Option<&Dialect> {
        self.instance.get().map(|(_, dialect)| dialect)
    }

    pub fn era(&self) -> Era {
        self.instance().map_or(Era::Legacy, |instance| instance.era)
    }

    pub fn handshake(&self) -> Option<&Handshake> {
        self.instance().map(|instance| &instance.handshake)
    }

    pub fn serves(&self, server: &str, era: Era) -> bool {
        self.name.as_str() == server && self.era() == era
    }

    pub fn is_closed(&self) -> bool {
        self.link.outbox.is_closed()
    }

    /// Lets a session use the line.
    pub fn join(self: &Arc<Self>, session: &Arc<Session>) {
        session.add_line(self);
        let mut table = self.table.lock();
        table.members.entry(session.id).or_default().session = Some(session.clone());
    }

    /// Sends an agent's request on, under an id of this line's own. `edits` are the view's: a name, a URI.
    pub fn request(
        &self,
        session: &Arc<Session>,
        envelope: &Envelope<'_>,
        edits: Vec<Edit<'_>>,
        then: Then,
    ) -> Result<(), Refused> {
        let id = self.link.next_id();
        let ours = id.to_string();
        let mut edits = edits;
        edits.push(envelope.edit(envelope.id, &ours));
        let token = envelope.params.meta.progress_token.filter(|token| *token != "null");
        if let Some(token) = token {
            edits.push(envelope.edit(token, &ours));
        }
        let owner = Owner::Agent { session: session.clone(), id: envelope.id.into(), token: token.map(Into::into) };
        self.table.lock().insert(id, Pending::new(owner, then));
        let sent = self.link.outbox.push(envelope.frame.len(), |out| splice(envelope.frame, &mut edits, out));
        if sent.is_err() {
            self.table.lock().remove(id);
        }
        sent
    }

    /// Like [`Line::request`], but waits for room and answers the agent itself if the request cannot be sent.
    pub async fn request_patiently(
        &self,
        session: &Arc<Session>,
        envelope: &Envelope<'_>,
        edits: Vec<Edit<'_>>,
        then: Then,
    ) {
        let mut waited = Ok(());
        let sent = loop {
            match self.request(session, envelope, edits.clone(), then.clone()) {
                Err(Refused::Full) if waited.is_ok() => {
                    waited = tokio::time::timeout(ROOM_WAIT, self.link.outbox.room_for(envelope.frame.len())).await
                }
                other => break other,
            }
        };
        match sent {
            Ok(()) => {}
            Err(Refused::Full) => {
                let message = format!(
                    "server `{}` does not read its input: {} bytes wait for it",
                    self.name,
                    self.link.outbox.waiting()
                );
                session.send_text(&reply::error(envelope.id, code::INTERNAL, &message));
            }
            Err(Refused::Closed) => session.send_text(&self.ended_error(envelope.id)),
        }
    }

    fn ended_error(&self, id: &str) -> String {
        let closed = self.table.lock().closed.clone();
        let message = format!("server `{}` stopped: {}", self.name, closed.as_deref().unwrap_or("it is shutting down"));
        reply::error(id, code::CONNECTION_CLOSED, &message)
    }

    /// Sends a frame that needs no answer, with edits.
    pub fn notify(&self, envelope: &Envelope<'_>, edits: &mut [Edit<'_>]) {
        let sent = self.link.outbox.push(envelope.frame.len(), |out| splice(envelope.frame, edits, out));
        if let Err(refused) = sent {
            tracing::debug!(server = %self.name, ?refused, method = %envelope.method, "message to the server dropped");
        }
    }

    fn notify_text(&self, frame: &str) -> Result<(), Refused> {
        self.link.outbox.push(frame.len(), |out| out.extend_from_slice(frame.as_bytes()))
    }

    /// Asks the server something for the hub itself. `params` is raw JSON, or empty.
    pub fn ask(&self, method: &str, params: &str) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        self.send_own(method, params, Owner::Hub(sender));
        receiver
    }

    /// Calls the server for the daemon: counts as a call in flight, so that nobody else is asked its questions.
    pub fn call(self: &Arc<Self>, method: &str, params: &str) -> Call {
        let (sender, answer) = oneshot::channel();
        let id = self.send_own(method, params, Owner::Daemon(sender));
        Call { line: self.clone(), id, answer }
    }

    /// Sends a request of trunkline's own. If it cannot be sent, its owner is dropped, which tells who waits.
    fn send_own(&self, method: &str, params: &str, owner: Owner) -> u64 {
        let id = self.link.next_id();
        self.table.lock().insert(id, Pending::new(owner, Then::Nothing));
        let params = if params.is_empty() { String::new() } else { format!(r#","params":{params}"#) };
        if self.notify_text(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"{params}}}"#)).is_err() {
            self.table.lock().remove(id);
        }
        id
    }

    fn send_cancelled(&self, id: u64, reason: &str) -> Result<(), Refused> {
        let params = format!(r#"{{"requestId":{id},"reason":"{reason}"}}"#);
        self.notify_text(&reply::notification("notifications/cancelled", &params))
    }

    /// Passes on an agent's cancellation if it names a call of that agent on this line.
    pub fn cancel(&self, session: &Session, envelope: &Envelope<'_>) -> bool {
        let Some(raw) = envelope.params.request_id else { return false };
        let mut table = self.table.lock();
        let Some(id) = table.find(session.id, raw) else { return false };
        table.note_cancelled(id);
        drop(table);
        let ours = id.to_string();
        self.notify(envelope, &mut [envelope.edit(raw, &ours)]);
        true
    }

    /// Notes the level that a session asks for; returns what it had, and what the server must be told, raw.
    pub fn set_level(&self, session: SessionId, level: Level) -> (Option<Level>, &'static str) {
        let mut table = self.table.lock();
        let before = table.members.get_mut(&session).and_then(|member| member.level.replace(level));
        (before, table.server_level(session, level).raw())
    }

    /// Sets the level of a session of the all-servers view.
    pub fn tell_level(&self, session: SessionId, level: Level) {
        let (_, raw) = self.set_level(session, level);
        self.send_own("logging/setLevel", &format!(r#"{{"level":{raw}}}"#), Owner::Nobody);
    }

    pub fn subscribe(&self, session: SessionId, server_uri: &str, agent_uri: &str) {
        if let Some(member) = self.table.lock().members.get_mut(&session)
            && !member.uris.iter().any(|(known, _)| known == server_uri)
        {
            member.uris.push((server_uri.to_owned(), agent_uri.to_owned()));
        }
    }

    /// Ends a session's subscription; tells whether another session still has one, so that the server's must stay.
    pub fn unsubscribe(&self, session: SessionId, server_uri: &str) -> bool {
        let mut table = self.table.lock();
        if let Some(member) = table.members.get_mut(&session) {
            member.uris.retain(|(known, _)| known != server_uri);
        }
        table.subscribed_by_other(session, server_uri)
    }

    /// Gives the server the answer of the agent that it asked.
    pub fn answer(&self, question: &Question, envelope: &Envelope<'_>) {
        self.table.lock().asked.remove(&question.id);
        self.notify(envelope, &mut [envelope.edit(envelope.id, &question.id)]);
    }

    /// Tells the server that a question will not be answered.
    pub fn refuse(&self, server_id: &str, message: &str) {
        self.table.lock().asked.remove(server_id);
        if let Err(refused) = self.notify_text(&reply::error(server_id, code::INTERNAL, message)) {
            tracing::debug!(server = %self.name, ?refused, "refusal dropped");
        }
    }

    /// Undoes what an agent that leaves did here: its calls, its subscriptions.
    pub fn leave(&self, session: &Session) {
        let mut table = self.table.lock();
        let uris = table.members.get(&session.id).map(|member| member.uris.clone()).unwrap_or_default();
        let orphaned: Vec<_> =
            uris.into_iter().filter(|(uri, _)| !table.subscribed_by_other(session.id, uri)).collect();
        let abandoned = table.abandon(session.id);
        drop(table);
        for id in abandoned {
            if self.send_cancelled(id, "the agent left").is_err() {
                return;
            }
        }
        for (uri, _) in orphaned {
            self.send_own(
                "resources/unsubscribe",
                &format!(r#"{{"uri":{}}}"#, crate::envelope::quoted(&uri)),
                Owner::Nobody,
            );
        }
    }

    pub fn in_flight(&self) -> usize {
        self.table.lock().in_flight()
    }

    pub fn session_ids(&self) -> Vec<SessionId> {
        let mut ids: Vec<_> = self.table.lock().sessions().map(|session| session.id).collect();
        ids.sort_unstable();
        ids
    }
}

/// A call of the daemon's own; dropped before its answer, it is cancelled.
#[derive(Debug)]
pub struct Call {
    line: Arc<Line>,
    id: u64,
    pub answer: oneshot::Receiver<Answer>,
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut table = self.line.table.lock();
        if table.get(self.id).is_none() {
            return;
        }
        table.note_cancelled(self.id);
        drop(table);
        if let Err(refused) = self.line.send_cancelled(self.id, "the caller left") {
            tracing::debug!(?refused, "cancellation dropped");
        }
    }
}
