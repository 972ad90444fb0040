//! What is in flight on one instance, and whose it is: pure bookkeeping, no frames.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::level::Level;
use super::session::{Session, SessionId};
use crate::lists::ListKind;

/// How many cancelled calls without an answer are remembered for attribution.
const REMEMBERED: usize = 1024;

/// What a reply to a hub's own request is: the reply frame, or why there is none.
pub(super) type Answer = Result<Box<str>, Arc<str>>;

/// One request that the server has not answered.
#[derive(Debug)]
pub(super) struct Pending {
    pub owner: Owner,
    pub then: Then,
    /// How to ask once more, of a server that is started anew: set only where asking changes nothing.
    pub repeat: Option<Box<Repeat>>,
    /// Since when nobody waits for it any more.
    cancelled: Option<Instant>,
    /// How long the server has had for it, not counting the time in which it waited for an answer itself.
    spent: Option<Duration>,
    /// It waits for a person to log in.
    parked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parked {
    Yes,
    No,
}

/// A request as the agent wrote it, and what the view replaces in it.
#[derive(Debug, Clone)]
pub(super) struct Repeat {
    pub frame: Box<str>,
    pub edits: Vec<(Range<usize>, String)>,
    pub then: Then,
}

impl Pending {
    pub(super) fn new(owner: Owner, then: Then, repeat: Option<Box<Repeat>>) -> Self {
        Self { owner, then, repeat, cancelled: None, spent: None, parked: false }
    }
}

#[derive(Debug)]
pub(super) enum Owner {
    Agent {
        session: Arc<Session>,
        id: Box<str>,
        token: Option<Box<str>>,
    },
    /// The agent left; its call may go on in the server.
    Gone(SessionId),
    /// A call made for `daemon.call_tool`.
    Daemon(oneshot::Sender<Answer>),
    /// A list or setting that the hub asked for itself: belongs to no call.
    Hub(oneshot::Sender<Answer>),
    /// The hub's own, and nobody waits for the answer.
    Nobody,
}

/// What to do when the answer comes, besides delivering it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    Nothing,
    /// `subscriptions/listen`: lives long, and its result repeats its id.
    Listen,
    /// The level counts from when it was asked for; `before` comes back if the server refuses.
    SetLevel {
        before: Option<Level>,
    },
    Subscribe(String),
    /// The result is a page of a list, of which the agent sees what the filter lets pass.
    List {
        kind: ListKind,
        cursor: Option<Box<str>>,
    },
}

/// An agent that uses the instance.
#[derive(Debug, Default)]
pub(super) struct Member {
    /// `None` once it left while calls of its may still go on.
    pub session: Option<Arc<Session>>,
    in_flight: usize,
    /// It came for one call, because its own instance was taken, and leaves with the answer.
    pub visiting: bool,
    pub level: Option<Level>,
    /// Subscribed URIs: as the server knows them, and as the agent does.
    pub uris: Vec<(String, String)>,
}

impl Member {
    pub(super) fn visitor(session: Arc<Session>) -> Self {
        Self { session: Some(session), visiting: true, ..Self::default() }
    }
}

/// Whose a message without an address can be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whose {
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
pub(super) struct Table {
    pending: FxHashMap<u64, Pending>,
    /// How many of them somebody waits for.
    waited_for: usize,
    pub members: FxHashMap<SessionId, Member>,
    cancelled: VecDeque<u64>,
    /// The server's open requests, by its raw id: who was asked, under which id.
    pub asked: HashMap<Box<str>, (Arc<Session>, u64)>,
    pub closed: Option<Arc<str>>,
    /// When an agent last asked, or was answered.
    used: Instant,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            pending: FxHashMap::default(),
            waited_for: 0,
            members: FxHashMap::default(),
            cancelled: VecDeque::new(),
            asked: HashMap::new(),
            closed: None,
            used: Instant::now(),
        }
    }
}

impl Table {
    pub(super) fn insert(&mut self, id: u64, pending: Pending) {
        if let Owner::Agent { session, .. } = &pending.owner {
            session.began();
            self.used = Instant::now();
        }
        if let Some(session) = caller(&pending) {
            self.members.entry(session).or_default().in_flight += 1;
        }
        self.waited_for += 1;
        self.pending.insert(id, pending);
    }

    pub(super) fn get(&self, id: u64) -> Option<&Pending> {
        self.pending.get(&id)
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        if pending.cancelled.is_none() {
            self.waited_for -= 1;
        }
        if let Owner::Agent { session, .. } = &pending.owner
            && pending.cancelled.is_none()
        {
            session.ended();
            self.used = Instant::now();
        }
        if let Some(session) = caller(&pending)
            && let Some(member) = self.members.get_mut(&session)
        {
            member.in_flight -= 1;
            if member.in_flight == 0 && (member.session.is_none() || member.visiting) {
                self.members.remove(&session);
            }
        }
        Some(pending)
    }

    pub(super) fn drain(&mut self) -> Vec<Pending> {
        let ids: Vec<_> = self.pending.keys().copied().collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Lets go those who came for one call and have none.
    pub(super) fn dismiss_visitors(&mut self) {
        self.members.retain(|_, member| !member.visiting || member.in_flight > 0);
    }

    /// The id under which an agent's request `id`, raw, went to the server.
    pub(super) fn find(&self, whose: SessionId, raw: &str) -> Option<u64> {
        let mut all = self.pending.iter();
        all.find(|(_, pending)| matches!(&pending.owner, Owner::Agent { session, id, .. } if session.id == whose && **id == *raw)).map(|(id, _)| *id)
    }

    /// Notes that a call was cancelled. Its entry stays, since the server may still answer, or ask, on its behalf.
    pub(super) fn note_cancelled(&mut self, id: u64) {
        let Some(pending) = self.pending.get_mut(&id).filter(|pending| pending.cancelled.is_none()) else { return };
        pending.cancelled = Some(Instant::now());
        self.waited_for -= 1;
        if let Owner::Agent { session, .. } = &pending.owner {
            session.ended();
        }
        self.cancelled.push_back(id);
        while self.cancelled.len() > REMEMBERED {
            if let Some(oldest) = self.cancelled.pop_front() {
                self.remove(oldest);
            }
        }
    }

    /// Hands the calls of an agent that leaves to nobody; returns their ids.
    pub(super) fn abandon(&mut self, leaver: SessionId) -> Vec<u64> {
        let mut abandoned = Vec::new();
        for (id, pending) in &self.pending {
            if matches!(&pending.owner, Owner::Agent { session, .. } if session.id == leaver) {
                abandoned.push(*id);
            }
        }
        for id in &abandoned {
            self.note_cancelled(*id);
            if let Some(pending) = self.pending.get_mut(id) {
                pending.owner = Owner::Gone(leaver);
            }
        }
        if let Some(member) = self.members.get_mut(&leaver) {
            member.session = None;
            if member.in_flight == 0 {
                self.members.remove(&leaver);
            }
        }
        abandoned
    }

    /// Whose a message is that does not say to which call it belongs.
    pub(super) fn whose(&self) -> Whose {
        let mut busy = self.members.iter().filter(|(_, member)| member.in_flight > 0);
        match (busy.next(), busy.next()) {
            (None, _) => Whose::Idle,
            (Some((session, _)), None) => Whose::One(*session),
            (Some(_), Some(_)) => Whose::Several,
        }
    }

    /// Whose a message is that came on the stream of this call, where the wire tells.
    pub(super) fn whose_on(&self, call: Option<u64>) -> Whose {
        let Some(call) = call else { return self.whose() };
        match self.pending.get(&call).map(|pending| &pending.owner) {
            Some(Owner::Agent { session, .. }) => Whose::One(session.id),
            Some(Owner::Gone(session)) => Whose::One(*session),
            Some(Owner::Daemon(_)) => Whose::One(SessionId::DAEMON),
            // It may also be over.
            Some(Owner::Hub(_) | Owner::Nobody) | None => Whose::Nobody,
        }
    }

    /// Notes that the user is being asked for a login, for this call, or is not any more.
    pub(super) fn set_parked(&mut self, id: u64, parked: Parked) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.parked = parked == Parked::Yes;
        }
    }

    /// Notes that the server is at a call: its time begins anew.
    pub(super) fn note_progress(&mut self, id: u64) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.spent = None;
        }
    }

    /// Requests that somebody waits for.
    pub(super) fn in_flight(&self) -> usize {
        self.waited_for
    }

    /// Calls that the server may still be at, of agents that are here or were.
    pub(super) fn calls(&self) -> usize {
        self.members.values().map(|member| member.in_flight).sum()
    }

    /// Whether the server is only at calls that nobody has waited for, for this long.
    pub(super) fn is_stuck(&self, since: Duration) -> bool {
        let old = |pending: &Pending| pending.cancelled.is_some_and(|at| at.elapsed() >= since);
        let mut calls = self.pending.values().filter(|pending| caller(pending).is_some()).peekable();
        calls.peek().is_some() && calls.all(old)
    }

    /// How long nobody has used the instance; `None` while somebody does.
    pub(super) fn unused_for(&self) -> Option<Duration> {
        let subscribed = self.members.values().any(|member| !member.uris.is_empty());
        (self.waited_for == 0 && !subscribed).then(|| self.used.elapsed())
    }

    /// Adds `elapsed` to what each call has taken; returns those that have now taken `limit` or more.
    pub(super) fn overdue(&mut self, elapsed: Duration, limit: Duration) -> Vec<u64> {
        let mut overdue = Vec::new();
        for (id, pending) in &mut self.pending {
            let asked = match &pending.owner {
                Owner::Agent { session, .. } => self.asked.values().any(|(asked, _)| asked.id == session.id),
                Owner::Daemon(_) => false,
                Owner::Gone(_) | Owner::Hub(_) | Owner::Nobody => continue,
            };
            if asked || pending.parked || pending.cancelled.is_some() || pending.then == Then::Listen {
                continue;
            }
            // Counted from the first look on, so that no call has less time than it was promised.
            let spent = pending.spent.map_or(Duration::ZERO, |spent| spent + elapsed);
            pending.spent = Some(spent);
            if spent >= limit {
                overdue.push(*id);
            }
        }
        overdue
    }

    /// Whether somebody still waits for this.
    pub(super) fn is_waited_for(&self, id: u64) -> bool {
        self.pending.get(&id).is_some_and(|pending| pending.cancelled.is_none())
    }

    /// The level that the server must log at, raw, if anybody asked for one, and every subscribed URI.
    pub(super) fn told(&self) -> (Option<&'static str>, Vec<String>) {
        let levels = self.members.values().filter_map(|member| member.level);
        let uris = self.members.values().flat_map(|member| &member.uris).map(|(uri, _)| uri.clone());
        let uris: std::collections::BTreeSet<_> = uris.collect();
        (levels.min().map(Level::raw), uris.into_iter().collect())
    }

    /// Takes a call from the one who waits for it. The server may still be at it.
    pub(super) fn give_up(&mut self, id: u64) -> Option<Owner> {
        self.note_cancelled(id);
        let pending = self.pending.get_mut(&id)?;
        let nobody = Owner::Gone(caller(pending)?);
        Some(std::mem::replace(&mut pending.owner, nobody))
    }

    pub(super) fn session(&self, id: SessionId) -> Option<&Arc<Session>> {
        self.members.get(&id)?.session.as_ref()
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.members.values().filter_map(|member| member.session.as_ref())
    }

    /// The level that the server must log at so that every member gets what it asked for.
    pub(super) fn server_level(&self, changing: SessionId, to: Level) -> Level {
        let others = self.members.iter().filter(|(id, member)| **id != changing && member.session.is_some());
        others.map(|(_, member)| member.level.unwrap_or(Level::UNSET)).chain([to]).min().unwrap_or(to)
    }

    /// Whether a member wants a log message of this level.
    pub(super) fn wants(&self, member: &Member, level: Level) -> bool {
        let any_set = self.members.values().any(|member| member.level.is_some());
        match member.level {
            Some(own) => level >= own,
            None => !any_set || level >= Level::UNSET,
        }
    }

    /// Whether somebody other than `except` is subscribed to `uri`.
    pub(super) fn subscribed_by_other(&self, except: SessionId, uri: &str) -> bool {
        self.members.iter().any(|(id, member)| *id != except && member.uris.iter().any(|(known, _)| known == uri))
    }
}

fn caller(pending: &Pending) -> Option<SessionId> {
    if pending.then == Then::Listen {
        return None;
    }
    match &pending.owner {
        Owner::Agent { session, .. } => Some(session.id),
        Owner::Gone(session) => Some(*session),
        Owner::Daemon(_) => Some(SessionId::DAEMON),
        Owner::Hub(_) | Owner::Nobody => None,
    }
}
