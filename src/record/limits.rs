//! How much of the record is kept.

use std::time::Duration;

/// What bounds the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a call is kept.
    pub keep: Option<Duration>,
    /// How large the file may become, in bytes.
    pub size: u64,
}
