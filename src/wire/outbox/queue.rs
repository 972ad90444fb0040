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
    /// Of what was taken out in one piece and is its own.
    taken: Option<Account>,
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
            taken: None,
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

    /// Those of them that the reader could have taken.
    pub(super) fn unread(&self) -> usize {
        self.waiting() - self.lanes.waiting() + self.lanes.let_through()
    }

    /// Whether there is nothing that the writer could take out.
    pub(super) fn is_idle(&self) -> bool {
        self.ahead.is_empty() && self.bytes.is_empty() && !self.lanes.has_turn(self.gone) && self.turn.0.is_empty()
    }

    /// Whether all that may be written is.
    pub(super) fn is_written(&self) -> bool {
        self.is_idle() && self.writing.bytes == 0
    }

    /// Whether all is in the order in which it came.
    pub(super) fn is_in_order(&self) -> bool {
        self.lanes.is_empty() && self.turn.0.is_empty()
    }

    pub(super) fn has_room_for(&self, size: usize) -> bool {
        [self.waiting, self.lanes.let_through()].iter().all(|waiting| self.fits(*waiting, size))
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
        let held = sent.by.held();
        let aside = sent.waits || held + size > SHARE || held > 0 && self.lanes.has(sent.by);
        // What is held back for its sender is bounded by what the sender may have waiting.
        if !sent.waits && !self.fits(if aside { self.lanes.let_through() } else { self.waiting }, size) {
            return Err(Refused::Full);
        }
        // One that is stuck is no reason to keep what is small from the others.
        let taken = if size <= SHARE && !sent.waits { sent.by.take_beyond(size) } else { sent.by.take(size) };
        taken.map(|()| aside)
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
                while is_turn && let Some(next) = self.turn.0.pop_front_if(|next| matches!(next.text, Text::Own(_))) {
                    batch.extend_from_slice(next.bytes());
                }
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
        // Its own go on to be weighed beside what is in its way.
        let taken = self.taken.get_or_insert_with(|| self.own.beside(usize::MAX));
        let mut weights: Vec<_> = self.weights.drain(..).collect();
        weights.iter_mut().filter(|held| held.is_of(&self.own)).for_each(|held| held.move_to(taken));
        while self.lanes.has_turn(self.gone) {
            for message in self.lanes.turn(self.gone) {
                message.parts.iter().for_each(|part| all.extend_from_slice(part.bytes()));
                weights.push(message.held);
            }
        }
        (all, weights)
    }

    /// Lets a request be written that waits for that.
    pub(super) fn let_go(&mut self, request: u64) {
        self.lanes.let_go(request);
    }

    /// Takes out a request; false if it is not in a lane any more.
    pub(super) fn withdraw(&mut self, request: u64) -> bool {
        self.lanes.withdraw(request)
    }

    /// Forgets the messages of accounts that were cut off; returns the ids of their requests. What is begun, and the little that
    /// goes beside the lanes, is weighed for the server from then on, which does not take it.
    pub(super) fn forget_cut(&mut self) -> Vec<u64> {
        let begun = self.weights.iter_mut().chain(&mut self.turn.1);
        begun.filter(|held| held.is_cut()).for_each(|held| held.move_to(&self.own));
        self.lanes.forget_cut()
    }

    #[cfg(test)]
    pub(super) fn keeps_long_ones_apart(&self) -> bool {
        self.ahead.iter().any(|part| matches!(part.text, Text::Shared(_)))
    }
}

#[cfg(test)]
mod tests;
