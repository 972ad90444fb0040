//! What is in flight on one instance, and whose it is: pure bookkeeping, no frames.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::level::Level;
use super::session::{Session, SessionId};

/// How many cancelled calls without an answer are remembered for attribution.
const REMEMBERED: usize = 1024;

/// What a reply to a hub's own request is: the reply frame, or why there is none.
pub(super) type Answer = Result<Box<str>, Arc<str>>;

/// One request that the server has not answered.
#[derive(Debug)]
pub(super) struct Pending {
    pub owner: Owner,
    pub then: Then,
    /// The agent no longer waits for it.
    cancelled: bool,
}

impl Pending {
    pub(super) fn new(owner: Owner, then: Then) -> Self {
        Self { owner, then, cancelled: false }
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
}

/// An agent that uses the instance.
#[derive(Debug, Default)]
pub(super) struct Member {
    /// `None` once it left while calls of its may still go on.
    pub session: Option<Arc<Session>>,
    in_flight: usize,
    pub level: Option<Level>,
    /// Subscribed URIs: as the server knows them, and as the agent does.
    pub uris: Vec<(String, String)>,
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
}

#[derive(Debug, Default)]
pub(super) struct Table {
    pending: FxHashMap<u64, Pending>,
    pub members: FxHashMap<SessionId, Member>,
    cancelled: VecDeque<u64>,
    /// The server's open requests, by its raw id: who was asked, under which id.
    pub asked: HashMap<Box<str>, (Arc<Session>, u64)>,
    pub closed: Option<Arc<str>>,
}

impl Table {
    pub(super) fn insert(&mut self, id: u64, pending: Pending) {
        if let Owner::Agent { session, .. } = &pending.owner {
            session.began();
        }
        if let Some(session) = caller(&pending) {
            self.members.entry(session).or_default().in_flight += 1;
        }
        self.pending.insert(id, pending);
    }

    pub(super) fn get(&self, id: u64) -> Option<&Pending> {
        self.pending.get(&id)
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        if let Owner::Agent { session, .. } = &pending.owner
            && !pending.cancelled
        {
            session.ended();
        }
        if let Some(session) = caller(&pending)
            && let Some(member) = self.members.get_mut(&session)
        {
            member.in_flight -= 1;
            if member.in_flight == 0 && member.session.is_none() {
                self.members.remove(&session);
            }
        }
        Some(pending)
    }

    pub(super) fn drain(&mut self) -> Vec<Pending> {
        let ids: Vec<_> = self.pending.keys().copied().collect();
        let all = ids.into_iter().filter_map(|id| self.remove(id)).collect();
        self.members.clear();
        all
    }

    /// The id under which an agent's request `id`, raw, went to the server.
    pub(super) fn find(&self, whose: SessionId, raw: &str) -> Option<u64> {
        let mut all = self.pending.iter();
        all.find(|(_, pending)| matches!(&pending.owner, Owner::Agent { session, id, .. } if session.id == whose && **id == *raw)).map(|(id, _)| *id)
    }

    /// Notes that a call was cancelled. Its entry stays, since the server may still answer, or ask, on its behalf.
    pub(super) fn note_cancelled(&mut self, id: u64) {
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
        for (id, pending) in &mut self.pending {
            if matches!(&pending.owner, Owner::Agent { session, .. } if session.id == leaver) {
                pending.owner = Owner::Gone(leaver);
                abandoned.push(*id);
            }
        }
        for id in &abandoned {
            self.note_cancelled(*id);
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

    pub(super) fn in_flight(&self) -> usize {
        self.pending.len()
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
