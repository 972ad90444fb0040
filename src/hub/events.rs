//! What happens in the daemon, for those who watch.

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::hub::ids::SessionId;
use crate::names::ServerName;

/// How far a watcher may fall behind before it misses events.
const FOLLOW: usize = 256;

/// What a reload did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Reloaded {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    /// Servers with new processes in place of the old ones, or that start so the next time.
    pub changed: Vec<String>,
    /// Servers whose filters, limits or timeouts changed.
    pub tuned: Vec<String>,
    /// Servers that did not start with their new settings and go on with the old ones: name and reason.
    pub kept: Vec<(String, String)>,
    /// Settings that count from the daemon's next start.
    pub needs_restart: Vec<String>,
    /// What is wrong with the file: these entries are left out.
    #[serde(default)]
    pub problems: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    ServerReady { server: ServerName, pid: Option<u32> },
    ServerFailed { server: ServerName, error: String },
    ServerStopped { server: ServerName, pid: Option<u32>, reason: String },
    AgentAttached { session: SessionId, agent: Option<String> },
    ConfigReloaded(Reloaded),
    ConfigRefused { problems: Vec<String> },
    AgentLeft { session: SessionId, agent: Option<String> },
}

/// Hands events to any number of watchers; none of them can hold the daemon up.
#[derive(Debug, Clone)]
pub struct Events(broadcast::Sender<Event>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::channel(FOLLOW).0)
    }
}

impl Events {
    pub fn publish(&self, event: Event) {
        // That nobody watches is no error.
        drop(self.0.send(event));
    }

    pub fn watch(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }
}
