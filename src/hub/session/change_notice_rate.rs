//! How often an agent hears that a list changed: at once, then once a second at most, and of the last change always.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::method::Method;

/// The time between two announcements of one kind.
const APART: Duration = Duration::from_secs(1);

/// The announcements of one agent, by their method.
#[derive(Debug, Default)]
pub(in crate::hub) struct Announced(Mutex<HashMap<Method, Last>>);

#[derive(Debug)]
struct Last {
    at: Instant,
    /// What is told when the time has come.
    next: Option<Box<str>>,
}

/// What to do with an announcement.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::hub) enum Due {
    Now,
    In(Duration),
    /// One that waits is told in its place.
    Joined,
}

impl Announced {
    pub(in crate::hub) fn note(&self, method: Method, frame: &str, now: Instant) -> Due {
        let mut all = self.0.lock();
        match all.get_mut(&method) {
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
    pub(in crate::hub) fn take(&self, method: Method) -> Option<Box<str>> {
        let mut all = self.0.lock();
        let last = all.get_mut(&method)?;
        last.at = Instant::now();
        last.next.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_at_once_and_the_last_always() {
        let (announced, start) = (Announced::default(), Instant::now());
        let after = |ms: u64| start + Duration::from_millis(ms);
        assert_eq!(announced.note(Method::ToolsChanged, "1", start), Due::Now);
        assert_eq!(announced.note(Method::PromptsChanged, "1", after(1)), Due::Now);
        assert_eq!(announced.note(Method::ToolsChanged, "2", after(400)), Due::In(Duration::from_millis(600)));
        assert_eq!(announced.note(Method::ToolsChanged, "3", after(500)), Due::Joined);
        assert_eq!(announced.take(Method::ToolsChanged).as_deref(), Some("3"));
        assert_eq!(announced.take(Method::ToolsChanged), None);
        assert_eq!(announced.note(Method::PromptsChanged, "2", after(1001)), Due::Now);
    }
}
