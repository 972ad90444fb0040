//! The lists of a running server: being read, or read and not forgotten since.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::lists::ListKind;
use crate::upstream::catalog::List;

pub(in crate::hub) type Fetched = Result<List, Arc<str>>;

/// The lists of one instance.
#[derive(Debug, Default)]
pub(in crate::hub) struct Lists(pub Mutex<HashMap<ListKind, Fetching>>);

/// A list that is being read, or was.
#[derive(Debug, Clone)]
pub(in crate::hub) struct Fetching {
    pub told: watch::Receiver<Option<Fetched>>,
    /// How many wait for it.
    pub waiting: Arc<AtomicUsize>,
}

/// One who waits for a list.
pub(in crate::hub) struct Listed(Arc<AtomicUsize>);

impl Listed {
    pub(in crate::hub) fn new(fetching: &Fetching) -> Self {
        fetching.waiting.fetch_add(1, Ordering::Relaxed);
        Self(fetching.waiting.clone())
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lists {
    pub(in crate::hub) fn forget_all(&self) {
        self.0.lock().clear();
    }

    /// Forgets a list, because the server says that it changed.
    pub(in crate::hub) fn forget(&self, kind: ListKind) {
        let mut lists = self.0.lock();
        lists.remove(&kind);
        if kind == ListKind::Resources {
            lists.remove(&ListKind::Templates);
        }
    }

    /// A list as it was read last, and not forgotten since.
    pub(in crate::hub) fn kept(&self, kind: ListKind) -> Option<List> {
        self.0.lock().get(&kind)?.told.borrow().as_ref()?.as_ref().ok().cloned()
    }
}

/// Whether two lists offer the same, in whatever order.
pub(in crate::hub) fn same_items(one: &List, other: &List) -> bool {
    let sorted = |list: &List| {
        let mut raw: Vec<_> = list.iter().map(|item| item.raw.clone()).collect();
        raw.sort_unstable();
        raw
    };
    sorted(one) == sorted(other)
}
