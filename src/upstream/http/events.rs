//! A stream of server-sent events with a bound on the size of each.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use parking_lot::Mutex;
use reqwest::Response;
use sse_stream::{Sse, SseByteStream};
use tokio_util::sync::CancellationToken;

use crate::upstream::http::bounds::Bounds;
use crate::upstream::http_client::reason;
use crate::upstream::running::OVER_BUDGET;
use crate::wire::Held;

type Body = Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>;

/// Bytes since the last event.
type Since = Arc<Mutex<Held>>;

/// The events of one response.
pub(super) struct Events {
    events: SseByteStream<Counted>,
    /// Cancelled when what was read must be given back.
    cut: CancellationToken,
    since: Since,
    repaired: Arc<AtomicBool>,
}

/// What ends an event.
const END: &[u8] = b"\n\n";

/// How a stream of events came to its end before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("a message is larger than the cap of {0} bytes (max_frame)")]
    TooLong(usize),
    #[error("the stream was cut: {0}")]
    Cut(String),
}

/// Counts the bytes of a body, and ends it when they are too many for one event. What is not UTF-8 is replaced; an event at
/// the end needs no empty line behind it.
struct Counted {
    body: Body,
    since: Since,
    cap: usize,
    /// The beginning of a character that goes on in the next chunk.
    begun: Vec<u8>,
    repaired: Arc<AtomicBool>,
    over: bool,
}

impl Counted {
    /// The text of a chunk: of what was begun, the rest.
    fn whole(&mut self, chunk: Bytes) -> Bytes {
        if self.begun.is_empty() && std::str::from_utf8(&chunk).is_ok() {
            return chunk;
        }
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.extend_from_slice(&chunk);
        let mut text = String::with_capacity(bytes.len());
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            let last = chunks.peek().is_none();
            match chunk.invalid() {
                [] => {}
                invalid if last && is_begun(invalid) => self.begun = invalid.to_vec(),
                _ => {
                    text.push('\u{fffd}');
                    self.repaired.store(true, Ordering::Relaxed);
                }
            }
        }
        text.into()
    }
}

/// Whether bytes can be the beginning of a character.
fn is_begun(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

impl Stream for Counted {
    type Item = Result<Bytes, Broken>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.body.as_mut().poll_next(cx).map(|chunk| {
            let Some(chunk) = chunk else {
                return (!std::mem::replace(&mut self.over, true)).then(|| Ok(Bytes::from_static(END)));
            };
            Some(chunk.map_err(|error| Broken::Cut(reason(&error))).and_then(|chunk| {
                let mut since = self.since.lock();
                // A chunk may hold several events, each within its bound.
                if since.bytes() > self.cap {
                    return Err(Broken::TooLong(self.cap));
                }
                let all = since.bytes() + chunk.len();
                since.resize(all).map_err(|_| Broken::Cut(OVER_BUDGET.to_owned()))?;
                drop(since);
                Ok(self.whole(chunk))
            }))
        })
    }
}

impl Events {
    pub(super) fn new(response: Response, bounds: &Bounds) -> Self {
        let account = bounds.account.apart(usize::MAX);
        let since = Arc::new(Mutex::new(account.nothing()));
        let body: Body = Box::pin(response.bytes_stream());
        let repaired = Arc::new(AtomicBool::new(false));
        let cap = bounds.max_frame;
        let counted =
            Counted { body, since: since.clone(), cap, begun: Vec::new(), repaired: repaired.clone(), over: false };
        Self { events: SseByteStream::new(counted), cut: account.cut().clone(), since, repaired }
    }

    /// Whether something in it was no UTF-8.
    pub(super) fn was_repaired(&self) -> bool {
        self.repaired.load(Ordering::Relaxed)
    }

    /// The next event; `None` at the end. Cancel-safe.
    #[expect(clippy::wildcard_enum_match_arm, reason = "an open enum of others: the rest is said in their own words")]
    pub(super) async fn next(&mut self) -> Option<Result<Sse, Broken>> {
        let Some(event) = self.cut.run_until_cancelled(self.events.next()).await else {
            return Some(Err(Broken::Cut(OVER_BUDGET.to_owned())));
        };
        let event = event?;
        self.since.lock().clear();
        Some(event.map_err(|error| match error {
            sse_stream::Error::Body(inner) => match inner.downcast::<Broken>() {
                Ok(broken) => *broken,
                Err(other) => Broken::Cut(other.to_string()),
            },
            other => Broken::Cut(other.to_string()),
        }))
    }
}
