//! A server's words, for as long as they hold, and weighed.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::era::InstanceTerms;
use crate::upstream::catalog::items;
use crate::wire::{Account, Held};

/// How often the words of a list are in memory: as they came, as items, and as the items of a process.
const COPIES: usize = 3;

/// How much is kept of what a server offers.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Who it is weighed for; where that is cut off, all lists are forgotten.
    pub account: Account,
    /// The bytes of one list.
    pub list: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { account: Account::alone(usize::MAX), list: usize::MAX }
    }
}

/// A server's words, and for how long they hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    pub text: Arc<str>,
    /// Milliseconds since 1970.
    taken: u64,
    /// `ttlMs`, of which only the modern era knows: without it the words hold until the server says otherwise.
    ttl: Option<u64>,
    #[serde(skip)]
    held: Option<Arc<Held>>,
}

impl Kept {
    pub(super) fn new(text: &str, instance_terms: &InstanceTerms) -> Self {
        let ttl = match instance_terms {
            InstanceTerms::Legacy(_) => None,
            InstanceTerms::Modern => Some(items::ttl(text).unwrap_or(0)),
        };
        Self { text: text.into(), taken: now(), ttl, held: None }
    }

    /// Weighs the words; false if there is no room for them.
    pub(super) fn weigh(&mut self, account: &Account) -> bool {
        self.held = None;
        self.held = account.hold(self.text.len() * COPIES).ok().map(Arc::new);
        self.held.is_some()
    }

    /// The words, if they still hold, with what is left of their time.
    pub(super) fn fresh(&self) -> Option<String> {
        let Some(ttl) = self.ttl else { return Some(self.text.to_string()) };
        // A clock that was set back makes them stale rather than fresh for longer.
        let age = now().checked_sub(self.taken)?;
        let left = ttl.checked_sub(age).filter(|left| *left > 0)?;
        Some(items::with_ttl(&self.text, left))
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
