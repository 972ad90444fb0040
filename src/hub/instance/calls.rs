//! What is in flight on one instance, and whose it is: pure bookkeeping, no frames.

pub(in crate::hub) mod agents_tasks;
pub(in crate::hub) mod at_end;
mod begun;
pub(in crate::hub) mod cancelled;
pub(in crate::hub) mod counts;
mod deadlines;
pub(in crate::hub) mod levels_and_uris;
pub(in crate::hub) mod member;
mod pace;
pub(in crate::hub) mod pages;
pub(in crate::hub) mod pending_call;
mod remembered;
mod suspending;
pub(in crate::hub) mod task_of;
pub(in crate::hub) mod tasks;
pub(in crate::hub) mod tool;
pub(in crate::hub) mod turns;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::era::Era;
use crate::hub::eras::{AsTask, Task};
use crate::hub::ids::{PrincipalId, SessionId};
use crate::hub::instance::calls::agents_tasks::AgentsTasks;
use crate::hub::instance::calls::member::Member;
use crate::hub::instance::calls::pages::Pages;
use crate::hub::instance::calls::pending_call::{Caller, Parked, PendingCall};
use crate::hub::instance::calls::tasks::Tasks;
use crate::hub::instance::calls::turns::{Standing, Turn, Turns};
use crate::hub::log_level::Level;
use crate::hub::session::Session;

/// Whose a message without an address can be.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::hub) enum Whose {
    /// Exactly one session has calls in flight.
    One(SessionId),
    /// No session has.
    Idle,
    /// Several have.
    Several,
    /// It came on the stream of a call that is no agent's.
    Nobody,
}

#[derive(Debug)]
pub(in crate::hub) struct Calls {
    pending: FxHashMap<u64, PendingCall>,
    /// How many of them somebody waits for.
    waited_for: usize,
    pub members: FxHashMap<SessionId, Member>,
    cancelled: VecDeque<u64>,
    /// The server's open requests, by its raw id: who was asked, under which id, and in the course of which call.
    pub asked: HashMap<Box<str>, (Arc<Session>, u64, Option<u64>)>,
    pub closed: Option<Arc<str>>,
    /// When an agent last asked, or was answered.
    used: Instant,
    /// The level that the server was told last.
    pub told_level: Option<Level>,
    pub tasks: Tasks,
    pub pages: Pages,
    /// The tasks that agents made of the server's requests.
    pub agents_tasks: AgentsTasks,
    /// How many requests were taken out without an answer, which may still come, and when the last one was.
    pub unanswered: u64,
    unanswered_at: Option<Instant>,
    /// Answers that wait until it is known which request they are for.
    pub strays: usize,
    /// An agent has called something, so that there may be a state of that agent's.
    pub served: bool,
    /// One of these calls was answered with a result.
    pub answered_calls: bool,
    pub turns: Turns,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            pending: FxHashMap::default(),
            waited_for: 0,
            members: FxHashMap::default(),
            cancelled: VecDeque::new(),
            asked: HashMap::new(),
            closed: None,
            used: Instant::now(),
            told_level: None,
            tasks: Tasks::default(),
            pages: Pages::default(),
            agents_tasks: AgentsTasks::default(),
            unanswered: 0,
            unanswered_at: None,
            strays: 0,
            served: false,
            answered_calls: false,
            turns: Turns::default(),
        }
    }
}

impl Calls {
    pub(in crate::hub) fn insert(&mut self, id: u64, mut pending: PendingCall) {
        let now = Instant::now();
        // A subscription is no call: nobody waits for its end.
        if !pending.is_listen() {
            if let Caller::Agent { session, .. } = &pending.owner {
                session.began();
                self.used = now;
                self.served |= pending.is_call();
            }
            self.waited_for += 1;
        }
        if let Some(session) = pending.caller() {
            self.members.entry(session).or_default().in_flight += 1;
        }
        self.turns.begins(id, &mut pending.turn, now);
        self.pending.insert(id, pending);
    }

    pub(in crate::hub) fn get(&self, id: u64) -> Option<&PendingCall> {
        self.pending.get(&id)
    }

    pub(in crate::hub) fn get_mut(&mut self, id: u64) -> Option<&mut PendingCall> {
        self.pending.get_mut(&id)
    }

    /// One call less is in flight of a session.
    fn leave_call(&mut self, session: SessionId) {
        if let Some(member) = self.members.get_mut(&session) {
            member.in_flight -= 1;
            if member.in_flight == 0 && (member.session.is_none() || member.visiting) {
                self.members.remove(&session);
            }
        }
    }

    /// Which of a session's calls something belongs to: the one that the wire tells, or the only one.
    pub(in crate::hub) fn call_of(&self, session: SessionId, told: Option<u64>) -> Option<u64> {
        if let Some(told) = told {
            let is_its = |pending: &PendingCall| pending.caller() == Some(session);
            return Some(told).filter(|told| self.pending.get(told).is_some_and(is_its));
        }
        let is_its = |pending: &PendingCall| pending.caller() == Some(session) && !pending.turn.is_held();
        let mut calls = self.pending.iter().filter(|(_, pending)| is_its(pending));
        match (calls.next(), calls.next()) {
            (Some((id, _)), None) => Some(*id),
            (_, _) => None,
        }
    }

    /// The agent's own id of that call, raw.
    pub(in crate::hub) fn raw_id(&self, session: SessionId, told: Option<u64>) -> Option<&str> {
        self.get(self.call_of(session, told)?)?.owner.agent().map(|(_, id)| id)
    }

    /// Whether a session has a call here that came across from the modern era: the one that the wire tells, or any.
    pub(in crate::hub) fn has_modern(&self, session: SessionId, told: Option<u64>) -> bool {
        let of_modern = |pending: &PendingCall| {
            pending.translation.as_ref().is_some_and(|translation| translation.agent == Era::Modern)
        };
        match told.and_then(|told| self.pending.get(&told)) {
            Some(pending) => of_modern(pending),
            None => self.pending.values().any(|pending| pending.caller() == Some(session) && of_modern(pending)),
        }
    }

    /// The calls of a session that came across from the modern era and ask for log messages: their ids, and from which level on.
    pub(in crate::hub) fn logged(&self, session: SessionId) -> Option<(&str, Level)> {
        let of = |pending: &PendingCall| {
            pending.translation.as_ref().filter(|translation| translation.agent == Era::Modern)?.level
        };
        self.pending.values().find_map(|pending| {
            let (_, id) = pending.owner.agent().filter(|(own, _)| own.id == session)?;
            Some((id, of(pending)?))
        })
    }

    /// Takes the subscriptions of a session that the server itself keeps: our ids, and its own.
    pub(in crate::hub) fn take_listens(&mut self, session: SessionId) -> Vec<(u64, Box<str>)> {
        let listens = self.pending.iter().filter(|(_, pending)| pending.is_listen());
        let own = listens.filter_map(|(id, pending)| {
            let (_, raw) = pending.owner.agent().filter(|(own, _)| own.id == session)?;
            Some((*id, raw.into()))
        });
        let own: Vec<_> = own.collect();
        own.iter().for_each(|(id, _)| drop(self.remove(*id)));
        own
    }

    /// The server has answered a call, which goes on under another id.
    pub(in crate::hub) fn go_on_as(&mut self, id: u64, next: u64) {
        if let Some(mut pending) = self.pending.remove(&id) {
            pending.suspension.iter().for_each(|rest| rest.call.store(next, Ordering::Relaxed));
            self.note_pace(&pending.turn, Instant::now());
            let (standing, waits) = (pending.standing(), pending.cancelled.is_none());
            self.turns.goes_on((id, next), &mut pending.turn, standing, waits, false);
            self.pending.insert(next, pending);
        }
    }

    /// The call that became this task of the server's, which trunkline follows.
    pub(in crate::hub) fn followed(&self, is: impl Fn(&Task) -> bool) -> Option<u64> {
        let task = |pending: &PendingCall| match &pending.translation.as_ref()?.task {
            AsTask::Is(task) => Some(is(task)),
            AsTask::Never | AsTask::IfNeeded | AsTask::Allowed => None,
        };
        self.pending.iter().find(|(_, pending)| task(pending) == Some(true)).map(|(id, _)| *id)
    }

    /// Lets the calls go whose turn it is, of one agent or of all: their ids, in their order. `follows` says that the server has been
    /// given all that it was sent.
    pub(in crate::hub) fn next_turns(
        &mut self,
        whose: Option<PrincipalId>,
        now: Instant,
        mut follows: bool,
    ) -> Vec<u64> {
        let next = self.turns.next(whose, now);
        next.iter().for_each(|id| self.moves(*id, Standing::AtServer, std::mem::take(&mut follows)));
        next
    }

    /// A call is elsewhere now than it was, or at the server; `follows` as of a turn.
    pub(in crate::hub) fn moves(&mut self, id: u64, standing: Standing, follows: bool) {
        if let Some(pending) = self.pending.get_mut(&id) {
            let waits = pending.cancelled.is_none();
            self.turns.goes_on((id, id), &mut pending.turn, standing, waits, follows);
        }
    }

    /// The server has answered what had this turn.
    fn note_pace(&mut self, turn: &Turn, now: Instant) {
        let others = self.pending.values().filter(|other| other.is_at_server()).map(|other| &other.turn);
        self.turns.answers(turn, now, others);
    }

    /// Takes a request out because it was answered, with a result or an error.
    pub(in crate::hub) fn answered(&mut self, id: u64, is_result: bool) -> Option<PendingCall> {
        let (unanswered, last) = (self.unanswered, self.unanswered_at);
        let now = Instant::now();
        // What it was not given, it has not answered.
        if self.turns.looked_at && self.get(id).is_some_and(|pending| pending.turn.is_held()) {
            return None;
        }
        let pending = self.take_out(id, now)?;
        self.note_pace(&pending.turn, now);
        (self.unanswered, self.unanswered_at) = (unanswered, last);
        self.answered_calls |= is_result && pending.is_call();
        Some(pending)
    }

    pub(in crate::hub) fn remove(&mut self, id: u64) -> Option<PendingCall> {
        self.take_out(id, Instant::now())
    }

    fn take_out(&mut self, id: u64, now: Instant) -> Option<PendingCall> {
        let pending = self.pending.remove(&id)?;
        if !pending.is_listen() && !pending.turn.is_held() {
            (self.unanswered, self.unanswered_at) = (self.unanswered + 1, Some(now));
        }
        if pending.cancelled.is_none() && !pending.is_listen() {
            self.waited_for -= 1;
            if let Caller::Agent { session, .. } = &pending.owner {
                session.ended();
                self.used = now;
            }
        }
        if let Some(session) = pending.caller() {
            self.leave_call(session);
        }
        self.turns.ends(id, &pending.turn, pending.cancelled.is_none());
        Some(pending)
    }

    pub(in crate::hub) fn drain(&mut self) -> Vec<PendingCall> {
        let ids: Vec<_> = self.pending.keys().copied().collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Lets go those who came for one call and have none.
    pub(in crate::hub) fn dismiss_visitors(&mut self) {
        self.members.retain(|_, member| !member.visiting || member.in_flight > 0);
    }

    /// The id under which an agent's request `id`, raw, went to the server.
    pub(in crate::hub) fn find(&self, whose: SessionId, raw: &str) -> Option<u64> {
        let is_it =
            |pending: &PendingCall| pending.owner.agent().is_some_and(|(session, id)| session.id == whose && id == raw);
        let all = self.pending.iter().filter(|(_, pending)| is_it(pending));
        // An agent may use the id of a call that it has cancelled again.
        all.min_by_key(|(_, pending)| pending.is_cancelled()).map(|(id, _)| *id)
    }

    /// Hands the calls of an agent that leaves to nobody; returns our ids, and its own.
    pub(in crate::hub) fn abandon(&mut self, leaver: SessionId) -> Vec<(u64, Box<str>)> {
        let mut abandoned = Vec::new();
        for (id, pending) in &self.pending {
            if let Some((_, raw)) = pending.owner.agent().filter(|(session, _)| session.id == leaver) {
                abandoned.push((*id, raw.into()));
            }
        }
        for (id, _) in &abandoned {
            self.note_cancelled(*id);
            if let Some(pending) = self.pending.get_mut(id) {
                pending.owner = Caller::Gone(leaver);
            }
        }
        if let Some(member) = self.members.get_mut(&leaver) {
            member.session = None;
            member.uris.clear();
            member.level = None;
            if member.in_flight == 0 {
                self.members.remove(&leaver);
            }
        }
        abandoned
    }

    /// Whose a message is that does not say to which call it belongs.
    pub(in crate::hub) fn whose(&self) -> Whose {
        let mut busy = self.members.iter().filter(|(_, member)| member.in_flight > 0);
        match (busy.next(), busy.next()) {
            (None, _) => Whose::Idle,
            (Some((session, _)), None) => Whose::One(*session),
            (Some(_), Some(_)) => Whose::Several,
        }
    }

    /// Whose a message is that came on the stream of this call, where the wire tells.
    pub(in crate::hub) fn whose_on(&self, call: Option<u64>) -> Whose {
        let Some(call) = call else { return self.whose() };
        match self.pending.get(&call).map(|pending| &pending.owner) {
            Some(Caller::Agent { session, .. }) => Whose::One(session.id),
            Some(Caller::Gone(session) | Caller::Suspended(session)) => Whose::One(*session),
            Some(Caller::Daemon(_)) => Whose::One(SessionId::DAEMON),
            // It may also be over.
            Some(Caller::Hub(_) | Caller::Listener | Caller::Fence(_) | Caller::Nobody) | None => Whose::Nobody,
        }
    }

    /// Notes that the user is being asked for a login, for this call, or is not any more.
    pub(in crate::hub) fn set_parked(&mut self, id: u64, parked: Parked) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.parked = parked == Parked::Yes;
            let standing = pending.standing();
            self.moves(id, standing, false);
        }
    }

    pub(in crate::hub) fn session(&self, id: SessionId) -> Option<&Arc<Session>> {
        self.members.get(&id)?.session.as_ref()
    }

    pub(in crate::hub) fn sessions(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.members.values().filter_map(|member| member.session.as_ref())
    }
}
