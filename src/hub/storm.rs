//! A server that announces changes of a list all the time: what it offers is compared before agents hear of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::fetch::same_items;
use super::line::Line;
use crate::lists::ListKind;
use crate::upstream::Quirk;
use crate::upstream::catalog::List;

/// How many announcements within how long are a storm.
const MANY: (u32, Duration) = (5, Duration::from_secs(5));
/// How long to wait between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// The announcements of one server.
#[derive(Debug, Default)]
pub(super) struct Storms(Mutex<HashMap<ListKind, Storm>>);

#[derive(Debug)]
struct Storm {
    since: Instant,
    count: u32,
    /// Another came since the last look; nothing where nobody looks.
    again: Option<bool>,
}

/// What an announcement is.
#[derive(Debug, PartialEq, Eq)]
enum Weather {
    Calm,
    /// The storm begins.
    Storm,
    /// Somebody looks already.
    Watched,
}

impl Storms {
    fn note(&self, kind: ListKind, now: Instant) -> Weather {
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
    fn goes_on(&self, kind: ListKind) -> bool {
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

impl Line {
    /// A list changed, as the server says: who was told of it hears so, in the words of `frame`.
    pub(super) fn changed(self: &Arc<Self>, kind: ListKind, frame: &str) {
        let weather = self.storms.note(kind, Instant::now());
        // Templates have no announcement of their own: there is nothing to compare them by.
        let before = self.kept_list(kind).filter(|_| kind != ListKind::Resources);
        self.forget_list(kind);
        match (weather, before, self.upstream.upgrade()) {
            (Weather::Watched, _, _) => {}
            (Weather::Storm, Some(before), Some(upstream)) => {
                self.note(&Quirk::Storm);
                let (line, frame): (_, Box<str>) = (self.clone(), frame.into());
                upstream.around.tasks.spawn(async move { line.watch_storm(kind, before, &frame).await });
            }
            (Weather::Storm, _, _) => {
                // Nothing to compare with.
                self.storms.goes_on(kind);
                self.announce_changed(kind, frame);
            }
            (Weather::Calm, _, _) => self.announce_changed(kind, frame),
        }
    }

    /// Looks at a list until it is announced no more, and tells of it when it is another.
    async fn watch_storm(self: &Arc<Self>, kind: ListKind, mut told: List, frame: &str) {
        loop {
            tokio::time::sleep(LOOK).await;
            let over = !self.storms.goes_on(kind);
            if self.is_closed() {
                return;
            }
            match self.list(kind).await {
                Ok(now) if same_items(&told, &now) => {}
                Ok(now) => {
                    told = now;
                    self.announce_changed(kind, frame);
                }
                // It is for the agents to see what is wrong with it.
                Err(_) => self.announce_changed(kind, frame),
            }
            if over {
                return;
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
