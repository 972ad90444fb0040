//! What is written in one go.

use bytes::Bytes;

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
}
