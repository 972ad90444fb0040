//! A message on its way to a server.

use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::envelope::{Kind, splice};
use crate::era::Era;
use crate::method::Method;
use crate::upstream::http::client::Repeat;
use crate::wire::{Held, LARGE, Message, Writer};

/// A message on its way, as trunkline sends it.
#[derive(Debug, Clone)]
pub(super) struct Posted {
    pub message: Arc<Message>,
    pub kind: Kind,
    pub method: Option<Method>,
    /// Of a request: under which trunkline sent it.
    pub id: Option<u64>,
    pub era: Era,
    /// How often the server has said that it does not know the session, which one that was, and in what words.
    pub lost: u32,
    pub generation: u32,
    pub refusal: Option<Arc<str>>,
    /// What it weighs, for who sent it.
    pub held: Option<Arc<Held>>,
}

impl Posted {
    /// The messages of a batch of the outbox, and what they weigh in the same order.
    pub(super) async fn all((batch, weights): (Vec<u8>, Vec<Held>)) -> Vec<Self> {
        let (mut all, batch) = (Vec::new(), Bytes::from(batch));
        let mut weights = weights.into_iter().peekable();
        for line in batch.split_inclusive(|byte| *byte == b'\n') {
            let held = weights.peek_mut().map(|held| Arc::new(held.part(line.len())));
            while weights.next_if(|held| held.bytes() == 0).is_some() {}
            let frame = &line[..line.len() - 1];
            // A short one must not keep its long neighbours.
            let frame = if frame.len() > LARGE { batch.slice_ref(frame) } else { Bytes::copy_from_slice(frame) };
            let message = Message::read(frame, None, Writer::Server).await;
            all.extend(message.map(|message| Self { held, ..Self::new(message) }));
        }
        all
    }

    pub(super) fn new(message: Message) -> Self {
        let envelope = message.envelope();
        Self {
            kind: envelope.kind,
            method: envelope.method,
            id: envelope.id.parse().ok().filter(|_| envelope.kind == Kind::Request),
            era: if envelope.is_modern() { Era::Modern } else { Era::Legacy },
            lost: 0,
            generation: 0,
            refusal: None,
            held: None,
            message: Arc::new(message),
        }
    }

    /// Cancelled where its agent must give up what it has sent.
    pub(super) fn given_up(&self) -> CancellationToken {
        self.held.as_ref().map(|held| held.cut().clone()).unwrap_or_default()
    }

    /// Its text.
    pub(super) fn frame(&self) -> &str {
        self.message.envelope().frame
    }

    /// The same request under another id.
    pub(super) fn under(&self, id: u64) -> Option<Self> {
        let envelope = self.message.envelope();
        let (own, mut frame) = (id.to_string(), Vec::with_capacity(envelope.frame.len()));
        splice(envelope.frame, &mut [envelope.edit(envelope.id, &own)], &mut frame);
        Message::small(frame).ok().map(Self::new)
    }

    /// Whether nothing else may be said before it was answered.
    pub(super) fn comes_first(&self) -> bool {
        matches!(self.method, Some(Method::Initialize | Method::Initialized))
    }

    /// Whether it may be sent once more where nobody knows whether it was carried out.
    pub(super) fn repeat(&self) -> Repeat {
        if self.method.is_some_and(Method::is_safe) { Repeat::Safe } else { Repeat::Never }
    }
}
