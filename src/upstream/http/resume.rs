//! When and where a cut stream is taken up again (MCP 2025-11-25 `basic/transports`, "Resumability and Redelivery").

use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use sse_stream::Sse;

use crate::retry::pause_after;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The shortest pause, whatever a server asks for.
const SHORTEST: Duration = Duration::from_millis(250);
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
    /// How often, and since when, it was taken up again without hearing anything.
    tries: u32,
    quiet_since: Option<Instant>,
}

impl Resume {
    pub(super) fn note(&mut self, event: &Sse) {
        if let Some(id) = &event.id {
            self.id = Some(id.clone()).filter(|id| !id.is_empty());
        }
        if let Some(retry) = event.retry {
            self.retry = Some(Duration::from_millis(retry));
        }
        // An id without data is as good: by that a server says that it is at it, and that it may be asked again.
        if event.id.is_some() || event.data.as_ref().is_some_and(|data| !data.is_empty()) {
            (self.tries, self.quiet_since) = (0, None);
        }
    }

    /// Notes how long a stream was there: one that lasts is no reason to wait longer each time.
    pub(super) fn lasted(&mut self, time: Duration) {
        if time >= PAUSE.1 / 2 {
            (self.tries, self.quiet_since) = (0, None);
        }
    }

    /// The last event's.
    pub(super) fn id(&self) -> Option<String> {
        self.id.clone()
    }

    /// How long to wait before the next try.
    pub(super) fn pause(&mut self) -> Duration {
        self.tries += 1;
        self.quiet_since.get_or_insert_with(Instant::now);
        let first = self.retry.unwrap_or(PAUSE.0).clamp(SHORTEST, PAUSE.1);
        // Not earlier than the server asks for.
        pause_after(self.tries, first, PAUSE.1, 0.0)
    }

    /// Whether it has been tried long enough, where somebody waits for an answer.
    pub(super) fn is_hopeless(&self) -> bool {
        self.quiet_since.is_some_and(|since| since.elapsed() >= PATIENCE)
    }
}

pub(super) fn last_event_id(id: &str) -> HeaderMap {
    let value = HeaderValue::from_bytes(id.as_bytes()).ok();
    value.map(|value| (LAST_EVENT_ID, value)).into_iter().collect()
}
