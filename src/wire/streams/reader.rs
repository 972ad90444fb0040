//! Reads one stream, as far as its reader is the last one that came.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use super::Streams;

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

/// What a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// A message, and the id of its event.
    Frame(Bytes, EventId),
    /// The server wants the reader to come back later for the rest.
    Pause,
    /// Nothing more will come, or another reader has taken over.
    End,
}

/// Names a message on a stream: what comes after it can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId {
    pub(super) epoch: u32,
    pub(super) stream: u64,
    pub(super) next: u64,
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-{}-{}", self.epoch, self.stream, self.next)
    }
}

impl EventId {
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, rest) = text.split_once('-')?;
        let (stream, next) = rest.split_once('-')?;
        let epoch = u32::from_str_radix(epoch, 16).ok()?;
        Some(Self { epoch, stream: stream.parse().ok()?, next: next.parse().ok()? })
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
