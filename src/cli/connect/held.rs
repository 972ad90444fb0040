//! What the agent said while no daemon took it, in order and bounded.

use std::collections::VecDeque;
use std::time::Instant;

/// How much is held, in bytes.
const MOST: usize = 8 << 20;

/// Lines that wait for a daemon.
#[derive(Default)]
pub(super) struct Held {
    lines: VecDeque<(Vec<u8>, Instant)>,
    size: usize,
}

impl Held {
    pub(super) fn has_room(&self, line: &[u8]) -> bool {
        self.size + line.len() <= MOST
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn push(&mut self, line: &[u8]) {
        self.size += line.len();
        self.lines.push_back((line.to_vec(), Instant::now()));
    }

    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        let (line, _) = self.lines.pop_front()?;
        self.size -= line.len();
        Some(line)
    }

    /// The first line, if it has waited since `before` or longer.
    pub(super) fn pop_older(&mut self, before: Instant) -> Option<Vec<u8>> {
        self.lines.front().is_some_and(|(_, since)| *since <= before).then(|| self.pop())?
    }
}
