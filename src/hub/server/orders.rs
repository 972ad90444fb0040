//! What a person, or the configuration, orders of a server: run now, stop, begin anew.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Start;
use crate::era::Dialect;
use crate::hub::failure::Failure;
use crate::hub::server::Upstream;
use crate::hub::server::crashes::Crashes;
use crate::hub::server::records::Records;
use crate::hub::sharing::key::{Key, Want};
use crate::upstream::state::Event;

/// How long the calls of a server that a person stops may go on.
const STOP_GRACE: Duration = Duration::from_secs(10);

impl Upstream {
    /// Starts what is wanted before anybody asks: instances for the agents that were here before.
    pub(in crate::hub) fn start_eagerly(self: &Arc<Self>) {
        let settings = self.settings();
        if settings.start != Start::Eager || !settings.is_usable() {
            return;
        }
        for key in self.eager_keys() {
            let upstream = self.clone();
            self.around.tasks.spawn(async move { drop(upstream.line(&key).await) });
        }
    }

    /// The instances for the agents that were here before, or else one for whoever comes.
    pub(in crate::hub) fn eager_keys(&self) -> Vec<Key> {
        let own = self.own_key(None);
        let dialects = self.state.lock().catalogs.dialects();
        if dialects.is_empty() {
            return vec![own];
        }
        let key = |dialect: Dialect| {
            let class = match &dialect {
                Dialect::Legacy(class) => Arc::new(class.clone()),
                Dialect::Modern => own.class.clone(),
            };
            Key { want: Want::Dialect(dialect), class, ..own.clone() }
        };
        dialects.into_iter().map(key).collect()
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
        if self.lines().is_empty() && !self.depends_on_project() {
            self.line(&self.own_key(None)).await?;
        }
        Ok(())
    }

    /// Stops the server, and keeps it stopped until it is started again.
    pub async fn stop_now(self: &Arc<Self>) {
        self.services.stopped.add(&self.name);
        self.hold();
        self.drain_all(STOP_GRACE).await;
    }

    /// Keeps the server from being started.
    pub(in crate::hub) fn hold(&self) {
        let reason = format!("it was stopped by hand: `trunkline start {}` starts it", self.name);
        self.state.lock().held = Some(reason.into());
    }

    /// Stops the server and starts it anew for those who use it.
    pub async fn restart_now(self: &Arc<Self>) -> Result<(), Failure> {
        let keys: Vec<Key> = {
            let state = self.state.lock();
            let used = state.slots.iter().filter(|slot| slot.is_needed());
            used.map(|slot| slot.key.clone()).collect()
        };
        self.drain_all(STOP_GRACE).await;
        self.reset();
        // Who left meanwhile needs none.
        let here = |key: &Key| key.owner.is_none_or(|owner| self.services.sessions.is_attached(owner));
        let keys: Vec<Key> = keys.into_iter().filter(here).collect();
        // One that works for a project cannot be started for nobody.
        let keys = if keys.is_empty() && !self.depends_on_project() { vec![self.own_key(None)] } else { keys };
        futures_util::future::try_join_all(keys.iter().map(|key| self.line(key))).await?;
        Ok(())
    }
}
