//! One call at a time: how agents share a server whose questions do not say which call they belong to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::hub::ids::PrincipalId;
use crate::hub::sharing::ROOTS;
use crate::upstream::catalog::Catalogs;

/// How long none is started beside those that are up, after one failed.
const ALONE: Duration = Duration::from_secs(10);

/// Shared by the instances of one server.
#[derive(Debug, Default)]
pub(in crate::hub) struct OneAtATime {
    serialized: AtomicBool,
    /// The server asks things in mid-call.
    asks: AtomicBool,
    waiting: Mutex<Waiting>,
    /// Until when none is started beside those that are up, because the last one failed.
    alone: Mutex<Option<Instant>>,
}

/// A call that waits for an instance. Of each agent's, one at a time listens when one is free; and the agents take turns.
#[derive(Debug)]
pub struct Waiter {
    of: Arc<OneAtATime>,
    line: (PrincipalId, u64),
    /// Set if it is the first of its agent's.
    first: Option<OwnedSemaphorePermit>,
    number: u64,
    freed: Arc<Notify>,
}

impl Waiter {
    pub(in crate::hub) fn is_first(&self) -> bool {
        self.first.is_some()
    }

    /// Waits until it is the first of its agent's; others that are the first of theirs go before it.
    pub(in crate::hub) async fn become_first(&mut self) {
        let line = self.of.waiting.lock().lines.entry(self.line).or_insert_with(|| Arc::new(Semaphore::new(1))).clone();
        // It is never closed.
        self.first = line.acquire_owned().await.ok();
        let mut waiting = self.of.waiting.lock();
        waiting.told.remove(&self.number);
        self.number = waiting.number(&self.freed);
    }

    /// Waits until an instance is free or gone.
    pub(in crate::hub) async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.first = None;
        let mut waiting = self.of.waiting.lock();
        waiting.told.remove(&self.number);
        if waiting.lines.get(&self.line).is_some_and(|line| Arc::strong_count(line) == 1) {
            waiting.lines.remove(&self.line);
        }
    }
}

/// The calls that wait for an instance.
#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    /// In the order in which they are told.
    told: BTreeMap<u64, Arc<Notify>>,
    /// In which the calls of one agent wait for one another that the same processes fit.
    lines: FxHashMap<(PrincipalId, u64), Arc<Semaphore>>,
}

impl Waiting {
    /// Puts a call behind all others.
    fn number(&mut self, freed: &Arc<Notify>) -> u64 {
        self.last += 1;
        self.told.insert(self.last, freed.clone());
        self.last
    }
}

impl OneAtATime {
    pub(in crate::hub) fn new(catalogs: &Catalogs) -> Arc<Self> {
        let (serialized, asks) =
            (catalogs.interactive.is_some(), catalogs.shown.asks.iter().any(|method| method != ROOTS));
        Arc::new(Self { serialized: AtomicBool::new(serialized), asks: AtomicBool::new(asks), ..Self::default() })
    }

    pub(in crate::hub) fn note_asks(&self) {
        self.asks.store(true, Ordering::Relaxed);
    }

    /// Whether it matters at whose call the server is.
    pub(in crate::hub) fn is_careful(&self) -> bool {
        self.is_serialized() || self.asks.load(Ordering::Relaxed)
    }

    /// Whether an instance carries one call at a time.
    pub(in crate::hub) fn is_serialized(&self) -> bool {
        self.serialized.load(Ordering::Relaxed)
    }

    /// Notes that an instance failed to start beside another.
    pub(in crate::hub) fn note_alone(&self) {
        *self.alone.lock() = Some(Instant::now() + ALONE);
    }

    /// A waiter for a call of this agent's, for one of these processes ([`ShareKey::kind`](crate::hub::sharing::share_key::ShareKey)).
    pub(in crate::hub) fn waiter(self: &Arc<Self>, whose: PrincipalId, kind: u64) -> Waiter {
        let freed = Arc::new(Notify::new());
        let number = self.waiting.lock().number(&freed);
        Waiter { of: self.clone(), line: (whose, kind), first: None, number, freed }
    }

    /// Whether it is too early to start one beside those that are up.
    pub(in crate::hub) fn is_alone(&self) -> bool {
        self.alone.lock().is_some_and(|until| Instant::now() < until)
    }

    pub(in crate::hub) fn serialize(&self) {
        self.serialized.store(true, Ordering::Relaxed);
    }

    /// Tells the calls that wait that an instance is free or gone.
    pub(in crate::hub) fn free(&self) {
        if self.is_careful() {
            self.waiting.lock().told.values().for_each(|freed| freed.notify_one());
        }
    }
}
