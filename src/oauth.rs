//! Logins at authorization servers (MCP `basic/authorization`, OAuth 2.1): once for all agents, and refreshed by one owner.
//!
//! A [`Keeper`] owns one login: it alone has the tokens, refreshes them, begins logins and ends them.

mod assertion;
mod callback;
mod discovery;
mod foreign;
mod guard;
mod keeper;
mod login;
mod pinned;
mod renew;
mod state;
mod target;
mod task;
mod token;

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use reqwest::Url;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use keeper::{Afresh, Bearer, Challenge, Keeper, NoToken};
pub use login::{Login, Outcome};
pub use state::LoginState;

use crate::config::{BadTemplate, Given, Http};
use crate::credentials::{CredentialId, Vault};
use crate::names::ServerName;
use target::Target;

/// How far one who waits for logins may fall behind.
const NEWS: usize = 64;
/// What is shorter than this is no secret, and would turn up in any text.
const SHORTEST: usize = 6;

/// The keepers of a daemon, one for each login. Clones share them.
#[derive(Debug, Clone)]
pub struct Keepers(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    vault: Vault,
    tasks: TaskTracker,
    stop: CancellationToken,
    all: Mutex<HashMap<CredentialId, Keeper>>,
    news: broadcast::Sender<CredentialId>,
}

impl Keepers {
    pub fn new(vault: Vault, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let news = broadcast::Sender::new(NEWS);
        Self(Arc::new(Shared { vault, tasks, stop, all: Mutex::default(), news }))
    }

    /// The keeper of the login that a server's entry needs.
    pub fn keeper(&self, server: &ServerName, url: &Url, http: &Http, given: Given<'_>) -> Result<Keeper, BadTemplate> {
        let target = Target::new(server, url, http, given)?;
        let mut all = self.0.all.lock();
        if let Some(keeper) = all.get(&target.id) {
            keeper.retarget(target);
            return Ok(keeper.clone());
        }
        let id = target.id.clone();
        let keeper = Keeper::start(target, self.0.clone());
        all.insert(id, keeper.clone());
        Ok(keeper)
    }

    /// Every login that was needed so far, with its state.
    pub fn states(&self) -> Vec<LoginState> {
        let mut states: Vec<_> = self.0.all.lock().values().map(Keeper::state).collect();
        states.sort_by(|one, other| (&one.server, &one.account).cmp(&(&other.server, &other.account)));
        states
    }

    /// Tells of each login that is done.
    pub fn logins(&self) -> broadcast::Receiver<CredentialId> {
        self.0.news.subscribe()
    }
}

/// A text of others without what was sent to them: some repeat it in their errors.
pub fn scrubbed(text: &str, sent: &[&str]) -> String {
    let secrets = sent.iter().filter(|secret| secret.len() >= SHORTEST);
    secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "…"))
}

/// Text that nobody can guess.
///
/// # Panics
/// If the system gives no random numbers: better no login, and no state, than one that can be guessed.
#[allow(clippy::expect_used, reason = "nothing that the world sends leads here, and to go on would open a hole")]
pub fn random_text() -> String {
    let mut bytes = [0; 24];
    aws_lc_rs::rand::fill(&mut bytes).expect("random numbers from the system");
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
