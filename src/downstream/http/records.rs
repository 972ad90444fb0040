//! What is kept of sessions in the state folder, so that the next daemon goes on with them: an agent need not notice that
//! there was another one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::files::{check_ours, replace};
use crate::hub::{SessionSnapshot, View};

/// For how long a session is kept that no daemon has, and how exactly that is known.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
const EXACTLY: Duration = Duration::from_secs(60 * 60);
/// How many sessions are kept.
const MOST: usize = 1024;
/// What changes within this time is written at once.
const GATHER: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Nothing for all servers.
    server: Option<String>,
    remembered: SessionSnapshot,
    /// When it was here last: seconds since 1970.
    seen: u64,
}

pub(super) struct Records {
    file: PathBuf,
    all: Mutex<BTreeMap<String, Record>>,
    changed: Notify,
}

impl Records {
    /// What an earlier daemon has kept in the state folder.
    pub(super) fn open(state: &Path) -> Self {
        let file = state.join("http-sessions");
        let all = match read(&file) {
            Ok(all) => all,
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "the sessions of agents over HTTP are lost: each begins another");
                BTreeMap::new()
            }
        };
        let records = Self { file, all: Mutex::new(all), changed: Notify::new() };
        records.sweep(|_| false);
        records
    }

    /// Notes how a session is now.
    pub(super) fn note(&self, id: &str, view: &View, remembered: SessionSnapshot) {
        let record =
            Record { server: server_of(view), remembered, seen: now() / EXACTLY.as_secs() * EXACTLY.as_secs() };
        let mut all = self.all.lock();
        if all.get(id) != Some(&record) {
            all.insert(id.to_owned(), record);
            self.changed.notify_one();
        }
    }

    pub(super) fn find(&self, id: &str, view: &View) -> Option<SessionSnapshot> {
        let all = self.all.lock();
        let record = all.get(id).filter(|record| record.server == server_of(view))?;
        Some(record.remembered.clone())
    }

    /// Forgets a session that is over; tells whether it was known.
    pub(super) fn forget(&self, id: &str) -> bool {
        let known = self.all.lock().remove(id).is_some();
        if known {
            self.changed.notify_one();
        }
        known
    }

    /// Forgets sessions that no daemon had for long, and the oldest of too many.
    pub(super) fn sweep(&self, is_live: impl Fn(&str) -> bool) {
        let since = now().saturating_sub((KEPT + EXACTLY).as_secs());
        let mut all = self.all.lock();
        let before = all.len();
        all.retain(|id, record| record.seen >= since || is_live(id));
        if let Some(surplus) = all.len().checked_sub(MOST) {
            let mut gone: Vec<_> =
                all.iter().filter(|(id, _)| !is_live(id)).map(|(id, record)| (record.seen, id.clone())).collect();
            gone.sort_unstable();
            gone.iter().take(surplus).for_each(|(_, id)| drop(all.remove(id)));
        }
        if all.len() < before {
            self.changed.notify_one();
        }
    }

    fn save(&self) {
        let all = self.all.lock().clone();
        let saved = serde_json::to_vec(&all).map_err(io::Error::from).and_then(|bytes| replace(&self.file, &bytes));
        if let Err(error) = saved {
            tracing::warn!(file = %self.file.display(), %error, "the sessions of agents over HTTP are not kept for the next daemon");
        }
    }

    /// Writes down what changes, until `stop`, and what has changed then.
    pub(super) async fn keep(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let gathered = async {
                self.changed.notified().await;
                tokio::time::sleep(GATHER).await;
            };
            let ends = stop.run_until_cancelled(gathered).await.is_none();
            let records = self.clone();
            let saved = tokio::task::spawn_blocking(move || records.save()).await;
            if ends || saved.is_err() {
                return;
            }
        }
    }
}

fn server_of(view: &View) -> Option<String> {
    match view {
        View::One(server) => Some(server.to_string()),
        View::All | View::Profile(_) => None,
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn read(file: &Path) -> io::Result<BTreeMap<String, Record>> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    check_ours(file)?;
    Ok(serde_json::from_slice(&bytes)?)
}
