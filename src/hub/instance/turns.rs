//! Agents take turns at a server that does one call after the other, where it is slow.
//!
//! Such a server does what it is given in the order in which it is given it. So of an agent with many calls only some are given to it
//! while other agents wait; the next ones stay here (in the agent's lane of the outbox), and one goes for each that is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::hub::ids::PrincipalId;
use crate::hub::instance::Instance;
use crate::hub::instance::calls::pending_call::PendingCall;
use crate::hub::instance::calls::turns::Standing;

/// How long from one look at the calls that wait here to the next.
const LOOK: Duration = Duration::from_millis(250);

impl Instance {
    /// Notes a request that is about to be sent; tells whether it waits for its agent's turn, if it may.
    pub(in crate::hub) fn begin_call(self: &Arc<Self>, id: u64, mut pending: PendingCall, may_wait: bool) -> bool {
        let follows = self.link.outbox.is_written();
        let mut calls = self.calls.lock();
        pending.turn.whose = pending.turn.whose.filter(|_| may_wait);
        let held = pending.turn.whose.is_some_and(|whose| calls.turns.must_wait(whose, Instant::now));
        pending.turn.follows = follows;
        if held {
            pending.turn.standing = Standing::Held;
        }
        calls.insert(id, pending);
        let looks = held && !std::mem::replace(&mut calls.turns.looked_at, true);
        drop(calls);
        if looks {
            self.look_again();
        }
        held
    }

    fn look_again(self: &Arc<Self>) {
        let instance = self.clone();
        self.around.later(LOOK, move || {
            instance.next_turns(None);
            let mut calls = instance.calls.lock();
            calls.turns.looked_at = calls.turns.has_held();
            if calls.turns.looked_at {
                instance.look_again();
            }
        });
    }

    /// Gives the server the calls whose turn it is, of one agent or of all.
    pub(in crate::hub) fn next_turns(&self, whose: Option<PrincipalId>) {
        let follows = self.link.outbox.is_written();
        let next = self.calls.lock().next_turns(whose, Instant::now(), follows);
        next.into_iter().for_each(|id| self.link.outbox.let_go(id));
    }
}
