//! The keepers of a daemon, one for each login.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use reqwest::Url;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{BadTemplate, Given, Http};
use crate::credentials::{CredentialId, Vault};
use crate::names::ServerName;
use crate::oauth::keeper::Keeper;
use crate::oauth::shared::Shared;
use crate::oauth::state::LoginState;
use crate::oauth::target::Target;

/// How far one who waits for logins may fall behind.
const NEWS: usize = 64;

/// The keepers of a daemon, one for each login. Clones share them.
#[derive(Debug, Clone)]
pub struct Keepers {
    all: Arc<Mutex<HashMap<CredentialId, Keeper>>>,
    shared: Arc<Shared>,
}

impl Keepers {
    pub fn new(vault: Vault, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let news = broadcast::Sender::new(NEWS);
        Self { all: Arc::default(), shared: Arc::new(Shared { vault, tasks, stop, news }) }
    }

    /// The keeper of the login that a server's entry needs.
    pub fn keeper(&self, server: &ServerName, url: &Url, http: &Http, given: Given<'_>) -> Result<Keeper, BadTemplate> {
        let target = Target::new(server, url, http, given)?;
        let mut all = self.all.lock();
        if let Some(keeper) = all.get(&target.id) {
            keeper.retarget(target);
            return Ok(keeper.clone());
        }
        let id = target.id.clone();
        let keeper = Keeper::start(target, self.shared.clone());
        all.insert(id, keeper.clone());
        Ok(keeper)
    }

    /// Every login that was needed so far, with its state.
    pub fn states(&self) -> Vec<LoginState> {
        let mut states: Vec<_> = self.all.lock().values().map(Keeper::state).collect();
        states.sort_by(|one, other| (&one.server, &one.account).cmp(&(&other.server, &other.account)));
        states
    }

    /// Tells of each login that is done.
    pub fn logins(&self) -> broadcast::Receiver<CredentialId> {
        self.shared.news.subscribe()
    }
}
