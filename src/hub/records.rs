//! For whom a server's failures count: one agent's folder, or what one promises, takes the server from nobody else.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::key::Key;
use crate::era::Class;
use crate::upstream::state::Record;

/// How many are kept; those that matter least are forgotten first.
const MOST: usize = 256;

/// What instances are alike in that fail alike.
type Alike = (Option<PathBuf>, Arc<Class>);

/// How the instances of one upstream fared.
#[derive(Debug, Default)]
pub(super) struct Records(HashMap<Alike, Record>);

impl Records {
    /// The record of the instances that are like the one of this key.
    pub(super) fn of(&mut self, key: &Key, now: Instant) -> &mut Record {
        let alike = (key.project.clone(), key.class.clone());
        if self.0.len() >= MOST && !self.0.contains_key(&alike) {
            self.0.retain(|_, record| !record.is_over(now));
            let first = self.0.iter().min_by_key(|(_, record)| record.until()).map(|(alike, _)| alike.clone());
            first.filter(|_| self.0.len() >= MOST).map(|first| self.0.remove(&first));
        }
        self.0.entry(alike).or_default()
    }

    /// How often they have failed in a row, and when they are tried again.
    pub(super) fn failures(&self, key: &Key) -> (u32, Option<Instant>) {
        let record = self.0.get(&(key.project.clone(), key.class.clone())).copied().unwrap_or_default();
        (record.failures(), record.until())
    }

    /// Whether some are not started now because they failed too often.
    pub(super) fn any_is_broken(&self, now: Instant) -> bool {
        self.0.values().any(|record| record.is_broken() && !record.is_over(now))
    }
}
