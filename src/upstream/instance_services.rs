//! What an instance lives in: who owns its tasks, and where its lines go.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::credentials::Vault;
use crate::masks::Masks;
use crate::names::ServerName;
use crate::oauth::Keepers;
use crate::record::{Kept, Recorder, Tally};
use crate::recording::Tee;
use crate::traces::Tracer;
use crate::upstream::http_client::HttpClient;
use crate::upstream::ledger::Ledger;
use crate::upstream::quirks::{Quirk, Quirks};
use crate::upstream::stderr::ServerLog;
use crate::wire::Budget;

/// The surroundings of an instance: who owns its tasks, and where its lines go.
#[derive(Debug, Clone)]
pub struct InstanceServices {
    pub name: ServerName,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    pub log: ServerLog,
    pub quirks: Quirks,
    pub max_frame: usize,
    pub ledger: Ledger,
    pub client: HttpClient,
    pub vault: Vault,
    pub keepers: Keepers,
    /// Of all that waits.
    pub budget: Budget,
    pub recorder: Recorder,
    /// What is recorded of its calls.
    pub kept: Kept,
    /// What its calls come to.
    pub tally: Tally,
    pub masks: Masks,
    pub tracer: Tracer,
    /// For those who record its messages.
    pub tee: Tee,
}

impl InstanceServices {
    /// Tells once, in the server's log and the daemon's, what the server does that it should not.
    pub fn note(&self, quirk: &Quirk) {
        if let Some(text) = self.quirks.note(quirk) {
            self.log.push(&format!("trunkline: {text}"));
            tracing::warn!(server = %self.name, "{text}");
        }
    }

    /// Does something after a pause, unless everything ends before.
    pub fn later(&self, pause: Duration, work: impl FnOnce() + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
                work();
            }
        });
    }
}
