//! Which way a message went.

use serde::{Deserialize, Serialize};

/// Who said it to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    ToServer,
    FromServer,
    ToAgent,
    FromAgent,
    /// What the server had answered to the handshake before the recording began.
    Handshake,
}
