//! What a server says, read once: a message, or what is in something that is none. Large texts are read beside the runtime's thread.

use bytes::Bytes;

use crate::envelope::Malformed;
use crate::upstream::salvage::{Salvaged, salvage};
use crate::wire::{Held, Message, Unreadable, Writer, aside};

/// A text of a server's.
#[derive(Debug)]
pub(super) enum Heard {
    Message(Message),
    /// No message as it is, for this reason.
    Other {
        found: Salvaged,
        error: Malformed,
    },
}

impl Heard {
    pub(super) async fn read(text: impl Into<Bytes>, held: Option<Held>) -> Self {
        match Message::read(text.into(), held, Writer::Server).await {
            Ok(message) => Self::Message(message),
            Err(Unreadable { text, error }) => {
                let found = aside(text.len(), move || salvage(&text)).await;
                Self::Other { found, error }
            }
        }
    }
}
