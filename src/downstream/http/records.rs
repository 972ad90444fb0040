//! What is kept of sessions, so that the next daemon goes on with them: how each began, and what holds until it is taken
//! back. An agent need not notice that there was another daemon.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, OnceCell};
use tokio_util::sync::CancellationToken;

use crate::envelope::{Envelope, text};
use crate::files::{check_ours, replace};
use crate::hub::View;

/// What is longer is not kept.
const LONGEST: usize = 64 * 1024;
/// How many subscriptions of one session are.
const MOST: usize = 256;

/// One session: the agent's own frames.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    /// Nothing for all servers.
    server: Option<String>,
    initialize: String,
    /// Subscriptions by their URI, and the log level under an empty one.
    standing: BTreeMap<String, String>,
}

struct Record {
    kept: Kept,
    /// Whether it was taken up by this daemon, once that is known.
    taken_up: Arc<OnceCell<bool>>,
}

pub(super) struct Records {
    file: PathBuf,
    read: Instant,
    all: Mutex<BTreeMap<String, Record>>,
    changed: Notify,
}

impl Records {
    /// What an earlier daemon has kept in the state folder.
    pub(super) fn open(state: &Path) -> Self {
        let file = state.join("http-sessions");
        let kept = match read(&file) {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "the sessions of agents over HTTP are lost: each begins another");
                BTreeMap::new()
            }
        };
        let record = |kept| Record { kept, taken_up: Arc::default() };
        let all = kept.into_iter().map(|(id, kept)| (id, record(kept))).collect();
        Self { file, read: Instant::now(), all: Mutex::new(all), changed: Notify::new() }
    }

    /// Notes what a session's agent asks for, where the next daemon must know it.
    pub(super) fn note(&self, id: &str, view: &View, envelope: &Envelope<'_>) {
        let frame = || Some(envelope.frame.to_owned()).filter(|frame| frame.len() <= LONGEST);
        let uri = || envelope.params.uri.and_then(text).unwrap_or_default().into_owned();
        let mut all = self.all.lock();
        match &*envelope.method {
            "initialize" => {
                let Some(initialize) = frame() else { return };
                let kept = Kept { server: server_of(view), initialize, standing: BTreeMap::new() };
                all.insert(id.to_owned(), Record { kept, taken_up: Arc::new(OnceCell::new_with(Some(true))) });
            }
            method @ ("logging/setLevel" | "resources/subscribe") => {
                let (Some(record), Some(frame)) = (all.get_mut(id), frame()) else { return };
                let about = if method == "logging/setLevel" { String::new() } else { uri() };
                if record.kept.standing.len() < MOST {
                    record.kept.standing.insert(about, frame);
                }
            }
            "resources/unsubscribe" => {
                let Some(record) = all.get_mut(id) else { return };
                record.kept.standing.remove(&uri());
            }
            _ => return,
        }
        drop(all);
        self.changed.notify_one();
    }

    /// What the agent of this session said, in order, and whether it was said again in this daemon.
    pub(super) fn find(&self, id: &str, view: &View) -> Option<(Vec<String>, Arc<OnceCell<bool>>)> {
        let all = self.all.lock();
        let Record { kept, taken_up } = all.get(id).filter(|record| record.kept.server == server_of(view))?;
        let frames = std::iter::once(&kept.initialize).chain(kept.standing.values()).cloned().collect();
        Some((frames, taken_up.clone()))
    }

    /// Forgets a session that is over; tells whether it was known.
    pub(super) fn forget(&self, id: &str) -> bool {
        let known = self.all.lock().remove(id).is_some();
        if known {
            self.changed.notify_one();
        }
        known
    }

    /// Forgets sessions of an earlier daemon whose agents have been silent for so long.
    pub(super) fn sweep(&self, silence: Duration) {
        if self.read.elapsed() > silence {
            let mut all = self.all.lock();
            let before = all.len();
            all.retain(|_, record| record.taken_up.initialized());
            if all.len() < before {
                self.changed.notify_one();
            }
        }
    }

    fn save(&self) {
        let all: BTreeMap<_, _> =
            self.all.lock().iter().map(|(id, record)| (id.clone(), record.kept.clone())).collect();
        let saved = serde_json::to_vec(&all).map_err(io::Error::from).and_then(|bytes| replace(&self.file, &bytes));
        if let Err(error) = saved {
            tracing::warn!(file = %self.file.display(), %error, "the sessions of agents over HTTP are not kept for the next daemon");
        }
    }

    /// Writes down what changes, until `stop`, and what has changed then.
    pub(super) async fn keep(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let ends = tokio::select! {
                () = self.changed.notified() => false,
                () = stop.cancelled() => true,
            };
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

fn read(file: &Path) -> io::Result<BTreeMap<String, Kept>> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    check_ours(file)?;
    Ok(serde_json::from_slice(&bytes)?)
}
