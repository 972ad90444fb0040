//! A wire that was just opened, and how it ends.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::lines::Lines;

/// Why a server is stopped, or a call of it fails, where too much waits for it or comes of it.
pub(super) const OVER_BUDGET: &str =
    "as much waits in the daemon as may (max_memory), and most of it for this server or from it";

/// How a wire ended.
#[derive(Debug, Clone)]
pub(super) enum Ended {
    Gone(String),
    Unreachable(String),
    NeedsLogin(Arc<str>),
}

/// A wire that was just opened.
pub(super) struct Running {
    /// Of a child process.
    pub pid: Option<u32>,
    /// Cancelled when all of it is gone.
    pub gone: CancellationToken,
    pub owner: JoinHandle<Ended>,
    /// What a child process said last.
    pub last_lines: Lines,
}
