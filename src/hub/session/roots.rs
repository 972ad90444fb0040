//! Where an agent works: asked, known, waited for.

use std::path::PathBuf;
use std::sync::Arc;

use crate::era::ClientProfile;
use crate::hub::session::Session;
use crate::hub::session::place::{Place, root_of};

impl Session {
    /// Where the agent works, waiting while it is being asked.
    pub(in crate::hub) async fn place(&self) -> Place {
        let mut place = self.place.subscribe();
        let known = place.wait_for(Option::is_some).await;
        known.ok().and_then(|place| place.clone()).unwrap_or_default()
    }

    /// What is known of that now: while the agent is asked, what was known before.
    pub(in crate::hub) fn place_now(&self) -> Place {
        self.place.borrow().clone().unwrap_or_else(|| self.last_place())
    }

    /// Waits until the agent has named its roots, if it has any, or it is known that it will not.
    pub(in crate::hub) async fn roots_settled(&self) {
        let names_some = self.profile().is_some_and(|profile| profile.has("roots"));
        let mut settled = self.roots_settled.subscribe();
        if names_some {
            // It fails only with the session itself.
            drop(settled.wait_for(|settled| *settled).await);
        }
    }

    /// The folder that it works in, as far as that is known now.
    pub fn project_now(&self) -> Option<PathBuf> {
        self.place_now().folder
    }

    /// Sets where it works; `None` while the agent is asked.
    pub(in crate::hub) fn set_place(&self, place: Option<Place>) {
        if let Some(place) = &place {
            self.roots_settled.send_replace(true);
            self.last_place.lock().clone_from(place);
        }
        self.place.send_replace(place);
    }

    pub(in crate::hub) fn last_place(&self) -> Place {
        self.last_place.lock().clone()
    }

    /// Its roots are about to be asked for.
    pub(in crate::hub) fn unsettle_roots(&self) {
        self.roots_settled.send_replace(false);
    }

    /// Whether it has been asked where it works, and has not answered yet.
    pub(in crate::hub) fn is_being_asked(&self) -> bool {
        self.place.borrow().is_none()
    }

    /// The roots of an agent that declares to have some: those that it has named. A modern one cannot be asked whenever a
    /// server wants to know: it is the folder that it works in.
    pub(in crate::hub) fn roots(&self, profile: &ClientProfile) -> Option<Arc<str>> {
        let place = self.last_place();
        let modern = self.profile().is_none();
        place.roots.or_else(|| root_of(&place.folder.filter(|_| modern)?)).filter(|_| profile.has("roots"))
    }
}
