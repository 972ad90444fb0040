//! Moves whole JSON-RPC messages as raw text: newline-delimited JSON over bytes, bounded both ways.

mod frames;
mod line;
mod outbox;
mod sink;
mod streams;

pub use frames::{Ends, FrameError, Frames};
pub use outbox::{Outbox, Refused, STALLED};
pub use sink::{Sink, To};
pub use streams::{EventId, Read, Reader, Replay, Streams};
