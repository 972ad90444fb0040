//! What an instance passes up, in the order in which the server sent it.

use std::sync::Arc;

use crate::envelope::Envelope;

/// What an instance passes up, in the order in which the server sent it.
#[derive(Debug)]
pub enum Inbound<'a> {
    /// A message; `call` is the request on whose stream it came, where the wire tells.
    Message { envelope: &'a Envelope<'a>, call: Option<u64> },
    /// A message behind text on its line, which may be one that the server was sent, and has written down.
    BehindText(&'a Envelope<'a>),
    /// An answer came that cannot be read: to this request, or it is not known to which.
    Unreadable { id: Option<u64>, reason: &'a str },
    /// The server was not given the request `id`, because a person must log in first: `frame` can be sent again.
    Parked { id: u64, frame: &'a str, why: &'a Arc<str> },
    /// No answer to this request will come: it was cancelled.
    Over(u64),
    /// The server has ended the stream of this request, and is asked for the rest of it later (legacy era).
    Paused(u64),
    /// The server has lost the session: what it asked in it is void.
    SessionLost,
    /// The server had lost the session, and has another now: it must be told again what held in the old one.
    Renewed,
    /// Nothing more will come, for this reason.
    Closed(&'a str),
}
