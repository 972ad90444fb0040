//! What happens in the daemon, for those who watch.

use serde::Serialize;
use tokio::sync::broadcast;

use super::reload::Reloaded;
use super::session::SessionId;
use crate::names::ServerName;

/// How far a watcher may fall behind before it misses events.
const FOLLOW: usize = 256;

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
#[derive(Debug)]
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
