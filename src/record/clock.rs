//! Moments of the wall's clock, from those of the machine's.

use std::time::{Duration, Instant, SystemTime};

use crate::record::shape::{micros, micros_of};

/// The moment that an `Instant` was, for those that are near.
#[derive(Debug)]
pub(super) struct Clock {
    instant: Instant,
    micros: i64,
}

impl Clock {
    /// How long it is believed: the system's clock may be set.
    const HOLDS: Duration = Duration::from_secs(10);

    fn now() -> Self {
        Self { instant: Instant::now(), micros: micros(SystemTime::now()) }
    }

    /// When something was, in microseconds since 1970; `now` is the moment in which that is asked.
    pub(super) fn micros(&mut self, instant: Instant, now: Instant) -> i64 {
        if now.saturating_duration_since(self.instant) > Self::HOLDS {
            *self = Self::now();
        }
        let micros = |span: Duration| i64::try_from(micros_of(span)).unwrap_or(i64::MAX);
        match instant.checked_duration_since(self.instant) {
            Some(after) => self.micros.saturating_add(micros(after)),
            None => self.micros.saturating_sub(micros(self.instant.saturating_duration_since(instant))),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::now()
    }
}
