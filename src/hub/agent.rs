//! Who an agent is, what it looks at, and for how long.

use std::sync::Arc;

use crate::hub::ids::SessionId;
use crate::names::ServerName;

/// What an agent looks at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum View {
    /// One server, with its own names.
    One(ServerName),
    /// All servers, names as `server__name`.
    All,
    /// The servers of a profile, likewise.
    Profile(Arc<str>),
}

/// Who may come back for what a session left behind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::hub) enum Principal {
    /// The session itself.
    Session(SessionId),
    /// Whoever may ask over HTTP for this view and says that it is this client, raw: requests of the modern era do not say
    /// which agent they are of.
    Http(View, Option<Arc<str>>),
}

/// How long an agent stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it leaves.
    Lasting,
    /// For one request, as over HTTP in the modern era.
    OneRequest,
}
