//! Who is at the other end of a connection.

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Process id, where the system tells it.
    pub pid: Option<u32>,
}
