//! Turns: how many calls of one agent a server has at once that does one after the other, while other agents wait for it. Pure.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::hub::ids::PrincipalId;
use crate::hub::instance::calls::pace::Pace;

/// So many calls of an agent a server has at once while others wait for it: few enough for the others, and enough that the server is
/// never without work.
const AT_ONCE: usize = 4;

/// Whose turn it is at one instance.
#[derive(Debug, Default)]
pub(in crate::hub) struct Turns {
    shares: FxHashMap<PrincipalId, Share>,
    /// Calls that somebody waits for.
    waited_for: usize,
    /// How many requests the server was given.
    sent: u64,
    pace: Pace,
    /// It is looked from time to time whether the calls that are held still have to be.
    pub looked_at: bool,
}

/// The calls of one agent.
#[derive(Debug, Default)]
struct Share {
    /// Those that wait here for their turn.
    held: VecDeque<u64>,
    at_server: usize,
    elsewhere: usize,
    /// Calls that the agent waits for, and that wait for the server.
    waited_for: usize,
}

/// Where a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Standing {
    /// It waits here for its turn.
    Held,
    /// The server was given it, and may be at it.
    AtServer,
    /// It keeps the server from nothing: it waits for a person, or has become a task.
    Elsewhere,
}

/// What is known of a request that takes its turn.
#[derive(Debug, Clone, Copy)]
pub(in crate::hub) struct Turn {
    /// Nobody's, if it takes no turn.
    pub whose: Option<PrincipalId>,
    pub standing: Standing,
    /// How many calls the server had been given with it.
    sent: u64,
    /// The server had been given all of them before this one.
    pub follows: bool,
}

impl Turn {
    pub(in crate::hub) fn of(whose: Option<PrincipalId>) -> Self {
        Self { whose, standing: Standing::AtServer, sent: 0, follows: false }
    }

    pub(in crate::hub) fn is_held(&self) -> bool {
        self.standing == Standing::Held
    }
}

impl Share {
    fn is_empty(&self) -> bool {
        self.held.is_empty() && self.at_server == 0 && self.elsewhere == 0
    }

    fn enter(&mut self, id: u64, standing: Standing) {
        match standing {
            Standing::Held => {
                debug_assert!(self.held.back().is_none_or(|last| *last < id), "in the order of their ids");
                self.held.push_back(id);
            }
            Standing::AtServer => self.at_server += 1,
            Standing::Elsewhere => self.elsewhere += 1,
        }
    }

    fn leave(&mut self, id: u64, standing: Standing) {
        match standing {
            Standing::Held => {
                if let Ok(at) = self.held.binary_search(&id) {
                    self.held.remove(at);
                }
            }
            Standing::AtServer => self.at_server -= 1,
            Standing::Elsewhere => self.elsewhere -= 1,
        }
    }
}

impl Turns {
    /// Whether another call of this agent's waits here for its turn.
    pub(in crate::hub) fn must_wait(&self, whose: PrincipalId, now: impl FnOnce() -> Instant) -> bool {
        // Most agents are alone.
        let other =
            |share: &Share| !share.held.is_empty() || share.at_server >= AT_ONCE && self.are_taken(share, now());
        (self.shares.len() > 1 || self.looked_at) && self.shares.get(&whose).is_some_and(other)
    }

    /// Whether others wait for the server, and would wait for more calls of this agent as well.
    fn are_taken(&self, own: &Share, now: Instant) -> bool {
        self.waited_for > own.waited_for && self.pace.is_one_after_the_other(now)
    }

    /// How many calls of others wait here.
    pub(in crate::hub) fn held_of_others(&self, whose: PrincipalId) -> usize {
        self.shares.iter().filter(|(other, _)| **other != whose).map(|(_, share)| share.held.len()).sum()
    }

    pub(in crate::hub) fn begins(&mut self, id: u64, turn: &mut Turn, now: Instant) {
        let Some(whose) = turn.whose else { return };
        let share = self.shares.entry(whose).or_default();
        share.enter(id, turn.standing);
        if turn.standing != Standing::Elsewhere {
            share.waited_for += 1;
            if self.waited_for == 0 {
                self.pace.begins(now);
            }
            self.waited_for += 1;
        }
        if turn.standing == Standing::AtServer {
            self.sent += 1;
            turn.sent = self.sent;
        }
    }

    /// Nobody waits for a call any more.
    pub(in crate::hub) fn gives_up(&mut self, turn: &Turn) {
        if let Some(share) = turn.whose.and_then(|whose| self.shares.get_mut(&whose))
            && turn.standing != Standing::Elsewhere
        {
            self.waited_for -= 1;
            share.waited_for -= 1;
        }
    }

    /// A call is in flight no more; `is_waited_for` until now.
    pub(in crate::hub) fn ends(&mut self, id: u64, turn: &Turn, is_waited_for: bool) {
        let Some(Entry::Occupied(mut share)) = turn.whose.map(|whose| self.shares.entry(whose)) else { return };
        if is_waited_for && turn.standing != Standing::Elsewhere {
            self.waited_for -= 1;
            share.get_mut().waited_for -= 1;
        }
        share.get_mut().leave(id, turn.standing);
        if share.get().is_empty() {
            share.remove();
        }
    }

    /// A call goes on under the id `next`, and perhaps elsewhere, or at the server again; `follows` as of a turn.
    pub(in crate::hub) fn goes_on(
        &mut self,
        (id, next): (u64, u64),
        turn: &mut Turn,
        standing: Standing,
        is_waited_for: bool,
        follows: bool,
    ) {
        self.ends(id, turn, is_waited_for);
        (turn.standing, turn.follows) = (standing, follows);
        self.begins(next, turn, Instant::now());
        if !is_waited_for {
            self.gives_up(turn);
        }
    }

    /// A call was answered; `others` are those that the server has, each with its turn.
    pub(in crate::hub) fn answers<'a>(
        &mut self,
        turn: &Turn,
        now: Instant,
        mut others: impl Iterator<Item = &'a Turn>,
    ) {
        if turn.whose.is_some() && turn.standing == Standing::AtServer {
            self.pace.answers(now, || turn.follows && others.any(|other| other.sent < turn.sent));
        }
    }

    /// The calls of one agent, or of all, whose turn it is: their ids, in their order.
    pub(in crate::hub) fn next(&self, whose: Option<PrincipalId>, now: Instant) -> Vec<u64> {
        match whose {
            Some(whose) => self.shares.get(&whose).map(|share| self.next_of(share, now)).unwrap_or_default(),
            None => self.shares.values().flat_map(|share| self.next_of(share, now)).collect(),
        }
    }

    fn next_of(&self, share: &Share, now: Instant) -> Vec<u64> {
        if share.held.is_empty() {
            return Vec::new();
        }
        let waits = self.are_taken(share, now) && !self.pace.is_stuck(now);
        let most = if waits { AT_ONCE.saturating_sub(share.at_server) } else { usize::MAX };
        share.held.iter().take(most).copied().collect()
    }

    pub(in crate::hub) fn has_held(&self) -> bool {
        self.shares.values().any(|share| !share.held.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::hub::instance::calls::Calls;
    use crate::hub::instance::calls::pending_call::{Caller, OnReply, Parked, PendingCall};
    use crate::hub::session::Session;

    /// Two agents at a server that has been silent for a while.
    struct Slow {
        calls: Calls,
        agents: [Arc<Session>; 2],
        now: Instant,
    }

    impl Slow {
        /// Where the other one has call 1.
        fn beside() -> Self {
            let mut slow = Self {
                calls: Calls::default(),
                agents: [Session::for_test(1, None), Session::for_test(2, None)],
                now: Instant::now(),
            };
            assert_eq!(slow.begin(1, 1..2), [0; 0]);
            slow.now += Duration::from_millis(100);
            slow
        }

        /// Returns those that are held.
        fn begin(&mut self, agent: usize, ids: Range<u64>) -> Vec<u64> {
            let mut held = Vec::new();
            for id in ids {
                let session = self.agents[agent].clone();
                let waits = self.calls.turns.must_wait(session.principal_id(), || self.now);
                held.extend(Some(id).filter(|_| waits));
                self.calls.turns.looked_at |= waits;
                let owner = Caller::Agent { session, id: id.to_string().into(), token: None };
                let mut pending = PendingCall::new(owner, OnReply::Nothing, None);
                (pending.turn.standing, pending.turn.follows) =
                    (if waits { Standing::Held } else { Standing::AtServer }, true);
                self.calls.insert(id, pending);
            }
            held
        }

        fn next(&mut self) -> Vec<u64> {
            let whose = self.agents[0].principal_id();
            self.calls.next_turns(Some(whose), self.now, true)
        }

        fn all_next(&mut self, later: Duration) -> Vec<u64> {
            self.calls.next_turns(None, self.now + later, true)
        }
    }

    #[test]
    fn an_agent_has_so_many_calls_at_once_while_others_wait() {
        let mut slow = Slow::beside();
        assert_eq!(slow.begin(0, 10..20), [14, 15, 16, 17, 18, 19]);
        assert_eq!(slow.next(), [0; 0]);
        assert!(slow.calls.answered(14, true).is_none(), "the server cannot have answered what it was not given");
        slow.calls.answered(10, true);
        assert_eq!(slow.next(), [14]);
        slow.calls.note_cancelled(11);
        assert_eq!(slow.next(), [0; 0], "the server may still be at it");
        slow.calls.remove(11);
        slow.calls.note_cancelled(15);
        slow.calls.remove(15);
        assert_eq!(slow.next(), [16], "one that was cancelled is not sent");
        slow.calls.answered(1, true);
        assert_eq!(slow.all_next(Duration::ZERO), [17, 18, 19], "nobody else waits any more");
        assert_eq!(slow.begin(0, 20..40), [0; 0]);
        (12..40).for_each(|id| drop(slow.calls.remove(id)));
        assert_eq!((slow.calls.turns.waited_for, slow.calls.turns.shares.len()), (0, 0));
    }

    #[test]
    fn what_waits_for_a_person_is_no_call_at_the_server() {
        let mut slow = Slow::beside();
        slow.begin(0, 10..14);
        slow.calls.set_parked(10, Parked::Yes);
        assert_eq!(slow.begin(0, 14..16), [15]);
        slow.calls.set_parked(10, Parked::No);
        slow.calls.answered(11, true);
        assert_eq!(slow.next(), [0; 0], "it is at the server again");
        // Nor does anybody wait for the server by it.
        slow.calls.set_parked(1, Parked::Yes);
        assert_eq!(slow.next(), [15]);
        [1, 10, 12, 13, 14, 15].into_iter().for_each(|id| drop(slow.calls.remove(id)));
        assert_eq!((slow.calls.turns.waited_for, slow.calls.turns.shares.len()), (0, 0));
    }

    #[test]
    fn who_has_given_up_waits_no_more() {
        let mut slow = Slow::beside();
        slow.calls.note_cancelled(1);
        assert_eq!(slow.begin(0, 10..20), [0; 0]);
    }

    #[test]
    fn what_waits_for_a_stuck_server_goes_to_it() {
        let mut slow = Slow::beside();
        let held = slow.begin(0, 10..20);
        assert_eq!(slow.all_next(Duration::from_millis(4_800)), [0; 0]);
        assert!(slow.calls.turns.has_held());
        assert_eq!(slow.all_next(Duration::from_secs(5)), held);
        assert!(!slow.calls.turns.has_held());
    }

    #[test]
    fn nobody_waits_at_a_server_that_is_at_several_calls() {
        let mut slow = Slow::beside();
        assert_eq!(slow.begin(0, 10..16), [14, 15]);
        // It had the other one's call first.
        slow.calls.turns.pace.begins(Instant::now() - Duration::from_millis(100));
        slow.calls.answered(10, true);
        assert_eq!(slow.next(), [14, 15]);
        assert_eq!(slow.begin(0, 20..30), [0; 0]);
    }
}
