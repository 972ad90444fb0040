//! How many requests are in flight, how old they are, and whether anybody uses the instance.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::Agent;
use crate::hub::ids::SessionId;
use crate::hub::instance::calls::Calls;
use crate::hub::instance::calls::pending_call::{Caller, PendingCall};

/// For how long the answer may come to a request that nobody waits for any more.
const LATE: Duration = Duration::from_secs(300);

/// A call that a server is at.
#[derive(Debug, Clone)]
pub struct OpenCall {
    pub session: SessionId,
    pub agent: Arc<Agent>,
    pub method: Cow<'static, str>,
    pub subject: Option<Arc<str>>,
    pub age: Duration,
}

impl Calls {
    /// Whether an answer may come to a request that was taken out.
    pub(in crate::hub) fn expects_late_answers(&self) -> bool {
        self.unanswered_at.is_some_and(|at| at.elapsed() < LATE)
    }

    /// Whether whatever the server says can concern one session only.
    pub(in crate::hub) fn is_one_sessions(&self) -> bool {
        let mut callers = self.pending.values().filter_map(PendingCall::caller).chain(self.members.keys().copied());
        let first = callers.next();
        callers.all(|caller| Some(caller) == first)
    }

    /// What the server may still answer.
    pub(in crate::hub) fn requests(&self) -> Vec<u64> {
        let requests = self.pending.iter().filter(|(_, pending)| !pending.is_listen() && !pending.turn.is_held());
        requests.map(|(id, _)| *id).collect()
    }

    /// The only request that the server may still answer, if there is only one.
    pub(in crate::hub) fn only(&self) -> Option<u64> {
        let mut requests = self.pending.iter().filter(|(_, pending)| !pending.is_listen() && !pending.turn.is_held());
        requests.next().map(|(id, _)| *id).filter(|_| requests.next().is_none())
    }

    /// The calls that somebody waits for, the oldest first; no more than `most`.
    pub(in crate::hub) fn open(&self, most: usize) -> Vec<OpenCall> {
        let waited_for = self.pending.values().filter(|pending| !pending.is_listen() && pending.cancelled.is_none());
        let open = waited_for.filter_map(|pending| {
            let begun = pending.begun.as_ref()?;
            Some(OpenCall {
                session: SessionId(begun.session),
                agent: begun.agent.clone(),
                method: begun.method.clone(),
                subject: begun.subject.clone(),
                age: begun.since.elapsed(),
            })
        });
        let mut open: Vec<_> = open.collect();
        open.sort_by_key(|call| Reverse(call.age));
        open.truncate(most);
        open
    }

    /// Requests that somebody waits for.
    pub(in crate::hub) fn in_flight(&self) -> usize {
        self.waited_for
    }

    /// What the server has asked, of agents of either era, and nobody has answered.
    pub(in crate::hub) fn questions(&self) -> usize {
        let resting = self.pending.values().filter_map(|pending| pending.suspension.as_ref());
        self.asked.len() + resting.map(|rest| rest.questions.len()).sum::<usize>()
    }

    /// Calls that the server may still be at, of agents that are here or were.
    pub(in crate::hub) fn calls(&self) -> usize {
        self.members.values().map(|member| member.in_flight).sum()
    }

    /// How long nobody has used the instance; `None` while somebody does.
    pub(in crate::hub) fn unused_for(&self) -> Option<Duration> {
        let listens = |pending: &PendingCall| {
            pending.is_listen() && pending.cancelled.is_none() && matches!(pending.owner, Caller::Agent { .. })
        };
        let subscribed =
            self.members.values().any(|member| !member.uris.is_empty()) || self.pending.values().any(listens);
        (self.waited_for == 0 && !subscribed && !self.tasks.are_running()).then(|| self.used.elapsed())
    }

    /// Whether somebody still waits for this.
    pub(in crate::hub) fn is_waited_for(&self, id: u64) -> bool {
        self.pending.get(&id).is_some_and(|pending| pending.cancelled.is_none())
    }
}
