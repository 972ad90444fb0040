//! How what is known of a server is brought to disk: some time after it changed, all changes at once, and on a thread of its own.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::hub::server::Server;
use crate::hub::server::catalog_file::bounds;
use crate::upstream::catalog;

/// What changes within this time is saved at once.
const PAUSE: Duration = Duration::from_millis(250);

impl Server {
    /// Notes that what is known of the server has changed.
    pub(in crate::hub) fn save(&self) {
        self.file.changed.notify_one();
    }

    /// Forgets what the server offers, if there is no room for that any more: it is asked again when it is wanted.
    pub(in crate::hub) fn give_back(&self) {
        let mut state = self.state.lock();
        if state.catalogs.is_cut() {
            state.catalogs.start_over(bounds(&self.name, &self.around));
            drop(state);
            self.instances().iter().for_each(|instance| instance.lists.forget_all());
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

    /// Saves what is known of a server whenever that has changed, for as long as there is the server; at last when the daemon ends.
    pub(in crate::hub) async fn keep_saved(server: Weak<Self>) {
        let Some((changed, over, stop)) = server
            .upgrade()
            .map(|server| (server.file.changed.clone(), server.file.over.clone(), server.around.stop.clone()))
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
            let Some(server) = server.upgrade() else { return };
            server.save_now().await;
        }
    }
}
