//! Moves whole JSON-RPC messages as raw text: newline-delimited JSON over bytes, bounded both ways.

mod frames;
mod outbox;
mod sink;
mod streams;

pub use frames::{Ends, FrameError, Frames, join_lines};
pub use outbox::{Outbox, Refused};
pub use sink::{Sink, To};
pub use streams::{EventId, Read, Reader, Replay, Streams};
