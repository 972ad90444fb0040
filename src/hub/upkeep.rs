//! What happens by the clock alone: calls that take too long, and instances that nobody uses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::heap::Heap;
use crate::hub::Hub;
use crate::ticks::Ticks;

/// The shortest and the longest time between two looks.
const LOOK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// A limit is kept to this part of it.
const PRECISION: u32 = 10;

impl Hub {
    /// Looks at all instances from time to time, until the daemon ends.
    pub(in crate::hub) async fn keep_time(self: Arc<Self>) {
        let mut ticks = match Ticks::new("clock") {
            Ok(ticks) => ticks,
            Err(error) => return tracing::error!(%error, "no clock: nothing stops when it is idle or late"),
        };
        let mut last = Instant::now();
        let (mut heap, mut looked) = (Heap::default(), last);
        loop {
            tokio::select! {
                () = ticks.after(self.pause()) => {}
                () = self.services.around.stop.cancelled() => return,
            }
            let elapsed = last.elapsed();
            last = Instant::now();
            if looked.elapsed() >= LOOK.1 {
                looked = last;
                heap.look(self.services.around.budget.used());
            }
            let idle = self.config().daemon.idle_timeout.0;
            for server in self.servers().iter() {
                server.look(elapsed, idle);
            }
            self.sessions().iter().for_each(|session| self.ask_for_missing(session));
        }
    }

    /// How long until the next look: short only where a short limit needs it.
    fn pause(&self) -> Duration {
        let servers = self.servers();
        let limits = servers.iter().filter_map(|server| server.settings().call_timeout.0);
        let shortest = limits.chain(self.config().daemon.idle_timeout.0).min().unwrap_or(LOOK.1);
        (shortest / PRECISION).clamp(LOOK.0, LOOK.1)
    }
}
