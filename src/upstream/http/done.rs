//! What an exchange was about, and what became of it.

use std::time::Duration;

use crate::upstream::http::events::Events;
use crate::upstream::http::posted::Posted;
use crate::upstream::http::session::Session;
use crate::upstream::running::Ended;
use reqwest::Url;

/// What an exchange was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    Request(u64),
    /// `notifications/initialized`: from then on the session can be used.
    Initialized,
    Other,
}

/// What became of a message.
pub(super) enum Done {
    /// It was answered, or taken, or its sender was told why not; what the server may still say is not waited for.
    Over,
    /// `initialize` was answered: this is the session.
    Began(Session),
    /// The server does not know the session, and has not looked at the message.
    Lost(Posted),
    /// The server speaks the transport before Streamable HTTP: its events, and where messages go.
    OldTransport(Posted, Box<Events>, Url),
    /// The headers do not match the tools as they are now.
    Mismatch,
    /// The server asks to be asked later, before anything is known of it.
    NotNow(Duration),
    /// The answer is to come on the stream of what belongs to no request.
    Elsewhere(u64),
    /// Nothing can come of this connection.
    Fatal(Ended),
}

/// How listening ended.
pub(super) enum Listened {
    /// The server offers no such stream, or has given it up.
    NotOffered,
    /// The server does not know the session of this generation.
    Lost(u32),
    /// The old transport ends with its stream.
    Ended(String),
}
