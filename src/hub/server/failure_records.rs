//! For whom a server's failures count: one agent's folder, or what one promises, takes the server from nobody else.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::Instant;

use crate::hub::sharing::share_key::ShareKey;
use crate::upstream::state::Record;

/// How many are kept; those that matter least are forgotten first.
const MOST: usize = 256;

/// Instances with the same folder and the same promises, of which the hash is kept, fail for the same reasons.
type Alike = (Option<PathBuf>, u64);

fn alike(key: &ShareKey) -> Alike {
    let mut hasher = DefaultHasher::new();
    key.profile.hash(&mut hasher);
    (key.project.clone(), hasher.finish())
}

/// How the instances of one server fared.
#[derive(Debug, Default)]
pub(in crate::hub) struct Records(HashMap<Alike, Record>);

impl Records {
    /// Does something with the record of the instances that are like the one of this key.
    pub(in crate::hub) fn with<T>(&mut self, key: &ShareKey, now: Instant, work: impl FnOnce(&mut Record) -> T) -> T {
        let alike = alike(key);
        let mut record = self.0.get(&alike).copied().unwrap_or_default();
        let done = work(&mut record);
        if record == Record::default() {
            self.0.remove(&alike);
        } else {
            self.keep(alike, record, now);
        }
        done
    }

    fn keep(&mut self, alike: Alike, record: Record, now: Instant) {
        if self.0.len() >= MOST && !self.0.contains_key(&alike) {
            self.0.retain(|_, record| !record.is_over(now));
            let first = self.0.iter().min_by_key(|(_, record)| record.until()).map(|(first, _)| first.clone());
            first.filter(|_| self.0.len() >= MOST).map(|first| self.0.remove(&first));
        }
        self.0.insert(alike, record);
    }

    /// How often they have failed in a row, and when they are tried again.
    pub(in crate::hub) fn failures(&self, key: &ShareKey) -> (u32, Option<Instant>) {
        let record = self.0.get(&alike(key)).copied().unwrap_or_default();
        (record.failures(), record.until())
    }

    /// Whether some are not started now because they failed too often.
    pub(in crate::hub) fn any_is_broken(&self, now: Instant) -> bool {
        self.0.values().any(|record| record.is_broken() && record.until().is_some_and(|until| until > now))
    }
}
