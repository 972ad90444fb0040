//! Moves whole JSON-RPC messages as raw text: newline-delimited JSON over bytes, bounded and weighed both ways.

mod budget;
mod frames;
mod line;
mod message;
mod outbox;
mod refused;
mod sent;
mod sink;
mod streams;
mod to;
mod turn;

pub use budget::{Account, Budget, GIVEN_UP, Held};
pub use frames::{Ends, FrameError, Frames};
pub use message::{LARGE, Message, Unreadable, Writer, aside};
pub use outbox::{Outbox, SHARE, STALLED};
pub use refused::Refused;
pub use sent::Sent;
pub use sink::Sink;
pub use streams::reader::Reader;
pub use streams::{EventId, Read, Replay, Streams};
pub use to::To;
pub use turn::Turn;
