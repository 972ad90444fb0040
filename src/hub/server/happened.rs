//! What has happened to a server: its last starts and ends, each with its moment and its reason.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

/// How many are kept.
const KEPT: usize = 20;

/// One start or end.
#[derive(Debug, Clone)]
pub struct Happened {
    pub at: SystemTime,
    pub what: Arc<str>,
}

/// The last ones, the oldest first.
#[derive(Debug, Clone, Default)]
pub struct History(VecDeque<Happened>);

impl History {
    pub(in crate::hub) fn note(&mut self, what: impl Into<Arc<str>>) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Happened { at: SystemTime::now(), what: what.into() });
    }

    pub fn all(&self) -> impl Iterator<Item = &Happened> {
        self.0.iter()
    }
}
