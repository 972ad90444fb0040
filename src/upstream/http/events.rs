//! A stream of server-sent events with a bound on the size of each.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use reqwest::Response;
use sse_stream::{Sse, SseByteStream};

type Body = Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>;

/// The events of one response.
pub(super) struct Events {
    events: SseByteStream<Counted>,
    /// Bytes since the last event.
    since: Arc<AtomicUsize>,
}

/// How a stream of events came to its end before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("a message is larger than the cap of {0} bytes (max_frame)")]
    TooLong(usize),
    #[error("the stream was cut: {0}")]
    Cut(String),
}

/// Counts the bytes of a body, and ends it when they are too many for one event.
struct Counted {
    body: Body,
    since: Arc<AtomicUsize>,
    cap: usize,
}

impl Stream for Counted {
    type Item = Result<Bytes, Broken>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.body.as_mut().poll_next(cx).map(|chunk| {
            let chunk = chunk?;
            Some(chunk.map_err(|error| Broken::Cut(super::client::reason(&error))).and_then(|chunk| {
                let since = self.since.fetch_add(chunk.len(), Ordering::Relaxed) + chunk.len();
                // A chunk may hold several events, each within its bound.
                if since > self.cap + chunk.len() { Err(Broken::TooLong(self.cap)) } else { Ok(chunk) }
            }))
        })
    }
}

impl Events {
    pub(super) fn new(response: Response, cap: usize) -> Self {
        let since = Arc::new(AtomicUsize::new(0));
        let body: Body = Box::pin(response.bytes_stream());
        Self { events: SseByteStream::new(Counted { body, since: since.clone(), cap }), since }
    }

    /// The next event; `None` at the end. Cancel-safe.
    #[expect(clippy::wildcard_enum_match_arm, reason = "an open enum of others: the rest is said in their own words")]
    pub(super) async fn next(&mut self) -> Option<Result<Sse, Broken>> {
        let event = self.events.next().await?;
        self.since.store(0, Ordering::Relaxed);
        Some(event.map_err(|error| match error {
            sse_stream::Error::Body(inner) => match inner.downcast::<Broken>() {
                Ok(broken) => *broken,
                Err(other) => Broken::Cut(other.to_string()),
            },
            other => Broken::Cut(other.to_string()),
        }))
    }
}
