//! Agents of both eras come at once to a server of which nobody knows yet what it speaks: what one of them finds out is
//! waited for, rather than a second process started.

use std::sync::Arc;

use crate::era::Dialect;
use crate::hub::server::Upstream;
use crate::hub::server::slot::Slot;
use crate::hub::sharing::key::{Key, Want};

impl Upstream {
    /// Waits for a process that is being started for a modern agent: it may turn out to be what a legacy one needs. `key` is
    /// what that one would want.
    pub(in crate::hub) async fn decide_era(self: &Arc<Self>, key: &Key) {
        let phase = {
            let state = self.state.lock();
            if state.catalogs.era.is_some() || state.catalogs.modern_only {
                return;
            }
            let same_place = |slot: &&Slot| slot.key.is_in_place_of(key, false);
            let undecided = |slot: &&Slot| {
                slot.is_live()
                    && slot.up().is_none()
                    && matches!(slot.key.want, Want::Any | Want::Dialect(Dialect::Modern))
            };
            state.slots.iter().filter(same_place).find(undecided).map(Slot::news)
        };
        if let Some(phase) = phase {
            // What comes of it, the next look tells.
            drop(self.wait(phase).await);
        }
    }
}
