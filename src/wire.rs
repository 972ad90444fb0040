//! Moves whole JSON-RPC messages as raw text: newline-delimited JSON over bytes, bounded and weighed both ways.

mod budget;
mod frames;
mod line;
mod message;
mod outbox;
mod sink;
mod streams;
mod turn;

pub use budget::{Account, Budget, Held};
pub use frames::{Ends, FrameError, Frames};
pub use message::{LARGE, Message, Unreadable, Writer, aside};
pub use outbox::{Outbox, Refused, STALLED};
pub use sink::{Sink, To};
pub use streams::{EventId, Read, Reader, Replay, Streams};
pub use turn::Turn;
