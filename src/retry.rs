//! How long to wait before trying again: growing steps up to a cap, and a last moment.

use std::time::{Duration, Instant};

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

#[cfg(test)]
mod tests {
    use super::*;

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
