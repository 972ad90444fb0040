//! What the record will have of calls that are under way: what is asked in their course, and what is taken out at their end.

use std::borrow::Cow;

use crate::hub::ids::SessionId;
use crate::hub::instance::calls::Calls;
use crate::hub::instance::calls::pending_call::PendingCall;
use crate::record::{Asked, Begun};

/// How many questions of one call are recorded.
const QUESTIONS: usize = 64;

impl Calls {
    /// Which of the calls that a session waits for something belongs to: the one that the wire tells, or the only one.
    pub(in crate::hub) fn waited_for_call(&self, session: SessionId, told: Option<u64>) -> Option<u64> {
        let is_own = |pending: &PendingCall| pending.caller() == Some(session) && !pending.is_cancelled();
        let mut calls = self.pending.iter().filter(|(_, pending)| is_own(pending));
        let only = calls.next().map(|(id, _)| *id).filter(|_| calls.next().is_none());
        told.or(only)
    }

    /// Notes that the server asks something in the course of a call.
    pub(in crate::hub) fn begin_question(&mut self, call: Option<u64>, asked: Asked) {
        let begun = call.and_then(|call| self.pending.get_mut(&call)?.begun.as_mut());
        if let Some(begun) = begun.filter(|begun| begun.asked.len() < QUESTIONS) {
            begun.first.get_or_insert(asked.since);
            begun.asked.push(asked);
        }
    }

    /// Notes how the oldest question of a call ended that is open.
    pub(in crate::hub) fn end_question(&mut self, call: Option<u64>, how: Cow<'static, str>) {
        let begun = call.and_then(|call| self.pending.get_mut(&call)?.begun.as_mut());
        let open = begun.and_then(|begun| begun.asked.iter_mut().find(|asked| asked.ended.is_none()));
        if let Some(asked) = open {
            asked.ended = Some((asked.since.elapsed(), how));
        }
    }

    /// Takes what the record will have of a call that ends for its agent.
    pub(in crate::hub) fn take_begun(&mut self, id: u64) -> Option<Box<Begun>> {
        self.pending.get_mut(&id)?.begun.take()
    }
}
