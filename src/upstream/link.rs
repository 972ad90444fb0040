//! The way to a server: its queue, and the ids of what goes into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::upstream::ids::Ids;
use crate::wire::{Account, Outbox};

/// The way to a server: its queue, and the ids of what goes into it.
#[derive(Debug, Clone)]
pub struct Link {
    pub outbox: Outbox,
    ids: Ids,
    order: Arc<Order>,
}

/// What was said last that needs no answer, and what was answered last. A server takes messages in their order.
#[derive(Debug, Default)]
struct Order {
    /// The id that the next request had then.
    notice: AtomicU64,
    /// The id behind the highest one that was answered.
    answered: AtomicU64,
}

impl Link {
    /// A link whose queue holds as much as the account may; where that is cut off, the server is stopped.
    pub fn new(account: Account) -> Self {
        Self { outbox: Outbox::new(account), ids: Ids::new(), order: Arc::default() }
    }

    /// An id that this server was not given before.
    pub fn next_id(&self) -> u64 {
        self.ids.next()
    }

    /// Notes that something goes to the server that it need not answer.
    pub fn note_notice(&self) {
        self.order.notice.store(self.ids.peek(), Ordering::Relaxed);
    }

    pub(super) fn note_answer(&self, id: u64) {
        self.order.answered.fetch_max(id + 1, Ordering::Relaxed);
    }

    /// Whether the server has answered something behind the last message that it need not answer: it will not speak of that
    /// any more.
    pub fn is_settled(&self) -> bool {
        let notice = self.order.notice.load(Ordering::Relaxed);
        notice == 0 || self.order.answered.load(Ordering::Relaxed) > notice
    }

    /// Whether something was asked under this id.
    pub fn has_issued(&self, id: u64) -> bool {
        self.ids.holds(id)
    }
}
