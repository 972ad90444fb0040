//! How many instances of a server may run (`max_instances`), and who makes place for another one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::config::Start;
use crate::hub::failure::Failure;
use crate::hub::server::Server;
use crate::hub::server::slot::Slot;
use crate::hub::sharing::share_key::ShareKey;
use crate::upstream::state::{Event, State};

/// How long one that may start again waits for a place, each time.
const PLACE: Duration = Duration::from_secs(1);

impl Server {
    /// A new slot, if one more instance may run.
    pub(in crate::hub) fn add_slot(self: &Arc<Self>, key: ShareKey) -> Result<u64, Failure> {
        self.make_place(None)?;
        let mut state = self.state.lock();
        state.last_slot += 1;
        let number = state.last_slot;
        let phase = watch::Sender::new(None);
        let promise = state.sharing.promise(&key.profile, &state.catalogs.shown);
        state.slots.push(Slot { number, key, promise, life: State::Idle, phase, instance: None });
        Ok(number)
    }

    /// Sees to it that one more instance may run, of this slot if it has none, or of a new one: an instance that nobody is attached
    /// to makes place.
    pub(in crate::hub) fn make_place(self: &Arc<Self>, number: Option<u64>) -> Result<(), Failure> {
        let most = self.settings().max_instances;
        let state = self.state.lock();
        if state.slots.iter().any(|slot| Some(slot.number) == number && slot.is_live())
            || state.slots.iter().filter(|slot| slot.is_live()).count() < most
        {
            return Ok(());
        }
        let spare = state.slots.iter().find(|slot| {
            matches!(slot.life, State::Ready { .. })
                && slot
                    .instance
                    .as_ref()
                    .is_some_and(|instance| instance.session_ids().is_empty() && instance.is_at_nothing())
        });
        let Some(instance) = spare.and_then(|slot| slot.instance.clone()) else {
            return Err(Failure::Full { server: self.name.clone(), most });
        };
        drop(state);
        self.drain_instance(&instance, Duration::ZERO);
        Ok(())
    }

    /// Makes place for the instance of a slot, if it would be started now.
    pub(in crate::hub) fn make_place_to_start(self: &Arc<Self>, number: u64) -> Result<(), Failure> {
        let now = Instant::now();
        let starts = {
            let state = self.state.lock();
            let slot = state.slots.iter().find(|slot| slot.number == number);
            slot.is_some_and(|slot| match slot.life {
                State::Idle => true,
                State::Backoff { until } => now >= until,
                State::Broken => state.records.failures(&slot.key).1.is_none_or(|until| now >= until),
                State::Starting | State::Ready { .. } | State::Draining { .. } => false,
            })
        };
        if starts { self.make_place(Some(number)) } else { Ok(()) }
    }

    /// Sees to it that a slot whose pause is over finds a place, if others took it meanwhile; false if it must not start now. One that
    /// has agents waits for a place, and who waits for the first start of one is told that there is none.
    pub(in crate::hub) fn finds_place(self: &Arc<Self>, number: u64) -> bool {
        let eager = self.settings().start == Start::Eager;
        let is_kept = {
            let state = self.state.lock();
            let slot = state.slots.iter().find(|slot| slot.number == number && !slot.is_live());
            let Some(slot) = slot else { return true };
            slot.is_needed() || eager
        };
        let Err(full) = self.make_place(Some(number)) else { return true };
        if is_kept {
            let server = self.clone();
            self.around.later(PLACE, move || server.event(number, Event::Tick));
        } else {
            let state = self.state.lock();
            let slot = state.slots.iter().find(|slot| slot.number == number);
            slot.iter().for_each(|slot| drop(slot.phase.send_replace(Some(Err(full.clone())))));
            drop(state);
            self.event(number, Event::Drain(Duration::ZERO));
        }
        false
    }
}
