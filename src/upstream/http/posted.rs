//! A message on its way to a server.

use std::sync::Arc;

use bytes::Bytes;

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
    /// What it weighs.
    pub _held: Option<Arc<Held>>,
}

impl Posted {
    /// The messages of a batch of the outbox.
    pub(super) async fn all(batch: Vec<u8>) -> Vec<Self> {
        let (mut all, batch) = (Vec::new(), Bytes::from(batch));
        for frame in batch.split(|byte| *byte == b'\n').filter(|frame| !frame.is_empty()) {
            // A short one must not keep its long neighbours.
            let frame = if frame.len() > LARGE { batch.slice_ref(frame) } else { Bytes::copy_from_slice(frame) };
            let message = Message::read(frame, None, Writer::Server).await;
            all.extend(message.map(Self::new));
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
            _held: None,
            message: Arc::new(message),
        }
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
