//! Where the messages for one agent go: all on one stream, or each request's on its own.

use crate::envelope::{Edit, Envelope, splice};
use crate::wire::budget::Account;
use crate::wire::outbox::Outbox;
use crate::wire::refused::Refused;
use crate::wire::streams::Streams;
use crate::wire::to::To;

#[derive(Debug, Clone)]
pub enum Sink {
    Stream(Outbox),
    Streams(Streams),
}

impl Sink {
    /// Appends a message of about `size` bytes, written by `fill`.
    pub fn push(&self, to: To<'_>, size: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Result<(), Refused> {
        match self {
            Self::Stream(outbox) => outbox.push(size, fill),
            Self::Streams(streams) => streams.push(to, size, fill),
        }
    }

    /// Appends a message with edits.
    pub fn push_edited(&self, to: To<'_>, envelope: &Envelope<'_>, edits: &mut [Edit<'_>]) -> Result<(), Refused> {
        match self {
            Self::Stream(outbox) => outbox.push_edited(envelope, edits),
            Self::Streams(streams) => streams.push(to, envelope.frame.len(), |out| splice(envelope.frame, edits, out)),
        }
    }

    /// Takes no more messages, and forgets those that wait.
    pub fn discard(&self) {
        match self {
            Self::Stream(outbox) => outbox.discard(),
            Self::Streams(streams) => streams.discard(),
        }
    }

    /// Who all that waits is weighed for.
    pub fn account(&self) -> &Account {
        match self {
            Self::Stream(outbox) => outbox.account(),
            Self::Streams(streams) => streams.account(),
        }
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        match self {
            Self::Stream(outbox) => outbox.waiting(),
            Self::Streams(streams) => streams.waiting(),
        }
    }
}
