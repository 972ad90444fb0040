//! By which numbers sessions and instances know each other.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers sessions; 0 stands for the daemon's own calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct SessionId(pub u64);

impl SessionId {
    pub const DAEMON: Self = Self(0);
    /// Owns the processes in which servers are only asked what they offer.
    pub const STRANGERS: Self = Self(u64::MAX);
}

/// By which the calls of one agent are told from those of others: its session's number, or where each request is a session by itself, a
/// number for all requests that may be of one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PrincipalId(pub u64);

impl PrincipalId {
    pub const DAEMON: Self = Self(SessionId::DAEMON.0);
}

/// Numbers instances, over all servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(u64);

impl InstanceId {
    /// A number that no instance had before.
    pub(in crate::hub) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
