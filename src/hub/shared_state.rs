//! What all servers of a daemon share: the configuration that runs, the agents that are attached, who watches.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::credentials::Vault;
use crate::hub::agent::View;
use crate::hub::events::Events;
use crate::hub::ids::SessionId;
use crate::hub::session::Session;
use crate::hub::stopped_by_hand::Stopped;
use crate::masks::Masks;
use crate::names::ServerName;
use crate::oauth::Keepers;
use crate::record::Recorder;
use crate::traces::Tracer;
use crate::upstream::{HttpClient, Ledger};
use crate::wire::Budget;

/// What the hub's servers live in.
#[derive(Debug, Clone)]
pub struct Services {
    /// Where all tasks run.
    pub tasks: TaskTracker,
    /// Ends them.
    pub stop: CancellationToken,
    pub ledger: Ledger,
    /// The folder for catalogs and logs.
    pub state: PathBuf,
    pub vault: Vault,
    pub keepers: Keepers,
    /// Of all that waits.
    pub budget: Budget,
    pub recorder: Recorder,
    pub masks: Masks,
    pub tracer: Tracer,
}

/// What servers share.
#[derive(Debug)]
pub(in crate::hub) struct SharedState {
    pub around: Services,
    pub events: Events,
    pub sessions: Sessions,
    pub stopped: Stopped,
    /// Of all servers that are reached over HTTP.
    pub client: HttpClient,
    /// What runs: where a server could not be changed, still its old settings.
    config: RwLock<Arc<Config>>,
}

/// The agents that are attached.
#[derive(Debug, Default)]
pub(in crate::hub) struct Sessions(Mutex<BTreeMap<SessionId, Arc<Session>>>);

impl Sessions {
    pub(in crate::hub) fn add(&self, session: Arc<Session>) {
        self.0.lock().insert(session.id, session);
    }

    pub(in crate::hub) fn remove(&self, session: SessionId) {
        self.0.lock().remove(&session);
    }

    pub(in crate::hub) fn get(&self, session: SessionId) -> Option<Arc<Session>> {
        self.0.lock().get(&session).cloned()
    }

    pub(in crate::hub) fn all(&self) -> Vec<Arc<Session>> {
        self.0.lock().values().cloned().collect()
    }

    pub(in crate::hub) fn is_attached(&self, session: SessionId) -> bool {
        self.0.lock().contains_key(&session)
    }
}

impl SharedState {
    pub(in crate::hub) fn new(around: Services, config: Config) -> Self {
        Self {
            events: Events::default(),
            sessions: Sessions::default(),
            stopped: Stopped::open(&around.state),
            client: HttpClient::default(),
            config: RwLock::new(Arc::new(config)),
            around,
        }
    }

    /// The configuration that runs.
    pub(in crate::hub) fn config(&self) -> Arc<Config> {
        self.config.read().clone()
    }

    pub(in crate::hub) fn set_config(&self, config: Config) {
        *self.config.write() = Arc::new(config);
    }

    /// Whether a session sees a server.
    pub(in crate::hub) fn sees(&self, session: &Session, server: &ServerName) -> bool {
        match &session.view {
            View::One(name) => name == server,
            View::All => true,
            View::Profile(profile) => {
                self.config().profiles.get(&**profile).is_some_and(|profile| profile.servers.contains(server))
            }
        }
    }
}
