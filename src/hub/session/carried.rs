//! What an agent wants of a server whose instance it has left: it goes with the agent to the next one.

use crate::hub::log_level::Level;

/// What an agent has asked of a server, and that lasts.
#[derive(Debug, Default)]
pub(in crate::hub) struct Carried {
    pub level: Option<Level>,
    /// What it is subscribed to, as the server knows it and as the agent does.
    pub uris: Vec<(String, String)>,
}
