//! A server that announces changes of a list all the time: what it offers is compared before agents hear of it.

use std::time::{Duration, Instant};

use crate::hub::Site;
use crate::hub::instance::change_storms::Weather;
use crate::hub::instance::lists::same_items;
use crate::lists::ListKind;
use crate::upstream::Quirk;
use crate::upstream::catalog::List;

/// How long to wait between two looks.
const LOOK: Duration = Duration::from_secs(1);

impl Site {
    /// A list changed, as the server says: who was told of it hears so, in the words of `frame`.
    pub(in crate::hub) fn changed(&self, kind: ListKind, frame: &str) {
        let weather = self.instance.storms.note(kind, Instant::now());
        // Templates have no announcement of their own: there is nothing to compare them by.
        let before = self.instance.lists.kept(kind).filter(|_| kind != ListKind::Resources);
        self.server.forget_list(&self.instance, kind);
        match (weather, before) {
            (Weather::Watched, _) => {}
            (Weather::Storm, Some(before)) => {
                self.instance.around.note(&Quirk::Storm);
                let (site, frame): (_, Box<str>) = (self.clone(), frame.into());
                self.instance.around.tasks.spawn(async move { site.watch_storm(kind, before, &frame).await });
            }
            (Weather::Storm, None) => {
                // Nothing to compare with.
                self.instance.storms.goes_on(kind);
                self.announce_changed(kind, frame);
            }
            (Weather::Calm, _) => self.announce_changed(kind, frame),
        }
    }

    /// Looks at a list until it is announced no more, and tells of it when it is another.
    async fn watch_storm(&self, kind: ListKind, mut told: List, frame: &str) {
        loop {
            tokio::time::sleep(LOOK).await;
            let over = !self.instance.storms.goes_on(kind);
            if self.instance.is_closed() {
                return;
            }
            match self.server.list(&self.instance, kind).await {
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
