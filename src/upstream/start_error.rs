//! Why an instance did not start.

use std::sync::Arc;
use std::time::Duration;

/// Why an instance did not start.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Spawn(String),
    /// A `${…}` in its settings has no value: the server has not failed.
    #[error("{0}")]
    Template(String),
    #[error("it did not answer the handshake within {0:?} (startup_timeout){1}")]
    Timeout(Duration, String),
    #[error("it ended during the handshake: {0}")]
    Ended(String),
    /// Nothing can be said of the server itself: something on the way failed.
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    NeedsLogin(Arc<str>),
    #[error("it refused the handshake: {0}")]
    Refused(String),
}
