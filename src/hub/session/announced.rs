//! How often an agent hears that a list changed: at once, then once a second at most, and of the last change always.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Session;
use crate::lists::ListKind;

/// The time between two announcements of one kind.
const APART: Duration = Duration::from_secs(1);

/// The announcements of one agent, by their method.
#[derive(Debug, Default)]
pub(super) struct Announced(Mutex<HashMap<&'static str, Last>>);

#[derive(Debug)]
struct Last {
    at: Instant,
    /// What is told when the time has come.
    next: Option<Box<str>>,
}

/// What to do with an announcement.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Now,
    In(Duration),
    /// One that waits is told in its place.
    Joined,
}

impl Announced {
    fn note(&self, method: &'static str, frame: &str, now: Instant) -> Due {
        let mut all = self.0.lock();
        match all.get_mut(method) {
            Some(last) if now.duration_since(last.at) < APART => {
                if last.next.replace(frame.into()).is_some() {
                    return Due::Joined;
                }
                Due::In(APART - now.duration_since(last.at))
            }
            Some(_) | None => {
                all.insert(method, Last { at: now, next: None });
                Due::Now
            }
        }
    }

    /// What has waited.
    fn take(&self, method: &'static str) -> Option<Box<str>> {
        let mut all = self.0.lock();
        let last = all.get_mut(method)?;
        last.at = Instant::now();
        last.next.take()
    }
}

impl Session {
    /// Tells the agent that a list changed: in the legacy era as such, on its subscriptions in the modern one.
    /// `frame` is what a legacy agent reads.
    pub(in crate::hub) fn tell_changed(self: &Arc<Self>, kind: ListKind, frame: &str) {
        match self.announced.note(kind.changed(), frame, Instant::now()) {
            Due::Now => self.announce(kind, frame),
            Due::Joined => {}
            Due::In(pause) => {
                let session = self.clone();
                self.tasks.spawn(async move {
                    let pause = tokio::time::sleep(pause);
                    if session.gone.run_until_cancelled(pause).await.is_some()
                        && let Some(frame) = session.announced.take(kind.changed())
                    {
                        session.announce(kind, &frame);
                    }
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_at_once_and_the_last_always() {
        let (announced, start) = (Announced::default(), Instant::now());
        let after = |ms: u64| start + Duration::from_millis(ms);
        assert_eq!(announced.note("a", "1", start), Due::Now);
        assert_eq!(announced.note("b", "1", after(1)), Due::Now);
        assert_eq!(announced.note("a", "2", after(400)), Due::In(Duration::from_millis(600)));
        assert_eq!(announced.note("a", "3", after(500)), Due::Joined);
        assert_eq!(announced.take("a").as_deref(), Some("3"));
        assert_eq!(announced.take("a"), None);
        assert_eq!(announced.note("b", "2", after(1001)), Due::Now);
    }
}
