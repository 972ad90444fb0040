//! Who an agent is, what it looks at, and for how long.

use std::sync::Arc;

use crate::names::ServerName;

/// Numbers sessions; 0 stands for the daemon's own calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct SessionId(pub u64);

impl SessionId {
    pub const DAEMON: Self = Self(0);
    /// Owns the processes in which servers are only asked what they offer.
    pub const STRANGERS: Self = Self(u64::MAX);
}

/// What an agent looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// One server, with its own names.
    One(ServerName),
    /// All servers, names as `server__name`.
    All,
    /// The servers of a profile, likewise.
    Profile(Arc<str>),
}

/// Who may come back for what a session left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::hub) enum Principal {
    /// The session itself.
    Session(SessionId),
    /// Whoever may ask over HTTP for this view and says that it is this client, raw: requests of the modern era do not say
    /// which agent they are of.
    Http(View, Option<Arc<str>>),
}

/// How long an agent stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// Until it leaves.
    Lasting,
    /// For one request, as over HTTP in the modern era.
    OneRequest,
}

/// What is known of an agent when it attaches.
#[derive(Debug, Clone, Default)]
pub struct Agent {
    pub name: Option<String>,
    pub cwd: Option<String>,
    pub pid: Option<u32>,
}

impl super::Session {
    /// Who may come back for what it leaves behind.
    pub(in crate::hub) fn principal(&self) -> Principal {
        match self.stay {
            Stay::Lasting => Principal::Session(self.id),
            Stay::OneRequest => Principal::Http(self.view.clone(), self.client_info()),
        }
    }
}
