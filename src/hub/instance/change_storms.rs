//! A server that announces changes of a list all the time: when that begins, and when it is over. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::lists::ListKind;

/// How many announcements within how long are a storm.
const MANY: (u32, Duration) = (5, Duration::from_secs(5));
/// The announcements of one server.
#[derive(Debug, Default)]
pub(in crate::hub) struct Storms(Mutex<HashMap<ListKind, Storm>>);

#[derive(Debug)]
struct Storm {
    since: Instant,
    count: u32,
    /// Another came since the last look; nothing where nobody looks.
    again: Option<bool>,
}

/// What an announcement is.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::hub) enum Weather {
    Calm,
    /// The storm begins.
    Storm,
    /// Somebody looks already.
    Watched,
}

impl Storms {
    pub(in crate::hub) fn note(&self, kind: ListKind, now: Instant) -> Weather {
        let mut all = self.0.lock();
        let storm = all.entry(kind).or_insert(Storm { since: now, count: 0, again: None });
        if let Some(again) = &mut storm.again {
            *again = true;
            return Weather::Watched;
        }
        if now.duration_since(storm.since) > MANY.1 {
            *storm = Storm { since: now, count: 0, again: None };
        }
        storm.count += 1;
        if storm.count < MANY.0 {
            return Weather::Calm;
        }
        storm.again = Some(false);
        Weather::Storm
    }

    /// Whether another announcement came since the last look; if not, the storm is over.
    pub(in crate::hub) fn goes_on(&self, kind: ListKind) -> bool {
        let mut all = self.0.lock();
        match all.get_mut(&kind).and_then(|storm| storm.again.as_mut()) {
            Some(again) if *again => {
                *again = false;
                true
            }
            Some(_) | None => {
                all.remove(&kind);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_at_once_are_a_storm_until_there_are_none() {
        let (storms, start) = (Storms::default(), Instant::now());
        let tools = ListKind::Tools;
        for _ in 1..MANY.0 {
            assert_eq!(storms.note(tools, start), Weather::Calm);
        }
        assert_eq!(storms.note(ListKind::Prompts, start), Weather::Calm);
        assert_eq!(storms.note(tools, start), Weather::Storm);
        assert_eq!(storms.note(tools, start), Weather::Watched);
        assert!(storms.goes_on(tools));
        assert!(!storms.goes_on(tools));
        assert_eq!(storms.note(tools, start), Weather::Calm);
        for seconds in [10, 20, 30, 40, 50, 60] {
            assert_eq!(storms.note(ListKind::Resources, start + Duration::from_secs(seconds)), Weather::Calm);
        }
    }
}
