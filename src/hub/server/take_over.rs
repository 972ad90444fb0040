//! A server under new settings takes over from the same one under the old ones.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Start;
use crate::hub::failure::Failure;
use crate::hub::instance::Instance;
use crate::hub::server::Server;
use crate::hub::session::Session;
use crate::hub::sharing::share_key::ShareKey;

impl Server {
    /// Starts under new settings what runs under the old ones, and takes its agents over; fails if it does not start.
    pub(in crate::hub) async fn take_over(self: &Arc<Self>, old: &Arc<Self>) -> Result<(), String> {
        let taken = self.try_take_over(old).await;
        if taken.is_err() {
            self.retire("its new settings were not taken");
            self.drain(Duration::ZERO);
        }
        taken.map_err(|failure| failure.reason())
    }

    /// Whether it is the same server as before, and can be used.
    fn continues(&self, old: &Self) -> bool {
        self.settings().is_usable() && self.settings().written == old.settings().written
    }

    async fn try_take_over(self: &Arc<Self>, old: &Arc<Self>) -> Result<(), Failure> {
        if self.settings().written == old.settings().written {
            self.inherit(old);
        }
        if self.state.lock().held.is_some() {
            return Ok(());
        }
        if self.settings().start == Start::Eager
            && self.settings().is_usable()
            && old.instances().iter().all(|instance| instance.session_ids().is_empty())
        {
            // Nobody waits for it, but it is to run.
            for key in self.eager_keys() {
                self.instance(&key).await?;
            }
        }
        let mut moves: Vec<(Arc<Instance>, Arc<Session>, ShareKey)> = Vec::new();
        for instance in old.instances().into_iter().filter(|instance| self.continues(old) && !instance.is_draining()) {
            let Some(instance_terms) = instance.instance_terms().cloned() else { continue };
            for session in instance.sessions() {
                let Some(terms) = session.last_terms() else { continue };
                let key = self.key(&session, &terms, instance_terms.era()).await;
                moves.push((instance.clone(), session, key));
            }
        }
        for (_, _, key) in &moves {
            self.instance(key).await?;
        }
        for (instance, session, key) in &moves {
            // Up already: this does not wait.
            if let Ok(new) = self.instance(key).await
                && self.services.sessions.is_attached(session.id)
            {
                new.take_over(instance, |other| other.id == session.id);
            } else {
                self.drain_owned(session.id);
            }
        }
        Ok(())
    }
}
