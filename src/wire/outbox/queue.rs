//! What waits to be written, in order.

use std::collections::VecDeque;

use bytes::Bytes;

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// What goes before `bytes`: long messages, and what came before them.
    pub ahead: VecDeque<Part>,
    pub bytes: Vec<u8>,
    pub writing: usize,
    pub closed: bool,
}

/// What is written in one go.
#[derive(Debug)]
pub(super) enum Part {
    Own(Vec<u8>),
    /// Of a long message, which is not copied.
    Shared(Bytes),
}

impl Part {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl Queue {
    /// Bytes that wait or are being written.
    pub(super) fn waiting(&self) -> usize {
        self.ahead.iter().map(|part| part.bytes().len()).sum::<usize>() + self.bytes.len() + self.writing
    }

    /// Has what comes next go behind what is there.
    pub(super) fn put_ahead(&mut self) {
        if !self.bytes.is_empty() {
            self.ahead.push_back(Part::Own(std::mem::take(&mut self.bytes)));
        }
    }
}
