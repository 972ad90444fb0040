//! Calls that nobody waits for any more, and for how long each still counts.

use crate::hub::ids::SessionId;
use crate::hub::instance::calls::Calls;
use crate::hub::instance::calls::pending_call::{Caller, Cancelled, PendingCall};
use std::time::Instant;

/// How many cancelled calls without an answer are remembered for attribution.
const REMEMBERED: usize = 1024;
impl Calls {
    /// Notes that a call was cancelled. Its entry stays, since the server may still answer, or ask, on its behalf.
    pub(in crate::hub) fn note_cancelled(&mut self, id: u64) {
        let Some(pending) = self.pending.get_mut(&id).filter(|pending| pending.cancelled.is_none()) else { return };
        pending.cancelled = Some(Cancelled { at: Instant::now(), heard: None });
        if !pending.is_listen() {
            self.waited_for -= 1;
            if let Caller::Agent { session, .. } = &pending.owner {
                session.ended();
            }
        }
        self.turns.gives_up(&pending.turn);
        self.cancelled.push_back(id);
        while self.cancelled.len() > REMEMBERED {
            if let Some(oldest) = self.cancelled.pop_front() {
                self.remove(oldest);
            }
        }
    }

    /// Calls that were cancelled, and that the server may still be at.
    pub(in crate::hub) fn lingering(&self) -> impl Iterator<Item = &PendingCall> {
        self.pending.values().filter(|pending| pending.cancelled.is_some() && pending.caller().is_some())
    }

    /// Calls that somebody waits for.
    fn calls_waited_for(&self) -> impl Iterator<Item = &PendingCall> {
        self.pending.values().filter(|pending| pending.cancelled.is_none() && pending.caller().is_some())
    }

    /// Notes that the server said something for a call, if it was cancelled.
    pub(in crate::hub) fn hear_of_cancelled(&mut self, id: u64) {
        if let Some(cancelled) = self.get_mut(id).and_then(|pending| pending.cancelled.as_mut()) {
            cancelled.heard = Some(Instant::now());
        }
    }

    /// Whether the server may still be at a call that somebody else has cancelled.
    pub(in crate::hub) fn lingers_for_another(&self, session: Option<SessionId>) -> bool {
        self.lingering().any(|pending| pending.caller() != session)
    }

    /// The one agent whose calls are waited for, if it is one.
    pub(in crate::hub) fn at_work(&self) -> Option<SessionId> {
        let mut working = self.calls_waited_for().filter_map(PendingCall::caller);
        let first = working.next()?;
        working.all(|caller| caller == first).then_some(first)
    }
}
