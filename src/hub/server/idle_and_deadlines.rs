//! Calls that take too long, and instances that nobody uses.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Start;
use crate::hub::server::Server;

/// How long a process is kept that nobody is attached to, where another one serves the same.
const SPARE: Duration = Duration::from_secs(120);
impl Server {
    pub(in crate::hub) fn look(self: &Arc<Self>, elapsed: Duration, idle: Option<Duration>) {
        let settings = self.settings();
        for instance in self.instances() {
            if let Some(limit) = settings.call_timeout.0 {
                instance.expire(elapsed, limit);
            }
            let unused = instance.calls.lock().unused_for();
            // A process of one agent holds what that agent did: it lives as long as the agent.
            let attached = !instance.session_ids().is_empty();
            let owned = instance.owner().is_some() && attached;
            let kept = settings.start == Start::Eager || owned || instance.is_draining();
            let spare = !kept && !attached && unused.is_some_and(|unused| unused >= SPARE) && self.has_twin(&instance);
            if spare || !kept && unused.zip(idle).is_some_and(|(unused, idle)| unused >= idle) {
                tracing::info!(server = %self.name, "stopping a process that nobody uses");
                self.drain_instance(&instance, Duration::ZERO);
            }
        }
    }
}
