//! How long to wait before trying again: growing steps up to a cap, and a last moment.

use std::time::{Duration, Instant, SystemTime};

/// The longest that a server may keep others waiting.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Growing pauses until a deadline.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
    deadline: Instant,
}

impl Backoff {
    pub fn new(first: Duration, longest: Duration, within: Duration) -> Self {
        Self { next: first, longest, deadline: Instant::now() + within }
    }

    /// The pause before the next try, or `None` once the time is up.
    pub fn pause(&mut self) -> Option<Duration> {
        let left = self.deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        let pause = self.next.min(left);
        self.next = (self.next * 2).min(self.longest);
        Some(pause)
    }
}

/// The pause after so many failures in a row: doubled with each, up to `longest`, and spread so that those who failed
/// together do not come back together. `spread` is a random number from 0 to 1.
pub fn pause_after(failures: u32, first: Duration, longest: Duration, spread: f64) -> Duration {
    let doubled = first.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(longest).mul_f64(1.0 - spread.clamp(0.0, 1.0) / 2.0)
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date.
pub fn retry_after(text: &str) -> Option<Duration> {
    let seconds = text.trim().parse().ok().map(Duration::from_secs);
    let until = || httpdate::parse_http_date(text.trim()).ok()?.duration_since(SystemTime::now()).ok();
    seconds.or_else(until).map(|after| after.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_that_are_asked_for() {
        assert_eq!(retry_after(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("99999999"), Some(LONGEST_WAIT));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), None);
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        assert!(retry_after(&later).is_some_and(|after| after > Duration::from_secs(50)));
    }

    #[test]
    fn pauses_are_spread_below_their_cap() {
        let step = Duration::from_secs(1);
        assert_eq!(pause_after(1, step, step * 30, 0.0), step);
        assert_eq!(pause_after(4, step, step * 30, 0.0), step * 8);
        assert_eq!(pause_after(400, step, step * 30, 1.0), step * 15);
    }

    #[test]
    fn pauses_grow_to_the_cap_and_end() {
        let step = Duration::from_secs(1);
        let mut backoff = Backoff::new(step, step * 4, step * 3600);
        let pauses: Vec<_> = (0..4).map_while(|_| backoff.pause()).collect();
        assert_eq!(pauses, [step, step * 2, step * 4, step * 4]);
        assert_eq!(Backoff::new(step, step, Duration::ZERO).pause(), None);
    }
}
