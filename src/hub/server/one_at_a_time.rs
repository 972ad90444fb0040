//! An instance that has no call, for servers that carry one at a time.

use std::sync::Arc;
use std::time::Duration;

use crate::hub::failure::Failure;
use crate::hub::ids::PrincipalId;
use crate::hub::instance::Instance;
use crate::hub::instance::one_at_a_time::Waiter;
use crate::hub::server::Server;
use crate::hub::sharing::share_key::ShareKey;
use tokio::time::Instant;

/// How long a call waits for an instance that is free.
const LANE_WAIT: Duration = Duration::from_secs(300);
impl Server {
    /// An instance that has no call: one that is up, a new one beside those that are taken, or the next that is free. Where it had to
    /// be waited for, other calls of this agent wait behind this one until the waiter is given up.
    pub async fn free_instance(
        self: &Arc<Self>,
        key: &ShareKey,
        whose: PrincipalId,
    ) -> Result<(Arc<Instance>, Option<Waiter>), Failure> {
        if !self.one_at_a_time.is_careful() {
            return Ok((self.instance(key).await?, None));
        }
        let until = Instant::now() + LANE_WAIT;
        let mut waiter = self.one_at_a_time.waiter(whose, key.kind());
        loop {
            if let Some(phase) = self.want_free(key)? {
                let found = tokio::select! {
                    biased;
                    found = self.wait(phase) => found,
                    // One is free before the one that starts is up.
                    () = waiter.freed() => continue,
                };
                match found {
                    Ok(instance) if !instance.is_busy(key.starter) && !instance.is_closed() => {
                        return Ok((instance, Some(waiter)));
                    }
                    // Another call was faster, or it has just ended: which is told.
                    Ok(instance) if instance.is_closed() => {}
                    Ok(_) => continue,
                    // What it showed when it started says that another one is right.
                    Err(Failure::Again(_)) => continue,
                    Err(failure) if !self.has_instance(key) => return Err(failure),
                    // There may be one process only; that one will be free.
                    Err(failure) => {
                        tracing::debug!(server = %self.name, %failure, "no process beside the one that is taken")
                    }
                }
            }
            let waited = tokio::time::timeout_at(until, async {
                if waiter.is_first() { waiter.freed().await } else { waiter.become_first().await }
            });
            if waited.await.is_err() {
                return Err(Failure::Taken { server: self.name.clone(), waited: LANE_WAIT });
            }
        }
    }

    pub(in crate::hub) fn has_instance(&self, key: &ShareKey) -> bool {
        let state = self.state.lock();
        state.slots.iter().any(|slot| state.fits(slot, key) && slot.up().is_some())
    }
}
