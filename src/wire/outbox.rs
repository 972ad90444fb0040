//! The writing half of a wire: one bounded buffer that frames are appended to in place, and its writer.
//!
//! Frames that pile up while the writer is busy leave in one write, and a frame costs no allocation of its own.

mod lanes;
mod part;
mod queue;

pub use lanes::SHARE;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio_io_timeout::TimeoutWriter;

use crate::envelope::{Edit, Envelope, splice};
use crate::wire::budget::{Account, Held};
use crate::wire::message::LARGE;
use crate::wire::outbox::queue::Queue;
use crate::wire::refused::Refused;
use crate::wire::sent::Sent;

/// How long a reader may take nothing of what is written to it.
pub const STALLED: Duration = Duration::from_secs(60);

/// A buffer that grew past this is given back once it is written.
const KEEP: usize = 256 * 1024;

/// Handle to one bounded queue of outgoing bytes.
#[derive(Debug, Clone)]
pub struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Wakes the writer.
    filled: Notify,
    /// Wakes those who wait for room.
    drained: Notify,
    account: Account,
}

impl Outbox {
    /// An outbox that holds as much as its account may, or one frame if that is larger.
    pub fn new(account: Account) -> Self {
        let queue = Mutex::new(Queue::new(account.clone()));
        Self(Arc::new(Shared { queue, filled: Notify::new(), drained: Notify::new(), account }))
    }

    /// Who what waits is weighed for, where nobody else is named.
    pub fn account(&self) -> &Account {
        &self.0.account
    }

    /// Appends one frame of about `size` bytes, written by `fill`, and the line end.
    pub fn push(&self, size: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Result<(), Refused> {
        self.push_of(self.own(), size, fill)
    }

    /// Likewise, one that is weighed for another account.
    pub fn push_of(&self, sent: Sent<'_>, size: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Result<(), Refused> {
        self.queue(|queue| queue.append(sent, size, fill))
    }

    /// Appends a message with edits, and the line end. A long one is not copied.
    pub fn push_edited(&self, envelope: &Envelope<'_>, edits: &mut [Edit<'_>]) -> Result<(), Refused> {
        self.push_edited_of(self.own(), envelope, edits)
    }

    /// Likewise, a message that is weighed for another account.
    pub fn push_edited_of(
        &self,
        sent: Sent<'_>,
        envelope: &Envelope<'_>,
        edits: &mut [Edit<'_>],
    ) -> Result<(), Refused> {
        let length = envelope.frame.len();
        self.queue(|queue| match envelope.shared.filter(|_| length > LARGE) {
            Some(text) => queue.append_edited(sent, text, edits),
            None => queue.append(sent, length, |out| splice(envelope.frame, edits, out)),
        })
    }

    fn own(&self) -> Sent<'_> {
        Sent { by: &self.0.account, request: None, waits: false }
    }

    fn queue(&self, append: impl FnOnce(&mut Queue) -> Result<(), Refused>) -> Result<(), Refused> {
        let mut queue = self.0.queue.lock();
        if queue.closed {
            return Err(Refused::Closed);
        }
        let idle = queue.is_idle();
        append(&mut queue)?;
        drop(queue);
        if idle {
            self.0.filled.notify_one();
        }
        Ok(())
    }

    /// Whether what waits is written in the order in which it came.
    pub fn is_in_order(&self) -> bool {
        self.0.queue.lock().is_in_order()
    }

    /// Whether all that may be written is.
    pub fn is_written(&self) -> bool {
        self.0.queue.lock().is_written()
    }

    /// Lets a request be written that waits for that.
    pub fn let_go(&self, request: u64) {
        self.0.queue.lock().let_go(request);
        self.0.filled.notify_one();
    }

    /// Takes out a request that was not written; false if it may have been.
    pub fn withdraw(&self, request: u64) -> bool {
        let withdrawn = self.0.queue.lock().withdraw(request);
        if withdrawn {
            // What was behind it may go now.
            self.0.filled.notify_one();
            self.0.drained.notify_waiters();
        }
        withdrawn
    }

    /// Forgets what accounts have waiting that were cut off, but for the little that is about to be written. Returns the ids of the
    /// requests.
    pub fn forget_cut(&self) -> Vec<u64> {
        let requests = self.0.queue.lock().forget_cut();
        self.0.filled.notify_one();
        self.0.drained.notify_waiters();
        requests
    }

    /// Takes no more frames; what waits is still written.
    pub fn close(&self) {
        self.0.queue.lock().closed = true;
        self.0.filled.notify_one();
        self.0.drained.notify_waiters();
    }

    /// Takes no more frames, and forgets those that wait: nobody is there to read them.
    pub fn discard(&self) {
        self.close();
        self.0.queue.lock().discard();
    }

    pub fn is_closed(&self) -> bool {
        self.0.queue.lock().closed
    }

    /// Bytes that wait or are being written.
    pub fn waiting(&self) -> usize {
        self.0.queue.lock().waiting()
    }

    /// Those of them that the reader could have taken.
    pub fn unread(&self) -> usize {
        self.0.queue.lock().unread()
    }

    /// Whether it is time to wait for [`Outbox::room`].
    pub fn is_half_full(&self) -> bool {
        self.waiting() > self.0.account.limit() / 2
    }

    /// Waits until no more than half of the limit waits, or the outbox is closed.
    pub async fn room(&self) {
        loop {
            let drained = self.0.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            if self.is_closed() || !self.is_half_full() {
                return;
            }
            drained.await;
        }
    }

    /// Waits until a frame of `size` bytes is taken, or the outbox is closed.
    pub async fn room_for(&self, size: usize) {
        loop {
            let drained = self.0.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            if self.is_closed() || self.0.queue.lock().has_room_for(size) {
                return;
            }
            drained.await;
        }
    }

    /// Writes what is pushed until the outbox is closed and empty, or the stream fails; closes the outbox either way.
    pub async fn write_to<W: AsyncWrite + Unpin>(&self, mut io: W) -> io::Result<()> {
        let result = self.write_all(&mut io).await;
        self.discard();
        result
    }

    /// Likewise, and gives a reader up that takes nothing for a minute ([`STALLED`]).
    pub async fn write_to_reader<W: AsyncWrite>(&self, io: W) -> io::Result<()> {
        let mut io = TimeoutWriter::new(io);
        io.set_timeout(Some(STALLED));
        self.write_to(Box::pin(io)).await
    }

    async fn write_all<W: AsyncWrite + Unpin>(&self, io: &mut W) -> io::Result<()> {
        let mut batch = Vec::new();
        while let Some(part) = self.take_part(&mut batch).await {
            io.write_all(part.as_deref().unwrap_or(&batch)).await?;
            io.flush().await?;
            self.taken(&mut batch);
        }
        Ok(())
    }

    /// Waits for what is to be written next: a part of a long message, or what was put into `batch`. `None` once the outbox is
    /// closed and empty.
    async fn take_part(&self, batch: &mut Vec<u8>) -> Option<Option<Bytes>> {
        loop {
            {
                let mut queue = self.0.queue.lock();
                if let Some(part) = queue.next(batch) {
                    return Some(part);
                }
                if queue.closed {
                    return None;
                }
            }
            self.0.filled.notified().await;
        }
    }

    /// Waits for frames and takes all that wait, in one piece, each with its line end, and what they weigh, in their order. `None`
    /// once the outbox is closed and empty. Cancel-safe.
    pub async fn take(&self) -> Option<(Vec<u8>, Vec<Held>)> {
        loop {
            {
                let mut queue = self.0.queue.lock();
                if !queue.is_idle() {
                    let taken = queue.take();
                    drop(queue);
                    self.0.drained.notify_waiters();
                    return Some(taken);
                }
                if queue.closed {
                    return None;
                }
            }
            self.0.filled.notified().await;
        }
    }

    /// Notes that a batch has gone, and empties it.
    fn taken(&self, batch: &mut Vec<u8>) {
        batch.clear();
        if batch.capacity() > KEEP {
            *batch = Vec::new();
        }
        self.0.queue.lock().written();
        self.0.drained.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
