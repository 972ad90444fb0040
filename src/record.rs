//! The record of calls: who called what, when, how long it took and how it ended. Kept in one SQLite file in the state folder,
//! which the daemon alone writes, and which anybody of the same user may read, also while no daemon runs.

mod block;
mod call;
mod clock;
mod interner;
mod kept;
mod limits;
mod query;
mod reader;
mod recorder;
mod ring;
mod shape;
mod stats;
mod store;
mod tally;
mod timeline;

pub use call::{Asked, Begun, Call, Outcome, subject_shown};
pub use kept::Kept;
pub use limits::Limits;
pub use query::{BadMoment, Query, moment};
pub use reader::{ByServer, ReadError, Reader};
pub use recorder::Recorder;
pub use shape::{AskedShape, CallShape, Caller};
pub use stats::{By, Stat, Stats};
pub use tally::{CLASSES, LastHour, MethodTally, Tally};
pub use timeline::Point;

use std::path::{Path, PathBuf};

/// Where the record is, in the state folder.
pub fn file(state: &Path) -> PathBuf {
    state.join("calls.db")
}
