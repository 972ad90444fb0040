//! What is known of a server: how much of it is kept, and how it is brought to disk, which is some time after it changed, all
//! changes at once, and on a thread of its own.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::registry::Upstream;
use crate::config::Server;
use crate::names::ServerName;
use crate::upstream::Surroundings;
use crate::upstream::catalog::{self, Bounds, Catalogs};

/// What changes within this time is saved at once.
const PAUSE: Duration = Duration::from_millis(250);

/// Where the catalogs of one server are kept.
#[derive(Debug)]
pub(super) struct CatalogFile {
    path: PathBuf,
    fingerprint: String,
    changed: Arc<Notify>,
    /// Cancelled when nothing will change any more.
    over: CancellationToken,
    _over: DropGuard,
}

impl CatalogFile {
    pub(super) fn new(path: PathBuf, server: &Server) -> Self {
        let over = CancellationToken::new();
        let fingerprint = catalog::fingerprint(server);
        Self { path, fingerprint, changed: Arc::default(), _over: over.clone().drop_guard(), over }
    }

    /// What an earlier daemon left.
    pub(super) fn load(&self) -> Catalogs {
        catalog::load(&self.path, &self.fingerprint)
    }
}

impl Upstream {
    /// Notes that what is known of the server has changed.
    pub(super) fn save(&self) {
        self.file.changed.notify_one();
    }

    /// Forgets what the server offers, if there is no room for that any more: it is asked again when it is wanted.
    pub(super) fn give_back(&self) {
        let mut state = self.state.lock();
        if state.catalogs.is_cut() {
            state.catalogs.start_over(bounds(&self.name, &self.around));
            drop(state);
            self.lines().iter().for_each(|line| line.lists.forget_all());
        }
    }

    /// Writes what is known now; what changes meanwhile is written the next time.
    async fn save_now(self: Arc<Self>) {
        let catalogs = self.state.lock().catalogs.clone();
        let name = self.name.clone();
        let save = move || match self.retired.load(Ordering::Relaxed) {
            // The file is another's by then.
            true => Ok(()),
            false => catalog::save(&self.file.path, &self.file.fingerprint, &catalogs),
        };
        let saved = tokio::task::spawn_blocking(save).await;
        if let Ok(Err(error)) = saved {
            tracing::warn!(server = %name, %error, "catalog not saved: the next daemon must ask again");
        }
    }
}

/// Saves what is known of a server whenever that has changed, for as long as there is the server; at last when the daemon ends.
pub(super) async fn keep_saved(upstream: Weak<Upstream>) {
    let Some((changed, over, stop)) = upstream
        .upgrade()
        .map(|upstream| (upstream.file.changed.clone(), upstream.file.over.clone(), upstream.around.stop.clone()))
    else {
        return;
    };
    loop {
        tokio::select! {
            biased;
            () = changed.notified() => {}
            () = over.cancelled() => return,
            () = stop.cancelled() => return,
        }
        drop(tokio::time::timeout(PAUSE, stop.cancelled()).await);
        let Some(upstream) = upstream.upgrade() else { return };
        upstream.save_now().await;
    }
}

/// How much is kept of what a server offers: a list as large as one message may be.
pub(super) fn bounds(name: &ServerName, around: &Surroundings) -> Bounds {
    let account = around.budget.account(format!("what server `{name}` offers"), usize::MAX, CancellationToken::new());
    Bounds { account, list: around.max_frame }
}
