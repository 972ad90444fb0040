//! What waits to be written: calls as bytes, and what of them stands in tables of its own.

use std::sync::Arc;

use crate::agent::Agent;
use crate::record::block::{Entry, Writer};
use crate::record::call::{Asked, Call};
use crate::record::clock::Clock;
use crate::record::interner::Interner;
use crate::record::shape::micros_of;

/// How many bytes of calls may wait, and of payloads.
const BYTES: usize = 512 << 10;
const PAYLOADS: usize = 2 << 20;

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Ring {
    names: Interner<str>,
    agents: Interner<Agent>,
    clock: Clock,
    writer: Writer,
    count: usize,
    failed: usize,
    /// When the first of them began, and the last one ended.
    span: (i64, i64),
    more: Vec<More>,
    payloads: usize,
}

/// What of one call stands in tables of its own.
#[derive(Debug)]
pub(super) struct More {
    /// Which one of its batch it is.
    pub index: usize,
    /// By the number of the method.
    pub asked: Vec<(u32, Asked)>,
    pub arguments: Option<Box<str>>,
    pub result: Option<Box<str>>,
}

/// What is written in one step.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub bytes: Vec<u8>,
    pub count: usize,
    pub failed: usize,
    pub span: (i64, i64),
    pub more: Vec<More>,
    pub names: Vec<(u32, Arc<str>)>,
    pub agents: Vec<(u32, Arc<Agent>)>,
}

/// The numbers that a file has.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub names: Vec<(u32, Arc<str>)>,
    pub agents: Vec<(u32, Arc<Agent>)>,
}

impl Known {
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.agents.is_empty()
    }
}

impl Ring {
    /// Begins anew with the numbers of a file; returns how many calls are forgotten that were numbered otherwise.
    pub(super) fn begin_with(&mut self, known: Known) -> usize {
        let forgotten = self.count;
        *self = Self::default();
        self.names.load(known.names);
        self.agents.load(known.agents);
        forgotten
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Adds a call; returns how many there are now, or nothing where there is no room.
    pub(super) fn push(&mut self, call: &Call) -> Option<usize> {
        let begun = &call.begun;
        let weight = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        let payload = weight(&begun.arguments) + weight(&call.result);
        if self.writer.bytes.len() >= BYTES || self.payloads + payload > PAYLOADS && payload > 0 {
            return None;
        }
        let at = self.clock.micros(begun.since, begun.since + call.took);
        let took = micros_of(call.took);
        let entry = Entry {
            at,
            agent: self.agents.number(&begun.agent),
            session: begun.session,
            server: self.names.name(call.server.as_str()),
            pid: call.pid.unwrap_or_default(),
            method: self.names.name(&begun.method),
            subject: begun.subject.as_deref().map_or(0, |subject| self.names.name(subject)),
            took,
            first: call.first.map(micros_of),
            sent: begun.sent,
            received: call.received,
            progress: begun.progress,
            outcome: call.outcome.number(),
            code: call.outcome.code().unwrap_or_default(),
        };
        let ended = at.saturating_add_unsigned(took);
        self.span = if self.count == 0 { (at, ended) } else { (self.span.0.min(at), self.span.1.max(ended)) };
        if !begun.asked.is_empty() || payload > 0 {
            self.payloads += payload;
            self.more.push(More {
                index: self.count,
                asked: begun.asked.iter().map(|asked| (self.names.name(&asked.method), asked.clone())).collect(),
                arguments: begun.arguments.clone(),
                result: call.result.clone(),
            });
        }
        self.writer.push(&entry);
        self.count += 1;
        self.failed += usize::from(call.outcome.is_failure());
        Some(self.count)
    }

    /// Moves all that waits into an empty batch.
    pub(super) fn take(&mut self, batch: &mut Batch) {
        self.writer.take(&mut batch.bytes);
        std::mem::swap(&mut batch.more, &mut self.more);
        (batch.count, batch.failed, batch.span) = (self.count, self.failed, self.span);
        (self.count, self.failed, self.payloads) = (0, 0, 0);
        batch.names.append(&mut self.names.take_fresh());
        batch.agents.append(&mut self.agents.take_fresh());
        if self.names.is_full() || self.agents.is_full() {
            self.names.forget();
            self.agents.forget();
        }
    }
}

impl Batch {
    /// Has all names that are known written with it: the file is another one.
    pub(super) fn renew(&mut self, ring: &mut Ring) {
        ring.names.renew();
        ring.agents.renew();
        self.names.append(&mut ring.names.take_fresh());
        self.agents.append(&mut ring.agents.take_fresh());
    }

    /// Forgets all, also what is in no file yet.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Forgets the calls, which are written or lost. Names that are in no file yet wait for the next ones.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.more.clear();
        (self.count, self.failed) = (0, 0);
    }
}
