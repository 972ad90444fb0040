//! What an agent sends, brought to the hub in order: in a one-server view nothing overtakes a request that waits for its
//! server, but answers and cancellations, without which it might wait for ever.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::envelope::{Envelope, Kind};
use crate::hub::{Hub, Later, Routed, Session, View};
use crate::wire::Held;

/// How many requests of one agent may wait for servers at once; then it is not read from.
const MAX_WAITING: usize = 256;

pub(super) struct Intake {
    hub: Arc<Hub>,
    session: Arc<Session>,
    /// The request that the frames in `held` must not overtake.
    first: Option<Later>,
    held: VecDeque<(Vec<u8>, Held)>,
    /// Requests that wait each for itself.
    aside: FuturesUnordered<Later>,
}

impl Intake {
    pub(super) fn new(hub: Arc<Hub>, session: Arc<Session>) -> Self {
        Self { hub, session, first: None, held: VecDeque::new(), aside: FuturesUnordered::new() }
    }

    pub(super) fn take(&mut self, frame: &[u8]) {
        if self.first.is_some() && !self.may_overtake(frame) {
            return self.hold(frame);
        }
        match (self.hub.route(&self.session, frame), &self.session.view) {
            (Routed::Done, _) => {}
            (Routed::Later(later), View::One(_)) => self.first = Some(later),
            (Routed::Later(later), View::All | View::Profile(_)) | (Routed::Aside(later), _) => self.aside.push(later),
        }
    }

    /// Whether a frame is for now, whatever waits. A cancellation takes the request that it names out of what is held.
    fn may_overtake(&mut self, frame: &[u8]) -> bool {
        let Ok(envelope) = Envelope::from_agent(frame) else { return false };
        if !is_urgent(&envelope) {
            return false;
        }
        if envelope.kind == Kind::Notification {
            let named = |(held, _): &(Vec<u8>, Held)| {
                Envelope::parse(held)
                    .is_ok_and(|held| held.kind == Kind::Request && envelope.params.request_id == Some(held.id))
            };
            self.held.retain(|held| !named(held));
        }
        true
    }

    /// Holds a frame until its turn comes.
    fn hold(&mut self, frame: &[u8]) {
        match self.session.account().hold(frame.len()) {
            Ok(held) => self.held.push_back((frame.to_vec(), held)),
            Err(_) => self.refuse(frame),
        }
    }

    /// Says that there is no room for a frame now.
    pub(super) fn refuse(&self, frame: &[u8]) {
        match Envelope::from_agent(frame) {
            Ok(envelope) => self.session.refuse_for_weight(&envelope),
            Err(error) => self.session.reply("null", &error.refusal()),
        }
    }

    /// Whether requests wait that others may overtake.
    pub(super) fn waits_aside(&self) -> bool {
        !self.aside.is_empty()
    }

    /// Waits until something that waited is done.
    pub(super) async fn progress(&mut self) {
        let first = async {
            match &mut self.first {
                Some(first) => first.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = first => {
                self.first = None;
                while self.first.is_none() && let Some((frame, held)) = self.held.pop_front() {
                    drop(held);
                    self.take(&frame);
                }
            }
            Some(()) = self.aside.next(), if !self.aside.is_empty() => {}
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_settled(&self) -> bool {
        self.first.is_none() && self.aside.is_empty()
    }

    /// Whether what waits leaves room for a frame, if that must wait as well. One message always has room.
    pub(super) fn has_room_for(&self, frame: &[u8]) -> bool {
        let account = self.session.account();
        self.is_settled()
            || account.held() + frame.len() <= account.limit() / 2
            || Envelope::from_agent(frame).is_ok_and(|envelope| is_urgent(&envelope))
    }

    pub(super) fn is_full(&self) -> bool {
        self.held.len() + self.aside.len() >= MAX_WAITING
    }
}

/// An answer or a cancellation, for which something may wait that is in its way.
fn is_urgent(envelope: &Envelope<'_>) -> bool {
    match envelope.kind {
        Kind::Response => true,
        Kind::Request => false,
        Kind::Notification => envelope.method == "notifications/cancelled",
    }
}
