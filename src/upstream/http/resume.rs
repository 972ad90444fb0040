//! When and where a cut stream is taken up again (MCP 2025-11-25 `basic/transports`, "Resumability and Redelivery").

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use sse_stream::Sse;

use crate::retry::Backoff;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Pauses where the server names none: the first, and the longest, which also bounds what a server may ask for.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long it is tried without hearing anything.
const PATIENCE: Duration = Duration::from_secs(180);

/// What is known of a stream.
#[derive(Debug, Default)]
pub(super) struct Resume {
    id: Option<String>,
    /// What the server asks for.
    retry: Option<Duration>,
    /// Set while nothing is heard.
    backoff: Option<Backoff>,
}

impl Resume {
    pub(super) fn note(&mut self, event: &Sse) {
        if let Some(id) = &event.id {
            self.id = Some(id.clone()).filter(|id| !id.is_empty());
        }
        if let Some(retry) = event.retry {
            self.retry = Some(Duration::from_millis(retry));
        }
        self.backoff = None;
    }

    /// The last event's.
    pub(super) fn id(&self) -> Option<String> {
        self.id.clone()
    }

    /// How long to wait before the next try; `None` when it has been tried long enough.
    pub(super) fn pause(&mut self) -> Option<Duration> {
        let first = self.retry.unwrap_or(PAUSE.0).min(PAUSE.1);
        self.backoff.get_or_insert_with(|| Backoff::new(first, PAUSE.1, PATIENCE)).pause()
    }
}

pub(super) fn last_event_id(id: &str) -> HeaderMap {
    let value = HeaderValue::from_bytes(id.as_bytes()).ok();
    value.map(|value| (LAST_EVENT_ID, value)).into_iter().collect()
}
