//! What is read of a stream, and how to come back for the rest.

use bytes::Bytes;

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
