//! The servers that a person has stopped by hand, kept in the state folder: they stay stopped for the next daemon too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::files::{check_ours, replace};
use crate::names::ServerName;

#[derive(Debug)]
pub(in crate::hub) struct Stopped {
    path: PathBuf,
    names: Mutex<BTreeSet<String>>,
}

impl Stopped {
    pub(in crate::hub) fn open(state: &Path) -> Self {
        let path = state.join("stopped");
        let text = check_ours(&path).and_then(|()| std::fs::read_to_string(&path)).unwrap_or_else(|error| {
            if error.kind() != std::io::ErrorKind::NotFound {
                tracing::warn!(%error, path = %path.display(), "which servers were stopped by hand cannot be read: they start when they are needed");
            }
            String::new()
        });
        let names = Mutex::new(text.lines().map(str::to_owned).collect());
        Self { path, names }
    }

    pub(in crate::hub) fn has(&self, name: &ServerName) -> bool {
        self.names.lock().contains(name.as_str())
    }

    pub(in crate::hub) fn add(&self, name: &ServerName) {
        if self.names.lock().insert(name.to_string()) {
            self.save();
        }
    }

    pub(in crate::hub) fn remove(&self, name: &ServerName) {
        if self.names.lock().remove(name.as_str()) {
            self.save();
        }
    }

    fn save(&self) {
        let text: String = self.names.lock().iter().map(|name| format!("{name}\n")).collect();
        if let Err(error) = replace(&self.path, text.as_bytes()) {
            tracing::warn!(%error, path = %self.path.display(), "which servers are stopped is not kept for the next daemon");
        }
    }
}
