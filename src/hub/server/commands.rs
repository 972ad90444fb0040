//! What a person, or the configuration, orders of a server: run now, stop, begin anew.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Start;
use crate::era::InstanceTerms;
use crate::hub::failure::Failure;
use crate::hub::server::Server;
use crate::hub::server::crashing_calls::Crashes;
use crate::hub::server::failure_records::Records;
use crate::hub::sharing::share_key::{ShareKey, Want};
use crate::upstream::state::Event;

/// How long the calls of a server that a person stops may go on.
const STOP_GRACE: Duration = Duration::from_secs(10);

impl Server {
    /// Starts what is wanted before anybody asks: instances for the agents that were here before.
    pub(in crate::hub) fn start_eagerly(self: &Arc<Self>) {
        let settings = self.settings();
        if settings.start != Start::Eager || !settings.is_usable() {
            return;
        }
        for key in self.eager_keys() {
            let server = self.clone();
            self.around.tasks.spawn(async move { drop(server.instance(&key).await) });
        }
    }

    /// The instances for the agents that were here before, or else one for whoever comes.
    pub(in crate::hub) fn eager_keys(&self) -> Vec<ShareKey> {
        let own = self.own_key(None);
        let instance_terms_known = self.state.lock().catalogs.instance_terms_known();
        if instance_terms_known.is_empty() {
            return vec![own];
        }
        let key = |instance_terms: InstanceTerms| {
            let profile = match &instance_terms {
                InstanceTerms::Legacy(profile) => Arc::new(profile.clone()),
                InstanceTerms::Modern => own.profile.clone(),
            };
            ShareKey { want: Want::InstanceTerms(instance_terms), profile, ..own.clone() }
        };
        instance_terms_known.into_iter().map(key).collect()
    }

    /// Lets a person's start begin afresh, whatever happened before.
    fn reset(self: &Arc<Self>) {
        self.services.stopped.remove(&self.name);
        let mut state = self.state.lock();
        state.held = None;
        state.records = Records::default();
        state.crashes = Crashes::default();
        if self.settings().era.fixed().is_none() {
            (state.catalogs.era, state.catalogs.modern_only) = (None, false);
        }
        if let Some(keeper) = &*self.keeper.lock() {
            keeper.reconsider();
        }
        let numbers: Vec<_> = state.slots.iter().map(|slot| slot.number).collect();
        drop(state);
        numbers.into_iter().for_each(|number| self.event(number, Event::Reset));
    }

    /// Starts the server, if it is not up.
    pub async fn start_now(self: &Arc<Self>) -> Result<(), Failure> {
        self.reset();
        // One that works for a project starts when an agent names one.
        if self.instances().is_empty() && !self.depends_on_project() {
            self.instance(&self.own_key(None)).await?;
        }
        Ok(())
    }

    /// Stops the server, and keeps it stopped until it is started again.
    pub async fn stop_now(self: &Arc<Self>) {
        self.services.stopped.add(&self.name);
        self.hold();
        self.state.lock().known.history.note("stopped by a person");
        self.drain_all(STOP_GRACE).await;
    }

    /// Keeps the server from being started.
    pub(in crate::hub) fn hold(&self) {
        let reason = format!("it was stopped by hand: `trunkline start {}` starts it", self.name);
        self.state.lock().held = Some(reason.into());
    }

    /// Stops the server and starts it anew for those who use it.
    pub async fn restart_now(self: &Arc<Self>) -> Result<(), Failure> {
        let keys: Vec<ShareKey> = {
            let state = self.state.lock();
            let used = state.slots.iter().filter(|slot| slot.is_needed());
            used.map(|slot| slot.key.clone()).collect()
        };
        self.drain_all(STOP_GRACE).await;
        self.reset();
        // Who left meanwhile needs none.
        let here = |key: &ShareKey| key.owner.is_none_or(|owner| self.services.sessions.is_attached(owner));
        let keys: Vec<ShareKey> = keys.into_iter().filter(here).collect();
        // One that works for a project cannot be started for nobody.
        let keys = if keys.is_empty() && !self.depends_on_project() { vec![self.own_key(None)] } else { keys };
        futures_util::future::try_join_all(keys.iter().map(|key| self.instance(key))).await?;
        Ok(())
    }
}
