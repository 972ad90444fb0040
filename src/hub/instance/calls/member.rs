//! An agent that uses an instance: what it wants to hear.

use std::sync::Arc;

use crate::era::ClientProfile;
use crate::hub::log_level::Level;
use crate::hub::session::Session;

/// URIs as the server knows them, and as the agent does.
pub(in crate::hub) type Uris = Vec<(String, String)>;

/// An agent that uses the instance.
#[derive(Debug, Default)]
pub(in crate::hub) struct Member {
    /// `None` once it left while calls of its may still go on.
    pub session: Option<Arc<Session>>,
    /// What it had declared when it joined.
    pub profile: Option<Arc<ClientProfile>>,
    pub(in crate::hub) in_flight: usize,
    /// It came for one call, because its own instance was taken, and leaves with the answer.
    pub visiting: bool,
    pub level: Option<Level>,
    /// What it is subscribed to.
    pub uris: Uris,
}

impl Member {
    pub(in crate::hub) fn visitor(session: Arc<Session>) -> Self {
        Self { session: Some(session), visiting: true, ..Self::default() }
    }
}
