//! What is sent to an agent, and what becomes of one that does not read it.

use std::sync::atomic::Ordering;

use crate::envelope::reply::{self, code};
use crate::envelope::{Edit, Envelope, spliced};
use crate::hub::agent::Lifetime;
use crate::hub::session::Session;
use crate::recording::Direction;
use crate::wire::{Refused, Sink, To};

impl Session {
    /// Queues one frame for the agent. An agent that lets its queue fill up is disconnected: waiting for it would make
    /// the others wait.
    pub fn send(&self, to: To<'_>, size: usize, fill: impl FnOnce(&mut Vec<u8>)) {
        if !self.tee.is_watched() {
            return self.queue(to, |sink| sink.push(to, size, fill));
        }
        let mut message = Vec::with_capacity(size);
        fill(&mut message);
        self.tee.hear(Direction::ToAgent, self.id.0, &String::from_utf8_lossy(&message));
        self.queue(to, |sink| sink.push(to, message.len(), |out| out.extend_from_slice(&message)));
    }

    /// Likewise, a message with edits.
    pub fn send_edited(&self, to: To<'_>, envelope: &Envelope<'_>, edits: &mut [Edit<'_>]) {
        if self.tee.is_watched() {
            let copy = spliced(envelope.frame, edits.iter().cloned());
            self.tee.hear(Direction::ToAgent, self.id.0, &copy);
        }
        self.queue(to, |sink| sink.push_edited(to, envelope, edits));
    }

    fn queue(&self, to: To<'_>, push: impl FnOnce(&Sink) -> Result<(), Refused>) {
        if self.stalled.load(Ordering::Relaxed) {
            return;
        }
        if let Err(Refused::Full | Refused::OverBudget) = push(&self.sink) {
            if self.lacks_room(to) {
                return;
            }
            self.stalled.store(true, Ordering::Relaxed);
            tracing::warn!(session = self.id.0, waiting = self.sink.waiting(), "agent does not read: disconnected");
            self.gone.cancel();
            if self.stay == Lifetime::OneRequest {
                // Its response ends, and with it the session.
                self.sink.discard();
            }
        }
    }

    /// Queues a whole frame.
    pub fn tell(&self, to: To<'_>, frame: &str) {
        self.send(to, frame.len(), |out| out.extend_from_slice(frame.as_bytes()));
    }

    /// Answers the request `id`, raw.
    pub fn reply(&self, id: &str, frame: &str) {
        self.tell(To::Answer(id), frame);
    }

    /// Answers a request over HTTP that its answer has no room beside those that were not read yet. The streams of others go on.
    fn lacks_room(&self, to: To<'_>) -> bool {
        let (To::Answer(id), Sink::Streams(_)) = (to, &self.sink) else { return false };
        let message = "the answer has no room beside what was not read yet (2 x max_frame, or max_memory): ask again";
        let error = reply::error(id, code::INTERNAL, message);
        self.sink.push(to, error.len(), |out| out.extend_from_slice(error.as_bytes())).is_ok()
    }

    /// Forgets what waits, if it was cut off.
    pub(in crate::hub) fn give_back(&self) {
        if self.account().cut().is_cancelled() {
            self.stalled.store(true, Ordering::Relaxed);
            self.sink.discard();
        }
    }
}
