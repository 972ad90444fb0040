//! Which era a server speaks, as far as it is known.
//!
//! Agents of both eras may come at once to a server of which nobody knows yet: what one of them finds out is waited for, rather
//! than a second process started.

use std::sync::Arc;

use crate::era::{Era, InstanceTerms};
use crate::hub::server::Server;
use crate::hub::server::slot::Slot;
use crate::hub::sharing::share_key::{ShareKey, Want};

impl Server {
    pub fn era(&self) -> Option<Era> {
        self.state.lock().catalogs.era
    }

    /// Whether a process is up, or starting, while it is not known yet what it speaks.
    pub(in crate::hub) fn is_undecided(&self) -> bool {
        let state = self.state.lock();
        state.catalogs.era.is_none() && !state.catalogs.modern_only && !state.slots.is_empty()
    }

    pub(in crate::hub) fn note_era(&self, era: Era) {
        let before = self.state.lock().catalogs.era.replace(era);
        if before != Some(era) {
            self.save();
        }
    }

    /// Remembers that the server speaks this era and not the other one.
    pub(in crate::hub) fn note_only(&self, era: Era) {
        self.state.lock().catalogs.modern_only = era == Era::Modern;
        self.note_era(era);
        self.save();
    }

    /// Which era to speak with the server for an agent of `agent`: the agent's own, unless that is known to be in vain.
    pub(in crate::hub) fn era_for(&self, agent: Era) -> Era {
        let catalogs = &self.state.lock().catalogs;
        match agent {
            Era::Modern if catalogs.era == Some(Era::Legacy) => Era::Legacy,
            Era::Legacy if catalogs.modern_only => Era::Modern,
            Era::Modern | Era::Legacy => agent,
        }
    }

    /// Waits for a process that is being started for a modern agent: it may turn out to be what a legacy one needs. `key` is
    /// what that one would want.
    pub(in crate::hub) async fn decide_era(self: &Arc<Self>, key: &ShareKey) {
        let phase = {
            let state = self.state.lock();
            if state.catalogs.era.is_some() || state.catalogs.modern_only {
                return;
            }
            let same_place = |slot: &&Slot| slot.key.is_in_place_of(key, false);
            let undecided = |slot: &&Slot| {
                slot.is_live()
                    && slot.up().is_none()
                    && matches!(slot.key.want, Want::Any | Want::InstanceTerms(InstanceTerms::Modern))
            };
            state.slots.iter().filter(same_place).find(undecided).map(Slot::news)
        };
        if let Some(phase) = phase {
            // What comes of it, the next look tells.
            drop(self.wait(phase).await);
        }
    }
}
