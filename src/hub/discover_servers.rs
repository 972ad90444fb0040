//! Servers that nobody has listed yet are asked what they offer before an agent waits for it: when the daemon starts and
//! when one is added, in processes of their own that end soon after.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::config::Discover;
use crate::hub::Hub;
use crate::hub::server::Server;

/// Agents that come with the daemon go first.
const PAUSE: Duration = Duration::from_secs(2);
impl Hub {
    /// Gets to know the servers that are not known, whenever there may be some, until the daemon ends.
    pub(in crate::hub) async fn get_acquainted(self: Arc<Self>) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        loop {
            let stop = self.services.around.stop.clone();
            if stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
                return;
            }
            let mut strangers =
                self.servers().iter().filter(|server| server.is_stranger()).cloned().collect::<Vec<_>>();
            if self.config().daemon.discover == Discover::Never {
                strangers.clear();
            }
            let mut strangers = strangers.into_iter();
            let mut asked: FuturesUnordered<_> = strangers.by_ref().take(cores).map(Server::introduce).collect();
            loop {
                tokio::select! {
                    next = asked.next() => match next {
                        Some(()) => asked.extend(strangers.next().map(Server::introduce)),
                        None => break,
                    },
                    () = stop.cancelled() => return,
                }
            }
            tokio::select! {
                () = self.strangers.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    }
}
