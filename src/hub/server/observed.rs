//! What can be seen of a server from outside: what its calls come to, what goes over its wires, who waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::hub::server::Server;
use crate::hub::server::slot::Slot;
use crate::record::Tally;
use crate::recording::Tee;
use crate::upstream::state::State as Life;

impl Server {
    /// Where copies of its messages come from.
    pub fn tee(&self) -> &Tee {
        &self.around.tee
    }

    /// What its connections have answered to the handshake, with their numbers in recordings.
    pub fn handshakes(&self) -> Vec<(u64, Arc<str>)> {
        let instances = self.instances().into_iter();
        let frames = instances.flat_map(|instance| {
            let handshake = instance.handshake().cloned().unwrap_or_default();
            let number = instance.link.connection();
            [handshake.initialize, handshake.discover].into_iter().flatten().map(move |frame| (number, frame))
        });
        frames.collect()
    }

    /// What its calls come to.
    pub fn tally(&self) -> &Tally {
        &self.around.tally
    }

    /// How many wait for it to be up, and in how long it may be started, where that is known.
    pub fn awaited(&self) -> (usize, Option<Duration>) {
        let state = self.state.lock();
        let waits = |slot: &&Slot| slot.up().is_none_or(|instance| !instance.roots_read.initialized());
        let waiting = state.slots.iter().filter(waits).map(|slot| slot.phase.receiver_count()).sum();
        let now = Instant::now();
        let until = state.slots.iter().filter_map(|slot| state_until(&slot.life)).max();
        (waiting, until.map(|until| until.saturating_duration_since(now)))
    }
}

/// Until when a slot is not started.
fn state_until(life: &Life) -> Option<Instant> {
    match life {
        Life::Backoff { until } => Some(*until),
        Life::Idle | Life::Starting | Life::Ready { .. } | Life::Draining { .. } | Life::Broken => None,
    }
}
