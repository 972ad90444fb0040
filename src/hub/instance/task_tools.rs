//! The tools of a legacy server that can only be called as tasks.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::hub::eras;
use crate::lists::ListKind;
use crate::upstream::catalog::{Item, read_items};

/// Those that were listed by whatever instance of the server.
#[derive(Debug, Default)]
pub(in crate::hub) struct TaskTools(Mutex<HashSet<String>>);

impl TaskTools {
    pub(in crate::hub) fn has(&self, tool: &str) -> bool {
        self.0.lock().contains(tool)
    }

    /// Notes a page of a list, a raw result.
    pub(in crate::hub) fn note_page(&self, result: &str) {
        let mut tools = Vec::new();
        if eras::names_tasks(result) && read_items(result, ListKind::Tools, &mut tools).is_ok() {
            self.note(&tools);
        }
    }

    pub(in crate::hub) fn note(&self, tools: &[Item]) {
        let only = tools.iter().filter(|tool| eras::is_task_only(&tool.raw)).map(|tool| tool.key.clone());
        self.0.lock().extend(only);
    }
}
