//! What an agent sends, brought to the hub in order: in a one-server view nothing overtakes a request that waits for its
//! server, but answers and cancellations, without which it might wait for ever.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::envelope::{Envelope, Kind};
use crate::hub::{Hub, Later, Routed, Session, View};

/// How many requests of one agent may wait for servers at once; then it is not read from.
const MAX_WAITING: usize = 256;

pub(super) struct Intake {
    hub: Arc<Hub>,
    session: Arc<Session>,
    /// The request that the frames in `held` must not overtake.
    first: Option<Later>,
    held: VecDeque<Vec<u8>>,
    /// Requests that wait each for itself.
    aside: FuturesUnordered<Later>,
}

impl Intake {
    pub(super) fn new(hub: Arc<Hub>, session: Arc<Session>) -> Self {
        Self { hub, session, first: None, held: VecDeque::new(), aside: FuturesUnordered::new() }
    }

    pub(super) fn take(&mut self, frame: &[u8]) {
        if self.first.is_some() && !self.may_overtake(frame) {
            self.held.push_back(frame.to_vec());
            return;
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
        match envelope.kind {
            Kind::Response => true,
            Kind::Request => false,
            Kind::Notification if envelope.method == "notifications/cancelled" => {
                let named = |held: &Vec<u8>| {
                    Envelope::parse(held)
                        .is_ok_and(|held| held.kind == Kind::Request && envelope.params.request_id == Some(held.id))
                };
                self.held.retain(|held| !named(held));
                true
            }
            Kind::Notification => false,
        }
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
                while self.first.is_none() && let Some(frame) = self.held.pop_front() {
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

    pub(super) fn is_full(&self) -> bool {
        self.held.len() + self.aside.len() >= MAX_WAITING
    }
}
