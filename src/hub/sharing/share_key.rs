//! Which instance of a server serves whom.

use std::hash::BuildHasher;
use std::path::PathBuf;
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use crate::era::{ClientProfile, InstanceTerms};
use crate::hub::ids::SessionId;

/// Which instance is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ShareKey {
    pub want: Want,
    /// What it is to be promised in the legacy era, should the server speak that.
    pub profile: Arc<ClientProfile>,
    /// Where processes are shared by project.
    pub project: Option<PathBuf>,
    /// What the agent names as its roots, a raw list, for a server that asks for them.
    pub roots: Option<Arc<str>>,
    /// Where a process belongs to one session.
    pub owner: Option<SessionId>,
    /// The agent for which it is started, whom the server may ask before that agent uses it.
    pub starter: Option<SessionId>,
    /// Who to say that we are, to a process that belongs to one session.
    pub client_info: Option<Arc<str>>,
}

impl ShareKey {
    /// The same for all keys that the same processes fit, whoever wants one.
    pub(in crate::hub) fn kind(&self) -> u64 {
        FxBuildHasher.hash_one(Self { starter: None, ..self.clone() })
    }

    /// Whether it is for the same folder, with the same roots where that matters, and for the same agent if for one.
    pub(in crate::hub) fn is_in_place_of(&self, other: &Self, asks_roots: bool) -> bool {
        self.project == other.project && self.owner == other.owner && (!asks_roots || self.roots == other.roots)
    }
}

/// Which kind of instance is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Want {
    InstanceTerms(InstanceTerms),
    /// Whatever the server speaks, promised nothing.
    Any,
}
