//! Reads one stream, as far as its reader is the last one that came.

use std::sync::Arc;
use std::time::Instant;

use crate::wire::streams::event::{EventId, Read};
use crate::wire::streams::{LISTENING, State, Stream, Streams};
use tokio::sync::Notify;

/// Reads one stream.
#[derive(Debug)]
pub struct Reader {
    pub(super) streams: Streams,
    pub(super) stream: u64,
    pub(super) number: u64,
    pub(super) start: u64,
    pub(super) next: u64,
    pub(super) told: Arc<Notify>,
}

impl Streams {
    /// Opens a stream for the answer to the request `id`, raw; `None` if that id is in use.
    pub fn open(&self, id: &str) -> Option<Reader> {
        let mut state = self.0.state.lock();
        state.sweep(self.0.account.limit());
        if state.open.contains_key(id) {
            return None;
        }
        state.last += 1;
        let number = state.last;
        state.open.insert(id.into(), number);
        state.streams.insert(number, Stream::default());
        self.read_in(&mut state, number, 0)
    }

    /// Reads what belongs to no request; a reader that did so before ends.
    pub fn listen(&self) -> Option<Reader> {
        let mut state = self.0.state.lock();
        let stream = state.streams.entry(LISTENING).or_default();
        let next = stream.read.max(stream.first);
        self.read_in(&mut state, LISTENING, next)
    }

    /// Reads on behind an event; `None` if its stream is not kept. What belongs to no request goes on, whatever was lost with
    /// an earlier daemon.
    pub fn resume(&self, after: EventId) -> Option<Reader> {
        match (after.epoch == self.0.epoch, after.stream) {
            (true, stream) => self.read_in(&mut self.0.state.lock(), stream, after.next),
            (false, LISTENING) => self.listen(),
            (false, _) => None,
        }
    }

    fn read_in(&self, state: &mut State, stream: u64, next: u64) -> Option<Reader> {
        let found = state.streams.get_mut(&stream)?;
        if next < found.first || next > found.first + found.frames.len() as u64 {
            return None;
        }
        if state.closed {
            found.ended.get_or_insert_with(Instant::now);
        }
        found.readers += 1;
        found.read_by = Some(found.readers);
        found.paused = false;
        found.told.notify_waiters();
        let (number, told) = (found.readers, found.told.clone());
        state.readers += 1;
        Some(Reader { streams: self.clone(), stream, number, start: next, next, told })
    }
}

impl Reader {
    /// The id to come back with for all that this reader reads.
    pub fn start(&self) -> EventId {
        self.event(self.start)
    }

    fn event(&self, next: u64) -> EventId {
        EventId { epoch: self.streams.0.epoch, stream: self.stream, next }
    }

    /// Whether what was read last is the answer.
    pub fn is_answered(&self) -> bool {
        let state = self.streams.0.state.lock();
        let stream = state.streams.get(&self.stream);
        stream.is_some_and(|stream| stream.answered && self.next >= stream.first + stream.frames.len() as u64)
    }

    /// Forgets the stream, if it has ended: nobody can come back for it.
    pub fn forget(&self) {
        let mut state = self.streams.0.state.lock();
        if state.streams.get(&self.stream).is_some_and(|stream| stream.ended.is_some()) {
            state.streams.remove(&self.stream);
        }
    }

    /// The next message. Cancel-safe.
    pub async fn next(&mut self) -> Read {
        loop {
            let told = self.told.clone();
            let notified = told.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if let Some(read) = self.try_next() {
                return read;
            }
            notified.await;
        }
    }

    fn try_next(&mut self) -> Option<Read> {
        let mut state = self.streams.0.state.lock();
        let Some(stream) = state.streams.get_mut(&self.stream) else { return Some(Read::End) };
        if stream.read_by != Some(self.number) {
            return Some(Read::End);
        }
        // What it did not read in time may be gone.
        self.next = self.next.max(stream.first);
        let at = usize::try_from(self.next - stream.first).unwrap_or(usize::MAX);
        if let Some(frame) = stream.frames.get(at).cloned() {
            self.next += 1;
            stream.read = stream.read.max(self.next);
            if !self.streams.is_kept() {
                stream.drop_first();
            }
            return Some(Read::Frame(frame, self.event(self.next)));
        }
        match (stream.ended, stream.paused) {
            (Some(_), _) => Some(Read::End),
            (None, true) => Some(Read::Pause),
            (None, false) => None,
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.streams.0.state.lock();
        state.readers -= 1;
        if let Some(stream) = state.streams.get_mut(&self.stream) {
            stream.read_by.take_if(|reader| *reader == self.number);
        }
    }
}
