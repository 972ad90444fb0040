//! Moves whole JSON-RPC messages as raw text: newline-delimited JSON over bytes, bounded both ways.

mod frames;
mod outbox;

pub use frames::{FrameError, Frames};
pub use outbox::{Outbox, Refused};
