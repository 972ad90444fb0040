//! One instance as the hub sees it: what agents send to it, with ids of its own.

mod own;
mod shown;

pub use own::Call;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OnceCell, watch};

use super::bridge::initialize_result;
use super::crashes::tool_of;
use super::fetch::Lists;
use super::following::TaskTools;
use super::lane::Lane;
use super::listener::Listening;
use super::recall::greeting;
use super::registry::Upstream;
use super::session::{Session, SessionId};
use super::storm::Storms;
use super::table::{Owner, Pending, Repeat, Table, Then};
use crate::envelope::reply::{self, code};
use crate::envelope::{Edit, Envelope};
use crate::era::{Class, Dialect, Era, Speech};
use crate::upstream::catalog::Audience;
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
    pub(super) lane: Arc<Lane>,
    pub(super) lists: Lists,
    pub(super) listening: Listening,
    pub(super) storms: Storms,
    /// It takes no new calls.
    draining: AtomicBool,
    instance: OnceLock<Served>,
    pub(super) task_tools: TaskTools,
    /// The roots that the server was told last, where trunkline told it.
    pub(super) told_roots: watch::Sender<Option<Arc<str>>>,
    /// Set when it has had the time to look at them, or will not ask for any. No call is faster.
    pub(super) roots_read: OnceCell<()>,
    /// The agent that it was started for, if it was for one.
    pub(super) starter: Option<SessionId>,
}

/// An instance, and whom it serves.
#[derive(Debug)]
struct Served {
    instance: Instance,
    audience: Audience,
    owner: Option<SessionId>,
}

impl Line {
    pub fn new(upstream: &Arc<Upstream>, link: Link, starter: Option<SessionId>) -> Arc<Self> {
        Arc::new(Self {
            upstream: Arc::downgrade(upstream),
            name: upstream.name.clone(),
            link,
            table: Mutex::default(),
            lane: upstream.lane.clone(),
            lists: Lists::default(),
            listening: Listening::default(),
            storms: Storms::default(),
            draining: AtomicBool::new(false),
            instance: OnceLock::new(),
            task_tools: TaskTools::default(),
            told_roots: watch::Sender::new(None),
            roots_read: OnceCell::new(),
            starter,
        })
    }

    /// Gives the line its instance, once.
    pub fn set_instance(&self, instance: Instance, audience: Audience, owner: Option<SessionId>) {
        if let Err(Served { instance, .. }) = self.instance.set(Served { instance, audience, owner }) {
            instance.stop();
        }
        if !self.may_ask_roots_first() {
            // It is set once, here or by who waits.
            drop(self.roots_read.set(()));
        }
    }

    pub fn instance(&self) -> Option<&Instance> {
        self.instance.get().map(|served| &served.instance)
    }

    /// For whom the instance was started.
    pub fn audience(&self) -> Option<&Audience> {
        self.instance.get().map(|served| &served.audience)
    }

    /// The one session that the instance belongs to, if it belongs to one.
    pub fn owner(&self) -> Option<SessionId> {
        self.instance.get().and_then(|served| served.owner)
    }

    pub fn dialect(&self) -> Option<&Dialect> {
        self.audience().map(|audience| &audience.dialect)
    }

    pub fn era(&self) -> Era {
        self.instance().map_or(Era::Legacy, |instance| instance.era)
    }

    /// What the server answers `initialize` with, under this id; in the modern era, what it would.
    pub(super) fn greeting(&self, id: &str, version: &str) -> Option<String> {
        let handshake = self.handshake()?;
        match self.era() {
            Era::Legacy => greeting(handshake.initialize.as_deref()?, id, version),
            Era::Modern => {
                let result = initialize_result(handshake.discover.as_deref()?, version, self.name.as_str())?;
                Some(reply::result(id, &result))
            }
        }
    }

    pub fn handshake(&self) -> Option<&Handshake> {
        self.instance().map(|instance| &instance.handshake)
    }

    /// Whether it can take what an agent says so that joined it when it was of `class`: directly, or across the eras.
    pub fn serves(&self, server: &str, speech: &Speech, class: &Arc<Class>) -> bool {
        let promised = match self.dialect() {
            Some(Dialect::Legacy(_)) => Arc::ptr_eq(class, speech.class()) || class == speech.class(),
            Some(Dialect::Modern) => true,
            None => false,
        };
        promised && self.name.as_str() == server && !self.is_draining() && self.roots_read.initialized()
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Takes no more calls. Those who have it look for another; what is in flight goes on.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn stop(&self) {
        if let Some(instance) = self.instance() {
            instance.stop();
        }
    }

    /// Whether it may not have a call of this agent's now: it carries one at a time, and has one; or a question of the
    /// server's could be for a call that another agent has cancelled.
    pub(super) fn is_taken(&self, session: Option<SessionId>) -> bool {
        if self.era() != Era::Legacy || !self.lane.is_careful() {
            return false;
        }
        let table = self.table.lock();
        self.lane.is_narrow() && table.calls() > 0 || table.lingers_for_another(session)
    }

    pub fn is_closed(&self) -> bool {
        self.link.outbox.is_closed()
    }

    /// Sends an agent's request on, under an id of this line's own. `edits` are the view's: a name, a URI.
    pub fn request(
        &self,
        session: &Arc<Session>,
        envelope: &Envelope<'_>,
        edits: Vec<Edit<'_>>,
        then: Then,
    ) -> Result<(), Refused> {
        let repeat = Repeat::may_be_kept(envelope).then(|| {
            let edits = edits.iter().map(|edit| (edit.at.clone(), edit.with.to_owned())).collect();
            Box::new(Repeat { frame: envelope.frame.into(), edits, then: then.clone() })
        });
        self.request_with(session, envelope, edits, then, repeat)
    }

    fn request_with(
        &self,
        session: &Arc<Session>,
        envelope: &Envelope<'_>,
        edits: Vec<Edit<'_>>,
        then: Then,
        repeat: Option<Box<Repeat>>,
    ) -> Result<(), Refused> {
        let id = self.link.next_id();
        let ours = id.to_string();
        let mut crossing = self.cross(session, envelope, &edits, &ours);
        if crossing.as_mut().is_some_and(|crossing| !crossing.across.weigh(session)) {
            return Err(Refused::OverBudget);
        }
        let token = envelope.params.meta.progress_token.filter(|token| *token != "null");
        let (more, across) = match crossing {
            Some(crossing) => (crossing.edits, Some(crossing.across)),
            None => (token.map(|token| (envelope.span(token), ours.clone())).into_iter().collect(), None),
        };
        let mut edits = edits;
        edits.push(envelope.edit(envelope.id, &ours));
        edits.extend(more.iter().map(|(at, with)| Edit { at: at.clone(), with }));
        let owner = Owner::Agent { session: session.clone(), id: envelope.id.into(), token: token.map(Into::into) };
        let tool = tool_of(envelope, &edits);
        self.table.lock().insert(id, Pending { across, tool, ..Pending::new(owner, then, repeat) });
        match self.link.outbox.push_edited(envelope, &mut edits) {
            // Where it was taken out already, the instance ended meanwhile, and the agent knows.
            Err(_) if self.table.lock().remove(id).is_none() => Ok(()),
            sent => sent,
        }
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
        if let Err(refused) = sent {
            session.reply(envelope.id, &self.not_sent(envelope.id, refused));
        }
    }

    /// Sends what another instance did not live to answer; but for a subscription, it is not sent a third time.
    pub(super) fn request_again(&self, session: &Arc<Session>, repeat: &Repeat) {
        let Ok(envelope) = Envelope::parse(repeat.frame.as_bytes()) else { return };
        let listens = matches!(repeat.then, Then::Listen | Then::ListenAgain);
        let again = listens.then(|| Box::new(repeat.clone()));
        let edits = repeat.edits.iter().map(|(at, with)| Edit { at: at.clone(), with }).collect();
        if let Err(refused) = self.request_with(session, &envelope, edits, repeat.then.clone(), again) {
            session.reply(envelope.id, &self.not_sent(envelope.id, refused));
        }
    }

    pub(super) fn not_sent(&self, id: &str, refused: Refused) -> String {
        match refused {
            Refused::Full => {
                let waiting = self.link.outbox.waiting();
                let message = format!("server `{}` does not read its input: {waiting} bytes wait for it", self.name);
                reply::error(id, code::INTERNAL, &message)
            }
            Refused::OverBudget => {
                let message = format!(
                    "server `{}` cannot be sent more now: as much waits of this agent, or in the whole daemon, as may (max_memory)",
                    self.name
                );
                reply::error(id, code::INTERNAL, &message)
            }
            Refused::Closed => {
                let message = format!("server `{}` stopped: {}", self.name, self.closed_reason());
                reply::error(id, code::CONNECTION_CLOSED, &message)
            }
        }
    }

    pub fn closed_reason(&self) -> Arc<str> {
        self.table.lock().closed.clone().unwrap_or_else(|| "it is shutting down".into())
    }

    /// Sends a frame that needs no answer, with edits.
    pub fn notify(&self, envelope: &Envelope<'_>, edits: &mut [Edit<'_>]) {
        self.link.note_notice();
        let sent = self.link.outbox.push_edited(envelope, edits);
        if let Err(refused) = sent {
            tracing::debug!(server = %self.name, ?refused, method = %envelope.method, "message to the server dropped");
        }
    }

    /// Gives the server an answer in trunkline's words.
    pub(super) fn answer_text(&self, frame: &str) {
        if let Err(refused) = self.notify_text(frame) {
            tracing::debug!(server = %self.name, ?refused, "answer to the server dropped");
        }
    }

    /// Sends a frame that needs no answer.
    fn notify_text(&self, frame: &str) -> Result<(), Refused> {
        self.link.note_notice();
        self.push(frame)
    }

    fn push(&self, frame: &str) -> Result<(), Refused> {
        self.link.outbox.push(frame.len(), |out| out.extend_from_slice(frame.as_bytes()))
    }

    pub(super) fn send_cancelled(self: &Arc<Self>, id: u64, reason: &str) -> Result<(), Refused> {
        if !self.cancel_task(id) {
            return Ok(());
        }
        let params = format!(r#"{{"requestId":{id},"reason":"{reason}"}}"#);
        let sent = self.notify_text(&reply::notification("notifications/cancelled", &params));
        // Also where the server does not read now: the call is over some time all the same.
        if sent != Err(Refused::Closed) && self.table.lock().get(id).is_some_and(|pending| pending.cancelled.is_some())
        {
            self.let_linger(id);
        }
        sent
    }

    /// Passes on an agent's cancellation if it names a call of that agent on this line.
    pub fn cancel(self: &Arc<Self>, session: &Session, envelope: &Envelope<'_>) -> bool {
        let Some(raw) = envelope.params.request_id else { return false };
        let mut table = self.table.lock();
        let Some(id) = table.find(session.id, raw) else { return false };
        table.note_cancelled(id);
        drop(table);
        session.over(raw);
        if self.cancel_task(id) {
            let ours = id.to_string();
            self.notify(envelope, &mut [envelope.edit(raw, &ours)]);
            self.let_linger(id);
        }
        true
    }

    /// Gives the server the answer of the agent that it asked, under the id that it asked with.
    pub fn answer(&self, id: &str, envelope: &Envelope<'_>) {
        self.table.lock().asked.remove(id);
        self.notify(envelope, &mut [envelope.edit(envelope.id, id)]);
    }

    /// Tells the server that a question will not be answered.
    pub fn refuse(&self, server_id: &str, message: &str) {
        self.table.lock().asked.remove(server_id);
        tracing::debug!(server = %self.name, message, "refused what the server asks");
        if let Err(refused) = self.notify_text(&reply::error(server_id, code::INTERNAL, message)) {
            tracing::debug!(server = %self.name, ?refused, "refusal dropped");
        }
    }

    /// Ends the calls that have taken longer than `limit`, in words that name the server.
    pub(super) fn expire(self: &Arc<Self>, elapsed: Duration, limit: Duration) {
        let overdue = self.table.lock().overdue(elapsed, limit);
        for id in overdue {
            let owner = self.table.lock().give_up(id);
            let message = format!("server `{}` did not answer within {limit:?} (call_timeout)", self.name);
            if let Err(refused) = self.send_cancelled(id, "call_timeout") {
                tracing::debug!(server = %self.name, ?refused, "cancellation dropped");
            }
            match owner {
                Some(Owner::Agent { session, id, .. }) => {
                    session.reply(&id, &reply::error(&id, code::TIMEOUT, &message));
                }
                Some(Owner::Daemon(sender)) => drop(sender.send(Err(message.into()))),
                Some(
                    Owner::Gone(_)
                    | Owner::Resting(_)
                    | Owner::Hub(_)
                    | Owner::Listener
                    | Owner::Fence(_)
                    | Owner::Nobody,
                )
                | None => {}
            }
        }
    }
}
