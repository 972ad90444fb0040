//! Calls that were cancelled and not answered: a server may still be at one, and ask or say something for it. It counts for
//! as long as that may be, and no longer: many servers never answer a call that was cancelled (MCP
//! `basic/utilities/cancellation` tells them not to).

use std::sync::Arc;
use std::time::Instant;

use super::line::Line;
use super::table::{Owner, QUIET};
use crate::era::Era;

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
