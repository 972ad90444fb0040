//! Where an agent works: its folder and its roots, as far as they are known.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Session;
use crate::envelope::quoted;
use crate::era::Class;

/// Where an agent works.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::hub) struct Place {
    /// Its first root, or else the folder that it was started in, if that is known.
    pub folder: Option<PathBuf>,
    /// The roots that it has named: a raw list.
    pub roots: Option<Arc<str>>,
}

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
        let names_some = self.class().is_some_and(|class| class.has("roots"));
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
    pub(in crate::hub) fn roots(&self, class: &Class) -> Option<Arc<str>> {
        let place = self.last_place();
        let modern = self.class().is_none();
        place.roots.or_else(|| root_of(&place.folder.filter(|_| modern)?)).filter(|_| class.has("roots"))
    }
}

/// The roots in the result of `roots/list`, raw, as a list in one spelling.
pub(in crate::hub) fn named_roots(result: &str) -> Option<Arc<str>> {
    let result: serde_json::Value = serde_json::from_str(result).ok()?;
    Some(result.get("roots").filter(|roots| roots.is_array())?.to_string().into())
}

/// A folder as a list of one root, raw.
fn root_of(folder: &Path) -> Option<Arc<str>> {
    let uri = url::Url::from_file_path(folder).ok()?;
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Some(format!(r#"[{{"uri":{},"name":{}}}]"#, quoted(uri.as_str()), quoted(&name)).into())
}
