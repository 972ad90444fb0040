//! What waits of senders that have much waiting: each has a lane, and the lanes take turns. So whoever sends little waits for one
//! message of theirs at most, and not for all. A request may have to wait in its lane until it is let go.

use std::collections::VecDeque;
use std::mem;

use crate::wire::budget::{Account, Held};
use crate::wire::outbox::part::Part;
use crate::wire::sent::Sent;

/// How many bytes a sender may have waiting beside everybody else's; and what goes of a lane in one turn, or one message if that
/// is longer.
pub const SHARE: usize = 64 << 10;

#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// The one whose turn is next comes first.
    lanes: VecDeque<Lane>,
    /// Those whose first message has not been let go.
    stopped: Vec<Lane>,
    waiting: usize,
    /// What of it has not been let go.
    held_back: usize,
}

#[derive(Debug)]
struct Lane {
    whose: Account,
    /// How much must have gone of what waited beside the lanes: something of this sender is among it.
    behind: u64,
    messages: VecDeque<Waiting>,
}

/// A message in a lane.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Nothing, if it was withdrawn.
    pub parts: Vec<Part>,
    pub held: Held,
    /// The id of the request, or of the one before it.
    id: u64,
    is_request: bool,
    /// It has not been let go.
    waits: bool,
}

impl Waiting {
    /// Returns how many bytes of it waited for that until now.
    fn let_go(&mut self) -> usize {
        if mem::take(&mut self.waits) { self.held.bytes() } else { 0 }
    }
}

impl Lane {
    fn is_stopped(&self) -> bool {
        self.messages.front().is_some_and(|first| first.waits)
    }

    /// Where a request is in it.
    fn find(&self, request: u64) -> Option<usize> {
        let at = self.messages.partition_point(|message| message.id < request);
        let message = self.messages.get(at)?;
        (message.is_request && message.id == request && !message.parts.is_empty()).then_some(at)
    }
}

impl Lanes {
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty() && self.stopped.is_empty()
    }

    /// Whether something may be written, once so many bytes of what waited beside the lanes have gone.
    pub(super) fn has_turn(&self, gone: u64) -> bool {
        self.lanes.iter().any(|lane| lane.behind <= gone)
    }

    /// Bytes that wait here.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Bytes that wait here for the reader alone.
    pub(super) fn let_through(&self) -> usize {
        self.waiting - self.held_back
    }

    pub(super) fn has(&self, whose: &Account) -> bool {
        self.lanes.iter().chain(&self.stopped).any(|lane| lane.whose.is(whose))
    }

    /// Puts a message behind those of its sender. A new lane has its first turn when `behind` bytes of what waits beside the
    /// lanes have gone.
    pub(super) fn push(&mut self, sent: Sent<'_>, behind: u64, parts: Vec<Part>, held: Held) {
        self.waiting += held.bytes();
        self.held_back += if sent.waits { held.bytes() } else { 0 };
        let Some(lane) = self.lanes.iter_mut().chain(&mut self.stopped).find(|lane| lane.whose.is(sent.by)) else {
            let (id, is_request) = (sent.request.unwrap_or_default(), sent.request.is_some());
            let messages = [Waiting { parts, held, id, is_request, waits: sent.waits }].into();
            return self.put(Lane { whose: sent.by.clone(), behind, messages });
        };
        let before = lane.messages.back().map_or(0, |last| last.id);
        // Small ones in a row cost more apart than they weigh. Of requests there are only so many.
        if let (Some(last), None, [more]) = (lane.messages.back_mut(), sent.request, parts.as_slice())
            && !last.is_request
            && last.held.bytes() < SHARE
            && last.held.is_like(&held)
            && last.parts.last_mut().is_some_and(|part| part.append(more))
        {
            return last.held.join(held);
        }
        let (id, is_request) = (sent.request.unwrap_or(before), sent.request.is_some());
        lane.messages.push_back(Waiting { parts, held, id, is_request, waits: sent.waits });
    }

    /// Puts a lane behind the others, if anything is in it that was not withdrawn.
    fn put(&mut self, mut lane: Lane) {
        while lane.messages.pop_front_if(|first| first.parts.is_empty()).is_some() {}
        while lane.messages.pop_back_if(|last| last.parts.is_empty()).is_some() {}
        if lane.is_stopped() {
            self.stopped.push(lane);
        } else if !lane.messages.is_empty() {
            self.lanes.push_back(lane);
        }
    }

    /// The next turn, once so many bytes of what waited beside the lanes have gone.
    pub(super) fn turn(&mut self, gone: u64) -> Vec<Waiting> {
        let (mut turn, mut bytes) = (Vec::new(), 0);
        while turn.is_empty()
            && let Some(at) = self.lanes.iter().position(|lane| lane.behind <= gone)
            && let Some(mut lane) = self.lanes.remove(at)
        {
            while let Some(next) = lane.messages.front()
                && !next.waits
                && (turn.is_empty() || bytes + next.held.bytes() <= SHARE)
            {
                bytes += next.held.bytes();
                turn.extend(lane.messages.pop_front().filter(|message| !message.parts.is_empty()));
            }
            self.put(lane);
        }
        self.waiting -= bytes;
        turn
    }

    /// Lets a request be written that waits for that.
    pub(super) fn let_go(&mut self, request: u64) {
        let mut let_go = 0;
        self.change(request, |message| let_go = message.let_go());
        self.held_back -= let_go;
    }

    /// Takes a request out; false if it does not wait here.
    pub(super) fn withdraw(&mut self, request: u64) -> bool {
        let (mut bytes, mut let_go) = (0, 0);
        let found = self.change(request, |message| {
            (bytes, let_go) = (message.held.bytes(), message.let_go());
            message.parts = Vec::new();
            message.held.clear();
        });
        self.waiting -= bytes;
        self.held_back -= let_go;
        found
    }

    /// Changes a request that waits here; tells whether there is one. Where its lane was stopped by it, the lane may go on.
    fn change(&mut self, request: u64, change: impl FnOnce(&mut Waiting)) -> bool {
        let find = |lane: &Lane| lane.find(request);
        if let Some((lane, at)) = self.lanes.iter_mut().find_map(|lane| find(lane).map(|at| (lane, at))) {
            change(&mut lane.messages[at]);
            while lane.messages.pop_back_if(|last| last.parts.is_empty()).is_some() {}
            self.lanes.retain(|lane| !lane.messages.is_empty());
            return true;
        }
        let Some((number, at)) = self.stopped.iter().enumerate().find_map(|(number, lane)| Some((number, find(lane)?)))
        else {
            return false;
        };
        let mut lane = self.stopped.swap_remove(number);
        change(&mut lane.messages[at]);
        self.put(lane);
        true
    }

    /// Forgets what accounts have here that were cut off; returns the ids of their requests.
    pub(super) fn forget_cut(&mut self) -> Vec<u64> {
        let mut requests = Vec::new();
        for lane in self.lanes.iter_mut().chain(&mut self.stopped) {
            if lane.whose.cut().is_cancelled() {
                for mut message in mem::take(&mut lane.messages) {
                    self.waiting -= message.held.bytes();
                    self.held_back -= message.let_go();
                    requests.extend(Some(message.id).filter(|_| message.is_request && !message.parts.is_empty()));
                }
            }
        }
        self.lanes.retain(|lane| !lane.messages.is_empty());
        self.stopped.retain(|lane| !lane.messages.is_empty());
        requests
    }
}
