//! A server of which nothing is known is asked what it offers, in a process of its own.

use crate::hub::ids::SessionId;
use crate::hub::server::Server;
use crate::hub::sharing::share_key::ShareKey;
use std::sync::Arc;
use std::time::Duration;

/// How long one server may take.
const LIMIT: Duration = Duration::from_secs(180);

impl Server {
    /// Whether nothing is known of what it offers, and nobody is about to ask it.
    pub(in crate::hub) fn is_stranger(&self) -> bool {
        let settings = self.settings();
        let state = self.state.lock();
        settings.is_usable()
            && state.held.is_none()
            && state.slots.is_empty()
            && !state.catalogs.is_known()
            && !settings.templates().any(|template| template.names_project())
    }

    /// What the process is started for in which it is being asked what it offers, if it is.
    pub fn introduction(&self) -> Option<ShareKey> {
        let state = self.state.lock();
        state.slots.iter().find(|slot| slot.key.owner == Some(SessionId::STRANGERS)).map(|slot| slot.key.clone())
    }

    /// Asks it what it offers, in a process of its own.
    pub(in crate::hub) async fn introduce(self: Arc<Self>) {
        // It may have become known while others were asked.
        if !self.is_stranger() {
            return;
        }
        let key = ShareKey { owner: Some(SessionId::STRANGERS), ..self.own_key(None) };
        let learnt = async {
            if let Ok(instance) = self.instance(&key).await {
                self.learn_all(&instance).await;
            }
        };
        if tokio::time::timeout(LIMIT, learnt).await.is_err() {
            tracing::debug!(server = %self.name, "it did not say what it offers");
        }
        self.drain_owned(SessionId::STRANGERS);
    }
}
