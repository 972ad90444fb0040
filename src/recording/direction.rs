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
    /// What the server had answered before the recording began, to the handshake and about its lists, with the requests.
    Handshake,
}
