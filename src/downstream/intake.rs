//! What an agent sends, brought to the hub in order: in a one-server view nothing overtakes a request that waits for its
//! server, but answers and cancellations, without which it might wait for ever.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::envelope::{Envelope, Kind};
use crate::hub::{Hub, Later, Routed, Session, View};
use crate::method::Method;
use crate::wire::{Held, LARGE, Message};

/// How many requests of one agent may wait for servers at once; then it is not read from.
const MAX_WAITING: usize = 256;

pub(super) struct Intake {
    hub: Arc<Hub>,
    session: Arc<Session>,
    /// The request that the frames in `held` must not overtake.
    first: Option<Later>,
    held: VecDeque<Waiting>,
    /// Requests that wait each for itself.
    aside: FuturesUnordered<Later>,
}

/// A message whose turn has not come.
struct Waiting {
    /// Of a request, raw.
    id: Option<Box<str>>,
    frame: String,
    held: Held,
}

impl Intake {
    pub(super) fn new(hub: Arc<Hub>, session: Arc<Session>) -> Self {
        Self { hub, session, first: None, held: VecDeque::new(), aside: FuturesUnordered::new() }
    }

    pub(super) fn take(&mut self, envelope: &Envelope<'_>) {
        if self.first.is_some() && !self.may_overtake(envelope) {
            return self.hold(envelope);
        }
        let routed = self.hub.take(&self.session, envelope);
        self.note(routed);
    }

    fn note(&mut self, routed: Routed) {
        match (routed, &self.session.view) {
            (Routed::Done, _) => {}
            (Routed::Later(later), View::One(_)) => self.first = Some(later),
            (Routed::Later(later), View::All | View::Profile(_)) | (Routed::Aside(later), _) => self.aside.push(later),
        }
    }

    /// Whether a message is for now, whatever waits. A cancellation takes the request that it names out of what is held.
    fn may_overtake(&mut self, envelope: &Envelope<'_>) -> bool {
        if !is_urgent(envelope) {
            return false;
        }
        if envelope.kind == Kind::Notification {
            self.held.retain(|held| held.id.is_none() || held.id.as_deref() != envelope.params.request_id);
        }
        true
    }

    /// Holds a message until its turn comes.
    fn hold(&mut self, envelope: &Envelope<'_>) {
        match self.session.account().hold(envelope.frame.len()) {
            Ok(held) => self.held.push_back(Waiting {
                id: (envelope.kind == Kind::Request).then(|| envelope.id.into()),
                frame: envelope.frame.to_owned(),
                held,
            }),
            Err(_) => self.session.refuse_for_weight(envelope),
        }
    }

    /// Takes what was held, up to what must be waited for again.
    fn go_on(&mut self) {
        while self.first.is_none()
            && let Some(Waiting { frame, held, .. }) = self.held.pop_front()
        {
            if frame.len() > LARGE {
                let (hub, session) = (self.hub.clone(), self.session.clone());
                self.first = Some(Box::pin(async move {
                    let Some(message) = Message::again(frame).await else { return };
                    drop(held);
                    hub.take_to_end(&session, message.envelope()).await;
                }));
                return;
            }
            drop(held);
            if let Ok(envelope) = Envelope::parse(frame.as_bytes()) {
                self.take(&envelope);
            }
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
                self.go_on();
            }
            Some(()) = self.aside.next(), if !self.aside.is_empty() => {}
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_settled(&self) -> bool {
        self.first.is_none() && self.aside.is_empty()
    }

    /// Whether what waits leaves room for a message, if that must wait as well. One message always has room.
    pub(super) fn has_room_for(&self, envelope: &Envelope<'_>) -> bool {
        let account = self.session.account();
        self.is_settled() || account.held() + envelope.frame.len() <= account.limit() / 2 || is_urgent(envelope)
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
        Kind::Notification => envelope.method == Some(Method::Cancelled),
    }
}
