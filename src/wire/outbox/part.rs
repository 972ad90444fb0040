//! What is written in one go.

use std::mem;

use bytes::Bytes;

use crate::envelope::{Edit, Piece, pieces};
use crate::wire::line;
use crate::wire::message::LARGE;

/// What is written in one go.
#[derive(Debug)]
pub(super) struct Part {
    pub text: Text,
    /// Whether a message ends with it.
    pub ends: bool,
}

#[derive(Debug)]
pub(super) enum Text {
    Own(Vec<u8>),
    /// Of a long message, which is not copied.
    Shared(Bytes),
}

impl Part {
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.text {
            Text::Own(bytes) => bytes,
            Text::Shared(bytes) => bytes,
        }
    }

    /// Appends another part, if both can be written in one go.
    pub(super) fn append(&mut self, other: &Self) -> bool {
        match (&mut self.text, &other.text) {
            (Text::Own(own), Text::Own(other)) if self.ends => {
                own.extend_from_slice(other);
                true
            }
            _ => false,
        }
    }
}

/// The parts of a message with edits, and the line end. What is long in it is not copied.
pub(super) fn parts_of(text: &Bytes, edits: &mut [Edit<'_>]) -> Vec<Part> {
    let (mut parts, mut rest) = (Vec::new(), Vec::new());
    pieces(text.len(), edits, |piece| match piece {
        Piece::Kept(range) if range.len() > LARGE => {
            parts.push(Part { text: Text::Own(mem::take(&mut rest)), ends: false });
            parts.push(Part { text: Text::Shared(text.slice(range)), ends: false });
        }
        Piece::Kept(range) => rest.extend_from_slice(&text[range]),
        Piece::Put(with) => {
            let from = rest.len();
            rest.extend_from_slice(with.as_bytes());
            line::join(&mut rest, from);
        }
    });
    rest.push(b'\n');
    parts.push(Part { text: Text::Own(rest), ends: true });
    parts.retain(|part| !part.bytes().is_empty());
    parts
}
