//! Servers that nobody has listed yet are asked what they offer before an agent waits for it: when the daemon starts and
//! when one is added, in processes of their own that end soon after.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::Hub;
use super::key::Key;
use super::registry::Upstream;
use super::session::SessionId;
use crate::config::Discover;

/// Agents that come with the daemon go first.
const PAUSE: Duration = Duration::from_secs(2);
/// How long one server may take.
const LIMIT: Duration = Duration::from_secs(180);

impl Hub {
    /// Gets to know the servers that are not known, whenever there may be some, until the daemon ends.
    pub(super) async fn get_acquainted(self: Arc<Self>) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        loop {
            let stop = self.around.stop.clone();
            if stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
                return;
            }
            let mut strangers =
                self.upstreams().iter().filter(|upstream| upstream.is_stranger()).cloned().collect::<Vec<_>>();
            if self.config().daemon.discover == Discover::Never {
                strangers.clear();
            }
            let mut strangers = strangers.into_iter();
            let mut asked: FuturesUnordered<_> = strangers.by_ref().take(cores).map(Upstream::introduce).collect();
            loop {
                tokio::select! {
                    next = asked.next() => match next {
                        Some(()) => asked.extend(strangers.next().map(Upstream::introduce)),
                        None => break,
                    },
                    () = stop.cancelled() => return,
                }
            }
            tokio::select! {
                () = self.strangers.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

impl Upstream {
    /// Whether nothing is known of what it offers, and nobody is about to ask it.
    fn is_stranger(&self) -> bool {
        let settings = self.settings();
        let state = self.state.lock();
        settings.is_usable()
            && state.held.is_none()
            && state.slots.is_empty()
            && !state.catalogs.is_known()
            && !settings.templates().any(|template| template.names_project())
    }

    /// What the process is started for in which it is being asked what it offers, if it is.
    pub fn introduction(&self) -> Option<Key> {
        let state = self.state.lock();
        state.slots.iter().find(|slot| slot.key.owner == Some(SessionId::STRANGERS)).map(|slot| slot.key.clone())
    }

    /// Asks it what it offers, in a process of its own.
    async fn introduce(self: Arc<Self>) {
        // It may have become known while others were asked.
        if !self.is_stranger() {
            return;
        }
        let key = Key { owner: Some(SessionId::STRANGERS), ..self.own_key(None) };
        let learnt = async {
            if let Ok(line) = self.line(&key).await {
                self.learn_all(&line).await;
            }
        };
        if tokio::time::timeout(LIMIT, learnt).await.is_err() {
            tracing::debug!(server = %self.name, "it did not say what it offers");
        }
        self.drain_owned(SessionId::STRANGERS);
    }
}
