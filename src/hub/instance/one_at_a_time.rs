//! One call at a time: how agents share a server whose questions do not say which call they belong to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

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
    /// Wakes the calls that wait, when an instance is free or gone.
    pub(in crate::hub) freed: Notify,
    /// Until when none is started beside those that are up, because the last one failed.
    alone: Mutex<Option<Instant>>,
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

    /// Whether it is too early to start one beside those that are up.
    pub(in crate::hub) fn is_alone(&self) -> bool {
        self.alone.lock().is_some_and(|until| Instant::now() < until)
    }

    pub(in crate::hub) fn serialize(&self) {
        self.serialized.store(true, Ordering::Relaxed);
    }

    pub(in crate::hub) fn free(&self) {
        if self.is_careful() {
            self.freed.notify_waiters();
        }
    }
}
