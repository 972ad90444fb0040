//! The way to a server: its queue, and the ids of what goes into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::envelope::{Edit, Envelope, spliced};
use crate::recording::{Direction, Tee};
use crate::upstream::ids::Ids;
use crate::wire::{Account, Outbox, Refused, Sent};

/// The way to a server: its queue, and the ids of what goes into it.
#[derive(Debug, Clone)]
pub struct Link {
    pub outbox: Outbox,
    ids: Ids,
    order: Arc<Order>,
    tee: Tee,
    /// By which number recordings know it.
    connection: u64,
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
        Self {
            outbox: Outbox::new(account),
            ids: Ids::new(),
            order: Arc::default(),
            tee: Tee::default(),
            connection: 0,
        }
    }

    /// Has what goes through copied for those who record it.
    pub fn recorded(self, tee: Tee) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { tee, connection: NEXT.fetch_add(1, Ordering::Relaxed), ..self }
    }

    /// Queues one message of about `size` bytes, written by `fill`.
    pub fn push(&self, size: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Result<(), Refused> {
        self.push_of(Sent { by: self.outbox.account(), request: None, waits: false }, size, fill)
    }

    /// Likewise, one that is weighed for another account.
    pub fn push_of(&self, sent: Sent<'_>, size: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Result<(), Refused> {
        if !self.tee.is_watched() {
            return self.outbox.push_of(sent, size, fill);
        }
        let mut message = Vec::with_capacity(size);
        fill(&mut message);
        self.outbox.push_of(sent, message.len(), |out| out.extend_from_slice(&message))?;
        self.hear(Direction::ToServer, &String::from_utf8_lossy(&message));
        Ok(())
    }

    /// Queues a message with edits.
    pub fn push_edited(&self, sent: Sent<'_>, envelope: &Envelope<'_>, edits: &mut [Edit<'_>]) -> Result<(), Refused> {
        let copy = self.tee.is_watched().then(|| spliced(envelope.frame, edits.iter().cloned()));
        self.outbox.push_edited_of(sent, envelope, edits)?;
        copy.iter().for_each(|copy| self.hear(Direction::ToServer, copy));
        Ok(())
    }

    /// By which number recordings know it.
    pub fn connection(&self) -> u64 {
        self.connection
    }

    pub fn is_watched(&self) -> bool {
        self.tee.is_watched()
    }

    /// Gives a copy to those who record.
    pub fn hear(&self, direction: Direction, message: &str) {
        self.tee.hear(direction, self.connection, message);
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
        notice == 0 || self.outbox.is_in_order() && self.order.answered.load(Ordering::Relaxed) > notice
    }

    /// Whether something was asked under this id.
    pub fn has_issued(&self, id: u64) -> bool {
        self.ids.holds(id)
    }
}
