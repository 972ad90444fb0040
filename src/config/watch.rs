//! Tells when the configuration file may say something else: written, renamed over, deleted, created, or reached
//! through another symbolic link.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// How long a file must rest before it is read: editors write in several steps.
const QUIET: Duration = Duration::from_millis(150);
/// How many symbolic links lead to a file at most, as in Linux.
const MAX_LINKS: usize = 40;

/// Why a file cannot be watched.
pub type CannotWatch = notify::Error;

/// Watches one path, and every symbolic link on the way to it.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    watcher: RecommendedWatcher,
    folders: BTreeSet<PathBuf>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The entries that matter: the file, and the links that lead to it.
    entries: Mutex<BTreeSet<PathBuf>>,
    touched: Notify,
}

impl Watch {
    pub fn new(path: &Path) -> Result<Self, CannotWatch> {
        let shared = Arc::new(Shared::default());
        let of_watcher = shared.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| of_watcher.concerns(&event)) {
                of_watcher.touched.notify_one();
            }
        })?;
        let path = std::path::absolute(path)?;
        let mut watch = Self { path, watcher, folders: BTreeSet::new(), shared };
        watch.follow();
        Ok(watch)
    }

    /// Waits until the file may have changed and then rested.
    pub async fn changed(&mut self) {
        self.shared.touched.notified().await;
        while tokio::time::timeout(QUIET, self.shared.touched.notified()).await.is_ok() {}
        self.follow();
    }

    /// Watches the folders that the path leads through now.
    fn follow(&mut self) {
        let entries = entries(&self.path);
        let folders: BTreeSet<_> = entries.iter().filter_map(|entry| entry.parent()).map(Path::to_owned).collect();
        *self.shared.entries.lock() = entries;
        for old in self.folders.difference(&folders) {
            // A folder that is gone is not watched any more anyway.
            drop(self.watcher.unwatch(old));
        }
        // Also those that were watched before: one may have been replaced by another of the same name.
        self.folders = folders;
        for folder in &self.folders {
            if let Err(error) = self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                tracing::warn!(%error, folder = %folder.display(), "cannot watch the configuration's folder: tell of changes with `trunkline reload`");
            }
        }
    }
}

impl Shared {
    fn concerns(&self, event: &Event) -> bool {
        if matches!(event.kind, EventKind::Access(_)) {
            return false;
        }
        let entries = self.entries.lock();
        let concerned = |path: &PathBuf| {
            entries.iter().any(|entry| entry == path || entry.parent().is_some_and(|folder| folder == path))
        };
        event.need_rescan() || event.paths.iter().any(concerned)
    }
}

/// The file and every symbolic link on the way to it; where something is missing, the first thing that is.
fn entries(path: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let parts = |path: &Path| path.components().map(|part| part.as_os_str().to_owned()).rev().collect::<Vec<_>>();
    let mut rest = parts(path);
    let mut at = PathBuf::new();
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        match std::fs::symlink_metadata(&next) {
            Ok(found_there) if found_there.is_symlink() && links < MAX_LINKS => {
                links += 1;
                if let Ok(target) = std::fs::read_link(&next) {
                    rest.extend(parts(&target));
                }
                found.insert(next);
            }
            Ok(_) => at = next,
            Err(_) => {
                found.insert(next);
                return found;
            }
        }
    }
    found.insert(at);
    found
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_on_the_way_is_an_entry() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a path");
        std::fs::create_dir_all(root.join("v1")).expect("created");
        std::fs::write(root.join("v1/real.toml"), "").expect("written");
        symlink("v1", root.join("now")).expect("linked");
        symlink("now/real.toml", root.join("config.toml")).expect("linked");
        let names = |path: &Path| -> Vec<String> {
            let entries = entries(path);
            entries.iter().map(|entry| entry.strip_prefix(&root).expect("inside").display().to_string()).collect()
        };
        assert_eq!(names(&root.join("config.toml")), ["config.toml", "now", "v1/real.toml"]);
        assert_eq!(names(&root.join("no/such/file")), ["no"]);
    }
}
