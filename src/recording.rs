//! Recordings: every message from and to a server, or an agent, with its moment and its direction, as the wire had it.

mod differ;
mod direction;
mod line;
mod replayed;
mod tee;

pub use differ::script;
pub use direction::Direction;
pub use line::{Line, Note, ReadError, Recording, read};
pub use replayed::Replay;
pub use tee::{Heard, Tee, Watcher};
