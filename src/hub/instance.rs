//! One instance as the hub sees it: what agents send to it, with ids of its own.

pub(in crate::hub) mod attach_and_detach;
pub(in crate::hub) mod attribution;
pub(in crate::hub) mod calls;
pub(in crate::hub) mod cancelling;
pub(in crate::hub) mod change_storms;
pub(in crate::hub) mod lists;
pub(in crate::hub) mod one_at_a_time;
mod order;
pub(super) mod own_requests;
pub(in crate::hub) mod own_subscription;
pub(in crate::hub) mod recorded;
pub(in crate::hub) mod subscription_state;
pub(in crate::hub) mod task_tools;
mod traced;
pub(in crate::hub) mod translate;
mod turns;
pub(in crate::hub) mod usage;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OnceCell, watch};

use crate::envelope::reply::{self, code};
use crate::envelope::{Edit, Envelope};
use crate::era::{AgentTerms, ClientProfile, Era, InstanceTerms};
use crate::hub::eras;
use crate::hub::eras::initialize_result;
use crate::hub::ids::{InstanceId, SessionId};
use crate::hub::instance::calls::Calls;
use crate::hub::instance::calls::pending_call::{Caller, OnReply, PendingCall, Repeat};
use crate::hub::instance::calls::tool::subject_of;
use crate::hub::instance::change_storms::Storms;
use crate::hub::instance::lists::Lists;
use crate::hub::instance::one_at_a_time::OneAtATime;
use crate::hub::instance::order::{may_wait, stays_in_order};
use crate::hub::instance::recorded::{Records, ended};
use crate::hub::instance::subscription_state::OwnSubscription;
use crate::hub::instance::task_tools::TaskTools;
use crate::hub::session::Session;
use crate::method::Method;
use crate::names::ServerName;
use crate::upstream::catalog::Audience;
use crate::upstream::{Connection, Handshake, InstanceServices, Link};
use crate::wire::{Refused, Sent};

/// How long a request waits for a server that does not read its input.
const ROOM_WAIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Instance {
    pub id: InstanceId,
    pub(in crate::hub) name: ServerName,
    pub(in crate::hub) around: InstanceServices,
    pub(in crate::hub) link: Link,
    pub(in crate::hub) calls: Mutex<Calls>,
    pub(in crate::hub) one_at_a_time: Arc<OneAtATime>,
    pub(in crate::hub) lists: Lists,
    pub(in crate::hub) listening: OwnSubscription,
    pub(in crate::hub) storms: Storms,
    /// It takes no new calls.
    draining: AtomicBool,
    /// Told when a call is over while it drains, and when it ends.
    idle: Notify,
    served: OnceLock<Served>,
    /// Whether a legacy server can make tasks of calls.
    makes_tasks: OnceLock<bool>,
    pub(in crate::hub) task_tools: Arc<TaskTools>,
    /// The roots that the server was told last, where trunkline told it.
    pub(in crate::hub) told_roots: watch::Sender<Option<Arc<str>>>,
    /// Set when it has had the time to look at them, or will not ask for any. No call is faster.
    pub(in crate::hub) roots_read: OnceCell<()>,
    /// The agent that it was started for, if it was for one.
    pub(in crate::hub) starter: Option<SessionId>,
}

/// An instance, and whom it serves.
#[derive(Debug)]
struct Served {
    connection: Connection,
    audience: Audience,
    owner: Option<SessionId>,
}

impl Instance {
    /// An instance that is about to be started; `lane` and `task_tools` are those of its server.
    pub(in crate::hub) fn new(
        around: InstanceServices,
        one_at_a_time: Arc<OneAtATime>,
        task_tools: Arc<TaskTools>,
        link: Link,
        starter: Option<SessionId>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: InstanceId::next(),
            name: around.name.clone(),
            around,
            link,
            calls: Mutex::default(),
            one_at_a_time,
            lists: Lists::default(),
            listening: OwnSubscription::default(),
            storms: Storms::default(),
            draining: AtomicBool::new(false),
            idle: Notify::new(),
            served: OnceLock::new(),
            makes_tasks: OnceLock::new(),
            task_tools,
            told_roots: watch::Sender::new(None),
            roots_read: OnceCell::new(),
            starter,
        })
    }

    /// Gives it its connection, once.
    pub(in crate::hub) fn set_connection(&self, connection: Connection, audience: Audience, owner: Option<SessionId>) {
        if let Err(Served { connection, .. }) = self.served.set(Served { connection, audience, owner }) {
            connection.stop();
        }
    }

    pub fn connection(&self) -> Option<&Connection> {
        self.served.get().map(|served| &served.connection)
    }

    /// Its calls, on their way into the record.
    pub(in crate::hub) fn records(&self) -> Records<'_> {
        Records::of(&self.around, self.connection().and_then(|connection| connection.pid))
    }

    /// For whom the instance was started.
    pub fn audience(&self) -> Option<&Audience> {
        self.served.get().map(|served| &served.audience)
    }

    /// The one session that the instance belongs to, if it belongs to one.
    pub fn owner(&self) -> Option<SessionId> {
        self.served.get().and_then(|served| served.owner)
    }

    pub fn instance_terms(&self) -> Option<&InstanceTerms> {
        self.audience().map(|audience| &audience.instance_terms)
    }

    pub fn era(&self) -> Era {
        self.connection().map_or(Era::Legacy, |connection| connection.era)
    }

    /// What the server answers `initialize` with, under this id; in the modern era, what it would.
    pub(in crate::hub) fn greeting(&self, id: &str, version: &str) -> Option<String> {
        let handshake = self.handshake()?;
        match self.era() {
            Era::Legacy => eras::greeting(handshake.initialize.as_deref()?, id, version),
            Era::Modern => {
                let result = initialize_result(handshake.discover.as_deref()?, version, self.name.as_str())?;
                Some(reply::result(id, &result))
            }
        }
    }

    pub fn handshake(&self) -> Option<&Handshake> {
        self.connection().map(|connection| &connection.handshake)
    }

    /// Whether it can take what an agent says so that joined it when it was of `profile`: directly, or across the eras.
    pub fn serves(&self, terms: &AgentTerms, profile: &Arc<ClientProfile>) -> bool {
        let promised = match self.instance_terms() {
            Some(InstanceTerms::Legacy(_)) => Arc::ptr_eq(profile, terms.profile()) || profile == terms.profile(),
            Some(InstanceTerms::Modern) => true,
            None => false,
        };
        promised && !self.is_draining() && !self.is_closed() && self.roots_read.initialized()
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Waits until it has no calls, or has ended.
    pub(in crate::hub) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.in_flight() == 0 || self.is_closed() {
                return;
            }
            idle.await;
        }
    }

    /// Takes no more calls. Those who have it look for another; what is in flight goes on.
    pub(in crate::hub) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(in crate::hub) fn stop(&self) {
        if let Some(connection) = self.connection() {
            connection.stop();
        }
    }

    /// Whether it may not have a call of this agent's now: it carries one at a time, and has one; or a question of the
    /// server's could be for a call that another agent has cancelled.
    pub(in crate::hub) fn is_busy(&self, session: Option<SessionId>) -> bool {
        if self.era() != Era::Legacy || !self.one_at_a_time.is_careful() {
            return false;
        }
        let calls = self.calls.lock();
        self.one_at_a_time.is_serialized() && calls.calls() > 0 || calls.lingers_for_another(session)
    }

    pub fn is_closed(&self) -> bool {
        self.link.outbox.is_closed()
    }

    /// Sends an agent's request on, under an id of this instance's own. `edits` are the view's: a name, a URI.
    pub fn request(
        self: &Arc<Self>,
        session: &Arc<Session>,
        envelope: &Envelope<'_>,
        edits: Vec<Edit<'_>>,
        on_reply: OnReply,
    ) -> Result<(), Refused> {
        let repeat = Repeat::may_be_kept(envelope).then(|| {
            let edits = edits.iter().map(|edit| (edit.at.clone(), edit.with.to_owned())).collect();
            Box::new(Repeat { frame: envelope.frame.into(), edits, on_reply: on_reply.clone() })
        });
        self.request_with(session, envelope, edits, on_reply, repeat)
    }

    fn request_with(
        self: &Arc<Self>,
        session: &Arc<Session>,
        envelope: &Envelope<'_>,
        edits: Vec<Edit<'_>>,
        on_reply: OnReply,
        repeat: Option<Box<Repeat>>,
    ) -> Result<(), Refused> {
        let id = self.link.next_id();
        let ours = id.to_string();
        let mut translated = self.translate(session, envelope, &edits, &ours);
        if translated.as_mut().is_some_and(|translated| !translated.translation.weigh(session)) {
            return Err(Refused::OverBudget);
        }
        let token = envelope.params.meta.progress_token.filter(|token| *token != "null");
        let subject = subject_of(envelope, &edits);
        let begun = (on_reply != OnReply::Listen).then(|| self.records().begin(session, envelope, subject.clone()));
        let (mut more, translation) = match translated {
            Some(translated) => (translated.edits, Some(translated.translation)),
            None => (token.map(|token| (envelope.span(token), ours.clone())).into_iter().collect(), None),
        };
        if let Some(span) = begun.as_ref().and_then(|begun| begun.span.as_ref()).filter(|_| translation.is_none()) {
            more.extend(traced::edit(envelope, span));
        }
        let mut edits = edits;
        edits.push(envelope.edit(envelope.id, &ours));
        edits.extend(more.iter().map(|(at, with)| Edit { at: at.clone(), with }));
        let owner = Caller::Agent { session: session.clone(), id: envelope.id.into(), token: token.map(Into::into) };
        let tool = subject.filter(|_| envelope.method == Some(Method::CallTool));
        let pending = PendingCall { translation, tool, begun, ..PendingCall::new(owner, on_reply, repeat) };
        let waits = self.begin_call(id, pending, may_wait(envelope));
        let sending = session.sending();
        let by = if stays_in_order(envelope) { self.link.outbox.account() } else { &sending };
        match self.link.push_edited(Sent { by, request: Some(id), waits }, envelope, &mut edits) {
            // Where it was taken out already, the instance ended meanwhile, and the agent knows.
            Err(_) if self.calls.lock().remove(id).is_none() => Ok(()),
            sent => sent,
        }
    }

    /// Like [`Instance::request`], but waits for room and answers the agent itself if the request cannot be sent.
    pub async fn request_patiently(
        self: &Arc<Self>,
        session: &Arc<Session>,
        envelope: &Envelope<'_>,
        edits: Vec<Edit<'_>>,
        on_reply: OnReply,
    ) {
        let mut waited = Ok(());
        let sent = loop {
            match self.request(session, envelope, edits.clone(), on_reply.clone()) {
                Err(Refused::Full) if waited.is_ok() => {
                    let room = async {
                        self.link.outbox.room_for(envelope.frame.len()).await;
                        session.sending().room_for(envelope.frame.len()).await;
                        self.link.outbox.account().room_for(envelope.frame.len()).await;
                    };
                    waited = tokio::time::timeout(ROOM_WAIT, room).await;
                }
                other => break other,
            }
        };
        if let Err(refused) = sent {
            let refusal = self.not_sent(envelope.id, refused);
            self.records().refused(session, envelope, &edits, &refusal);
            session.reply(envelope.id, &refusal);
        }
    }

    /// Sends what another instance did not live to answer; but for a subscription, it is not sent a third time.
    pub(in crate::hub) fn request_again(self: &Arc<Self>, session: &Arc<Session>, repeat: &Repeat) {
        let Ok(envelope) = Envelope::parse(repeat.frame.as_bytes()) else { return };
        let listens = matches!(repeat.on_reply, OnReply::Listen | OnReply::ListenAgain);
        let again = listens.then(|| Box::new(repeat.clone()));
        let edits = repeat.edits.iter().map(|(at, with)| Edit { at: at.clone(), with }).collect();
        if let Err(refused) = self.request_with(session, &envelope, edits, repeat.on_reply.clone(), again) {
            session.reply(envelope.id, &self.not_sent(envelope.id, refused));
        }
    }

    pub(in crate::hub) fn not_sent(&self, id: &str, refused: Refused) -> String {
        match refused {
            Refused::Full if self.link.outbox.unread() > 0 => {
                let waiting = self.link.outbox.unread();
                let message = format!("server `{}` does not read its input: {waiting} bytes wait for it", self.name);
                reply::error(id, code::INTERNAL, &message)
            }
            Refused::Full | Refused::OverBudget => {
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
        self.calls.lock().closed.clone().unwrap_or_else(|| "it is shutting down".into())
    }

    /// Sends a frame of an agent that needs no answer, with edits.
    pub fn notify(&self, session: &Session, envelope: &Envelope<'_>, edits: &mut [Edit<'_>]) {
        self.link.note_notice();
        let sending = session.sending();
        let by = if stays_in_order(envelope) { self.link.outbox.account() } else { &sending };
        let sent = self.link.push_edited(Sent { by, request: None, waits: false }, envelope, edits);
        if let Err(refused) = sent {
            tracing::debug!(server = %self.name, ?refused, method = %envelope.method_name, "message to the server dropped");
        }
    }

    /// Gives the server an answer in trunkline's words.
    pub(in crate::hub) fn answer_text(&self, frame: &str) {
        if let Err(refused) = self.notify_text(frame) {
            tracing::debug!(server = %self.name, ?refused, "answer to the server dropped");
        }
    }

    /// Sends a frame that needs no answer.
    pub(in crate::hub) fn notify_text(&self, frame: &str) -> Result<(), Refused> {
        self.link.note_notice();
        self.push(frame)
    }

    pub(in crate::hub) fn push(&self, frame: &str) -> Result<(), Refused> {
        self.link.push(frame.len(), |out| out.extend_from_slice(frame.as_bytes()))
    }

    /// Gives the server the answer of the agent that it asked, under the id that it asked with.
    pub fn answer(&self, session: &Session, id: &str, envelope: &Envelope<'_>) {
        let mut calls = self.calls.lock();
        let ours = envelope.id.parse().ok();
        let is_it = |(whose, question, _): &&(Arc<Session>, u64, _)| whose.id == session.id && Some(*question) == ours;
        let Some((_, _, call)) = calls.asked.get(id).filter(is_it).cloned() else {
            tracing::debug!(server = %self.name, session = session.id.0, "dropped an answer to what is not asked any more");
            return;
        };
        calls.asked.remove(id);
        if let Some(task) = envelope.result.and_then(eras::begun) {
            calls.agents_tasks.note(&task, session.id);
        }
        calls.end_question(call, ended(envelope));
        drop(calls);
        self.notify(session, envelope, &mut [envelope.edit(envelope.id, id)]);
    }

    /// Tells the server that a question will not be answered.
    pub fn refuse(&self, server_id: &str, message: &str) {
        self.calls.lock().asked.remove(server_id);
        tracing::debug!(server = %self.name, message, "refused what the server asks");
        if let Err(refused) = self.notify_text(&reply::error(server_id, code::INTERNAL, message)) {
            tracing::debug!(server = %self.name, ?refused, "refusal dropped");
        }
    }
}
