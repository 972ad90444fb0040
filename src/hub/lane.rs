//! One call at a time: how agents share a server whose questions do not say which call they belong to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Hub;
use super::failure::Failure;
use super::key::Key;
use super::line::Line;
use super::registry::Upstream;
use super::session::Session;
use super::sharing::ROOTS;
use crate::upstream::catalog::Catalogs;

/// How long a call waits for an instance that is free.
const LANE_WAIT: Duration = Duration::from_secs(300);
/// How long none is started beside those that are up, after one failed.
const ALONE: Duration = Duration::from_secs(10);

/// Shared by the instances of one upstream.
#[derive(Debug, Default)]
pub(super) struct Lane {
    narrow: AtomicBool,
    /// The server asks things in mid-call.
    asks: AtomicBool,
    /// Wakes the calls that wait, when an instance is free or gone.
    freed: Notify,
    /// Until when none is started beside those that are up, because the last one failed.
    alone: Mutex<Option<Instant>>,
}

impl Lane {
    pub(super) fn new(catalogs: &Catalogs) -> Arc<Self> {
        let (narrow, asks) = (catalogs.interactive.is_some(), catalogs.shown.asks.iter().any(|method| method != ROOTS));
        Arc::new(Self { narrow: AtomicBool::new(narrow), asks: AtomicBool::new(asks), ..Self::default() })
    }

    pub(super) fn note_asks(&self) {
        self.asks.store(true, Ordering::Relaxed);
    }

    /// Whether it matters at whose call the server is.
    pub(super) fn is_careful(&self) -> bool {
        self.is_narrow() || self.asks.load(Ordering::Relaxed)
    }

    /// Whether an instance carries one call at a time.
    pub(super) fn is_narrow(&self) -> bool {
        self.narrow.load(Ordering::Relaxed)
    }

    /// Notes that an instance failed to start beside another.
    pub(super) fn note_alone(&self) {
        *self.alone.lock() = Some(Instant::now() + ALONE);
    }

    /// Whether it is too early to start one beside those that are up.
    pub(super) fn is_alone(&self) -> bool {
        self.alone.lock().is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn narrow(&self) {
        self.narrow.store(true, Ordering::Relaxed);
    }

    pub(super) fn free(&self) {
        if self.is_careful() {
            self.freed.notify_waiters();
        }
    }
}

impl Upstream {
    /// An instance that has no call: one that is up, a new one beside those that are taken, or the next that is free.
    pub async fn free_line(self: &Arc<Self>, key: &Key) -> Result<Arc<Line>, Failure> {
        if !self.lane.is_careful() {
            return self.line(key).await;
        }
        let until = Instant::now() + LANE_WAIT;
        loop {
            let freed = self.lane.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Some(phase) = self.want_free(key)? {
                let found = tokio::select! {
                    biased;
                    found = self.wait(phase) => found,
                    // One is free before the one that starts is up.
                    () = &mut freed => continue,
                };
                match found {
                    Ok(line) if !line.is_taken(key.starter) && !line.is_closed() => return Ok(line),
                    // Another call was faster, or it has just ended: which is told.
                    Ok(line) if line.is_closed() => {}
                    Ok(_) => continue,
                    // What it showed when it started says that another one is right.
                    Err(Failure::Again(_)) => continue,
                    Err(failure) if !self.has_line(key) => return Err(failure),
                    // There may be one process only; that one will be free.
                    Err(failure) => {
                        tracing::debug!(server = %self.name, %failure, "no process beside the one that is taken")
                    }
                }
            }
            if tokio::time::timeout_at(until, freed).await.is_err() {
                return Err(Failure::Taken { server: self.name.clone(), waited: LANE_WAIT });
            }
        }
    }

    pub(super) fn has_line(&self, key: &Key) -> bool {
        let state = self.state.lock();
        state.slots.iter().any(|slot| state.fits(slot, key) && slot.up().is_some())
    }
}

impl Hub {
    /// An instance for one call of a session whose own is taken.
    pub(super) async fn spill(&self, session: &Arc<Session>, taken: &Line) -> Result<Arc<Line>, Failure> {
        let upstream = self.upstream(taken.name.as_str())?;
        let (Some(dialect), Some(speech)) = (taken.dialect(), session.last_speech()) else {
            return Err(upstream.unavailable("it is starting"));
        };
        let key = upstream.key(session, &speech, dialect.era()).await;
        let line = upstream.free_line(&key).await?;
        line.visit(session);
        Ok(line)
    }
}
