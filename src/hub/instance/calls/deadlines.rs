//! How long the server has had for its calls, and those that it has had too long.

use std::time::{Duration, Instant};

use crate::hub::instance::calls::Calls;
use crate::hub::instance::calls::pending_call::Caller;

impl Calls {
    /// Notes that the server is at a call: its time begins anew.
    pub(in crate::hub) fn note_progress(&mut self, id: u64) {
        self.hear_of_cancelled(id);
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.spent = None;
            if let Some(begun) = &mut pending.begun {
                begun.progress += 1;
                begun.first.get_or_insert_with(Instant::now);
            }
        }
    }

    /// Adds `elapsed` to what each call has taken; returns those that have now taken `limit` or more.
    pub(in crate::hub) fn overdue(&mut self, elapsed: Duration, limit: Duration) -> Vec<u64> {
        let mut overdue = Vec::new();
        for (id, pending) in &mut self.pending {
            let asked = match &pending.owner {
                Caller::Agent { session, .. } => self.asked.values().any(|(asked, ..)| asked.id == session.id),
                Caller::Daemon(_) => false,
                Caller::Gone(_)
                | Caller::Suspended(_)
                | Caller::Hub(_)
                | Caller::Listener
                | Caller::Fence(_)
                | Caller::Nobody => continue,
            };
            if asked || pending.parked || pending.turn.is_held() || pending.cancelled.is_some() || pending.is_listen() {
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

    /// Takes a call from the one who waits for it. The server may still be at it.
    pub(in crate::hub) fn give_up(&mut self, id: u64) -> Option<Caller> {
        self.note_cancelled(id);
        let pending = self.pending.get_mut(&id)?;
        let nobody = Caller::Gone(pending.caller()?);
        Some(std::mem::replace(&mut pending.owner, nobody))
    }
}
