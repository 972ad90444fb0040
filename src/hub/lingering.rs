//! Calls that were cancelled and not answered: a server may still be at one, and ask or say something for it. It counts for
//! as long as that may be, and no longer: many servers never answer a call that was cancelled (MCP
//! `basic/utilities/cancellation` tells them not to).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::line::Line;
use super::session::SessionId;
use super::table::{Owner, Pending, Table};
use crate::era::Era;

/// How long a server must have been quiet for a call, once it has read behind its cancellation.
const QUIET: Duration = Duration::from_secs(2);
/// How long a call counts if the server does not show that it has read its cancellation.
const UNREAD: Duration = Duration::from_secs(5);

/// What is known of a call since it was cancelled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cancelled {
    pub at: Instant,
    /// When the server answered what was sent behind the cancellation, or said something for the call after that.
    pub heard: Option<Instant>,
}

impl Cancelled {
    /// When the server is done with it, if nothing more is heard.
    fn over(&self) -> Instant {
        self.heard.map_or(self.at + UNREAD, |heard| heard + QUIET)
    }
}

impl Line {
    /// Sees to it that a call which was just cancelled is forgotten when the server is done with it.
    pub(super) fn let_linger(self: &Arc<Self>, id: u64) {
        let Some(upstream) = self.upstream.upgrade() else { return };
        // The modern era has no ping, and no question that names no call.
        let fence = (self.era() == Era::Legacy).then(|| self.send_own("ping", "", Owner::Fence(id)));
        let line = self.clone();
        upstream.around.later(QUIET, move || line.look_at_cancelled(id, fence));
    }

    fn look_at_cancelled(self: &Arc<Self>, id: u64, fence: Option<u64>) {
        let over = self.table.lock().get(id).and_then(|pending| pending.cancelled).map(|cancelled| cancelled.over());
        let left = over.map(|over| over.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero());
        match (left, self.upstream.upgrade()) {
            (Some(left), Some(upstream)) => {
                let line = self.clone();
                upstream.around.later(left, move || line.look_at_cancelled(id, fence));
            }
            (_, _) => {
                fence.iter().for_each(|fence| drop(self.table.lock().remove(*fence)));
                if over.is_some() {
                    tracing::debug!(server = %self.name, "a cancelled call is over");
                    self.over(id);
                }
            }
        }
    }
}

impl Table {
    /// Notes that the server said something for a call, if it was cancelled.
    pub(super) fn hear_of_cancelled(&mut self, id: u64) {
        if let Some(cancelled) = self.get_mut(id).and_then(|pending| pending.cancelled.as_mut()) {
            cancelled.heard = Some(Instant::now());
        }
    }

    /// Whether the server may still be at a call that somebody else has cancelled.
    pub(super) fn lingers_for_another(&self, session: Option<SessionId>) -> bool {
        self.lingering().any(|pending| pending.caller() != session)
    }

    /// The one agent whose calls are waited for, if it is one.
    pub(super) fn at_work(&self) -> Option<SessionId> {
        let mut working = self.calls_waited_for().filter_map(Pending::caller);
        let first = working.next()?;
        working.all(|caller| caller == first).then_some(first)
    }
}
