//! What waits to be written, and who each part is weighed for: in order, but for those who have much waiting.

use std::collections::VecDeque;
use std::mem;

use bytes::Bytes;

use crate::envelope::Edit;
use crate::wire::budget::{Account, Held};
use crate::wire::line;
use crate::wire::outbox::lanes::{Lanes, SHARE};
use crate::wire::outbox::part::{Part, Text, parts_of};
use crate::wire::refused::Refused;
use crate::wire::sent::Sent;

/// What is written in one go has this many bytes, and what came last besides.
const CHUNK: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Queue {
    own: Account,
    /// What goes before `bytes`: whole messages, and the parts of long ones.
    ahead: VecDeque<Part>,
    bytes: Vec<u8>,
    /// Of `ahead` and `bytes` in their order, and before them of what is being written of these.
    weights: VecDeque<Held>,
    waiting: usize,
    /// How many bytes of these were ever there, and how many of them were taken out.
    came: u64,
    gone: u64,
    lanes: Lanes,
    /// The turn of a lane: what is left to be written, and what all of it weighs.
    turn: (VecDeque<Part>, Vec<Held>),
    /// A lane has the next turn.
    owed: bool,
    /// What was taken out and is being written.
    writing: Writing,
    pub closed: bool,
}

/// What is being written.
#[derive(Debug, Clone, Copy, Default)]
struct Writing {
    bytes: usize,
    is_turn: bool,
    /// Its message goes on.
    is_begun: bool,
}

impl Queue {
    /// One that holds as much as the account may; so may the lanes together.
    pub(super) fn new(own: Account) -> Self {
        Self {
            own,
            ahead: VecDeque::new(),
            bytes: Vec::new(),
            weights: VecDeque::new(),
            waiting: 0,
            came: 0,
            gone: 0,
            lanes: Lanes::default(),
            turn: Default::default(),
            owed: false,
            writing: Writing::default(),
            closed: false,
        }
    }

    /// Takes no more, and forgets all that waits.
    pub(super) fn discard(&mut self) {
        *self = Self { closed: true, ..Self::new(self.own.clone()) };
    }

    /// Bytes that wait or are being written.
    pub(super) fn waiting(&self) -> usize {
        self.waiting + self.lanes.waiting() + self.turn.1.iter().map(Held::bytes).sum::<usize>()
    }

    /// Whether there is nothing that the writer could take out.
    pub(super) fn is_idle(&self) -> bool {
        self.ahead.is_empty() && self.bytes.is_empty() && self.lanes.is_empty() && self.turn.0.is_empty()
    }

    /// Whether all is in the order in which it came.
    pub(super) fn is_in_order(&self) -> bool {
        self.lanes.is_empty()
    }

    pub(super) fn has_room_for(&self, size: usize) -> bool {
        [self.waiting, self.lanes.waiting()].iter().all(|waiting| self.fits(*waiting, size))
    }

    fn fits(&self, waiting: usize, size: usize) -> bool {
        waiting == 0 || waiting + size <= self.own.limit()
    }

    /// Takes room for a message of about `size` bytes; tells whether it goes into a lane.
    fn take_room(&self, sent: Sent<'_>, size: usize) -> Result<bool, Refused> {
        if sent.by.is(&self.own) {
            // What it holds bounds it.
            return sent.by.take(size).map(|()| false);
        }
        let is_much = || sent.by.held() + size > SHARE && self.waiting() > 0;
        let aside = self.lanes.has(sent.by) || is_much();
        if !self.fits(if aside { self.lanes.waiting() } else { self.waiting }, size) {
            return Err(Refused::Full);
        }
        sent.by.take(size).map(|()| aside)
    }

    /// Appends a message of about `size` bytes, written by `fill`, and the line end.
    pub(super) fn append(
        &mut self,
        sent: Sent<'_>,
        size: usize,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Refused> {
        let aside = self.take_room(sent, size)?;
        let mut own = Vec::new();
        if !aside && self.bytes.len() >= CHUNK {
            self.put_ahead();
        }
        let bytes = if aside { &mut own } else { &mut self.bytes };
        let from = bytes.len();
        bytes.reserve(size + 32);
        fill(bytes);
        line::join(bytes, from);
        bytes.push(b'\n');
        let held = sent.by.taken(size, bytes.len() - from);
        if aside {
            self.lanes.push(sent, self.came, vec![Part { text: Text::Own(own), ends: true }], held);
        } else {
            self.note(held);
        }
        Ok(())
    }

    /// Appends a message with edits, and the line end. What is long in it is not copied.
    pub(super) fn append_edited(
        &mut self,
        sent: Sent<'_>,
        text: &Bytes,
        edits: &mut [Edit<'_>],
    ) -> Result<(), Refused> {
        let aside = self.take_room(sent, text.len())?;
        let parts = parts_of(text, edits);
        let length = parts.iter().map(|part| part.bytes().len()).sum();
        let held = sent.by.taken(text.len(), length);
        if aside {
            self.lanes.push(sent, self.came, parts, held);
        } else {
            self.put_ahead();
            self.ahead.extend(parts);
            self.note(held);
        }
        Ok(())
    }

    /// Notes what came beside the lanes.
    fn note(&mut self, held: Held) {
        self.waiting += held.bytes();
        self.came += held.bytes() as u64;
        match self.weights.back_mut() {
            Some(last) if last.is_like(&held) => last.join(held),
            _ => self.weights.push_back(held),
        }
    }

    /// Has what comes next go behind what is there.
    fn put_ahead(&mut self) {
        if !self.bytes.is_empty() {
            self.ahead.push_back(Part { text: Text::Own(mem::take(&mut self.bytes)), ends: true });
        }
    }

    /// Takes out what is to be written next: a part of a long message, or else what it puts into `batch`.
    pub(super) fn next(&mut self, batch: &mut Vec<u8>) -> Option<Option<Bytes>> {
        let beside = !self.ahead.is_empty() || !self.bytes.is_empty();
        if self.turn.0.is_empty() && !self.writing.is_begun && (self.owed || !beside) {
            for message in self.lanes.turn(self.gone) {
                self.turn.0.extend(message.parts);
                self.turn.1.push(message.held);
            }
        }
        let is_turn = !self.turn.0.is_empty() && !self.writing.is_begun;
        let part = if is_turn { self.turn.0.pop_front() } else { self.ahead.pop_front() };
        let (shared, ends) = match part {
            Some(Part { text: Text::Shared(bytes), ends }) => (Some(bytes), ends),
            Some(Part { text: Text::Own(bytes), ends }) => {
                *batch = bytes;
                (None, ends)
            }
            None => {
                mem::swap(batch, &mut self.bytes);
                (None, true)
            }
        };
        let bytes = shared.as_ref().map_or(batch.len(), Bytes::len);
        self.owed = !is_turn;
        if !is_turn {
            self.gone += bytes as u64;
        }
        self.writing = Writing { bytes, is_turn, is_begun: !is_turn && !ends };
        (bytes > 0).then_some(shared)
    }

    /// Notes that what was taken out is written.
    pub(super) fn written(&mut self) {
        let (mut bytes, is_turn) = (mem::take(&mut self.writing.bytes), self.writing.is_turn);
        if is_turn {
            if self.turn.0.is_empty() {
                self.turn.1.clear();
            }
            return;
        }
        self.waiting -= bytes;
        while bytes > 0
            && let Some(first) = self.weights.front_mut()
        {
            bytes -= first.part(bytes).bytes();
            if first.bytes() == 0 {
                self.weights.pop_front();
            }
        }
    }

    /// Takes out all that waits, in one piece, with what it weighs.
    pub(super) fn take(&mut self) -> (Vec<u8>, Vec<Held>) {
        let mut all = Vec::new();
        if self.ahead.is_empty() {
            mem::swap(&mut all, &mut self.bytes);
        } else {
            self.ahead.drain(..).for_each(|part| all.extend_from_slice(part.bytes()));
            all.append(&mut self.bytes);
        }
        self.gone = self.came;
        self.waiting = 0;
        let mut weights: Vec<_> = self.weights.drain(..).collect();
        while !self.lanes.is_empty() {
            for message in self.lanes.turn(self.gone) {
                message.parts.iter().for_each(|part| all.extend_from_slice(part.bytes()));
                weights.push(message.held);
            }
        }
        (all, weights)
    }

    /// Takes out a request; false if it is not in a lane any more.
    pub(super) fn withdraw(&mut self, request: u64) -> bool {
        self.lanes.withdraw(request)
    }

    /// Forgets the messages of accounts that were cut off, but for the little that goes beside the lanes; returns the ids of their
    /// requests.
    pub(super) fn forget_cut(&mut self) -> Vec<u64> {
        self.lanes.forget_cut()
    }

    #[cfg(test)]
    pub(super) fn keeps_long_ones_apart(&self) -> bool {
        self.ahead.iter().any(|part| matches!(part.text, Text::Shared(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Budget, LARGE};
    use std::collections::{HashMap, HashSet};
    use tokio_util::sync::CancellationToken;

    fn accounts(count: usize) -> (Budget, Vec<Account>) {
        let budget = Budget::new(usize::MAX);
        let all = (0..count).map(|_| budget.account("a test", usize::MAX, CancellationToken::new())).collect();
        (budget, all)
    }

    /// A message of a sender: its number, its place among those of the sender, and so many letters.
    fn push(queue: &mut Queue, by: (usize, &Account), request: u64, length: usize) {
        let sent = Sent { by: by.1, request: Some(request) };
        let (begin, letters) = (format!("{}:{request}:", by.0), "x".repeat(length));
        if length > 2 * LARGE {
            let text = Bytes::from(begin + &letters);
            queue.append_edited(sent, &text, &mut [Edit { at: 2..2, with: "" }]).expect("taken");
        } else {
            queue.append(sent, length, |out| out.extend_from_slice((begin + &letters).as_bytes())).expect("taken");
        }
    }

    fn write(queue: &mut Queue, out: &mut Vec<u8>) -> bool {
        let mut batch = Vec::new();
        let Some(part) = queue.next(&mut batch) else { return false };
        out.extend_from_slice(part.as_deref().unwrap_or(&batch));
        queue.written();
        true
    }

    /// Senders and requests, in the order in which they were written.
    fn order(out: &[u8]) -> Vec<(usize, u64)> {
        let text = std::str::from_utf8(out).expect("text");
        let line = |line: &str| {
            let parts: Vec<_> = line.split(':').collect();
            assert!(parts.len() == 3 && parts[2].bytes().all(|byte| byte == b'x'), "a message in pieces");
            (parts[0].parse().expect("a sender"), parts[1].parse().expect("a request"))
        };
        text.lines().map(line).collect()
    }

    #[test]
    fn who_sends_little_waits_for_one_message_of_those_who_send_much() {
        let (_budget, all) = accounts(4);
        let mut queue = Queue::new(all[0].clone());
        let mut out = Vec::new();
        for request in 0..3 {
            push(&mut queue, (1, &all[1]), request, 2 * SHARE);
        }
        push(&mut queue, (2, &all[2]), 3, 10);
        for request in 4..6 {
            push(&mut queue, (3, &all[3]), request, 3 * LARGE);
        }
        // What is small of one who has much waiting stays behind that.
        push(&mut queue, (1, &all[1]), 6, 10);
        push(&mut queue, (0, &all[0]), 7, 10);
        while write(&mut queue, &mut out) {}
        assert_eq!(order(&out), [(1, 0), (2, 3), (0, 7), (1, 1), (3, 4), (1, 2), (3, 5), (1, 6)]);
    }

    #[test]
    fn a_request_is_withdrawn_until_its_turn() {
        let (budget, all) = accounts(2);
        let mut queue = Queue::new(all[0].clone());
        let mut out = Vec::new();
        for request in [3, 5, 7, 9] {
            push(&mut queue, (1, &all[1]), request, SHARE);
        }
        assert!(!queue.withdraw(3), "it is about to be written");
        assert!(!queue.withdraw(4) && !queue.withdraw(10), "nobody has sent it");
        assert!(queue.withdraw(5) && !queue.withdraw(5));
        assert!(queue.withdraw(9));
        while write(&mut queue, &mut out) {}
        assert_eq!(order(&out), [(1, 3), (1, 7)]);
        assert_eq!((queue.waiting(), budget.used(), queue.is_idle()), (0, 0, true));
        push(&mut queue, (1, &all[1]), 11, SHARE);
        push(&mut queue, (1, &all[1]), 12, SHARE);
        assert!(queue.withdraw(12) && write(&mut queue, &mut out) && !write(&mut queue, &mut out));
        assert!(queue.is_idle(), "a lane without messages is none");
    }

    #[test]
    fn whatever_comes_and_goes_each_sender_is_heard_whole_and_in_order() {
        for seed in 0..60 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (budget, mut all) = accounts(5);
            let mut queue = Queue::new(all[0].clone());
            let (mut out, mut gone) = (Vec::new(), HashSet::new());
            for request in 0..60 {
                let at = random.usize(0..all.len());
                // A long one is rare: it takes a while to look at.
                let length = if random.u8(0..40) == 0 { Some(2 * LARGE + 99) } else { None };
                let length = length
                    .or_else(|| random.choice([5, 300, 300, SHARE / 2, SHARE / 2, 2 * SHARE, 2 * SHARE]))
                    .expect("one");
                push(&mut queue, (at, &all[at]), request, length);
                assert_eq!(queue.waiting(), budget.used(), "seed {seed}");
                match random.u32(0..12) {
                    0..6 => drop(write(&mut queue, &mut out)),
                    6 => {
                        let request = random.u64(0..=request);
                        gone.extend(Some(request).filter(|request| queue.withdraw(*request)));
                    }
                    7 if at > 0 => {
                        all[at].cut().cancel();
                        gone.extend(queue.forget_cut());
                        all[at] = budget.account("a test", usize::MAX, CancellationToken::new());
                    }
                    _ => {}
                }
            }
            if random.bool() {
                while write(&mut queue, &mut out) {}
            } else {
                // What is begun is written by whoever has begun it.
                while queue.writing.is_begun || !queue.turn.0.is_empty() {
                    assert!(write(&mut queue, &mut out));
                }
                let (rest, weights) = queue.take();
                assert_eq!(weights.iter().map(Held::bytes).sum::<usize>(), rest.len(), "seed {seed}");
                out.extend(rest);
            }
            let written = order(&out);
            assert_eq!(written.len() + gone.len(), 60, "seed {seed}");
            assert!(written.iter().all(|(_, request)| !gone.contains(request)), "seed {seed}");
            let mut last = HashMap::new();
            for (sender, request) in written {
                assert!(last.insert(sender, request).is_none_or(|before| before < request), "seed {seed}");
            }
            assert_eq!((queue.waiting(), budget.used(), queue.is_idle()), (0, 0, true), "seed {seed}");
        }
    }
}
