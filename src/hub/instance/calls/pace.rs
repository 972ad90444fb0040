//! How a server answers calls, as far as it has shown: one after the other, and each of them slowly, or otherwise. Pure.

use std::time::{Duration, Instant};

/// A server that takes so long from one answer to the next makes others wait who can feel it.
const SLOW: Duration = Duration::from_millis(50);
/// For how long it counts what a server has shown.
const LATELY: Duration = Duration::from_secs(10);
/// How much of a server's time at calls is looked back on, more or less.
const REMEMBERED: Duration = Duration::from_secs(2);
/// How long a server may be silent, at least and at most, however long it takes for an answer.
const SILENCE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));

#[derive(Debug, Clone, Copy)]
pub(in crate::hub) struct Pace {
    /// When it was last given a call while it had none, or has answered one.
    since: Instant,
    /// When it last took long for an answer, and how long: longer ones before that count by half.
    slow: Option<(Instant, Duration)>,
    /// How long it has been at calls, and how much of that it took for answers that took long; what was earlier counts by half.
    at_work: Duration,
    slowly: Duration,
    /// When it last answered a call before one that it had got earlier.
    overtook: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { since: Instant::now(), slow: None, at_work: Duration::ZERO, slowly: Duration::ZERO, overtook: None }
    }
}

impl Pace {
    /// It gets a call, and has no other.
    pub(in crate::hub) fn begins(&mut self, now: Instant) {
        self.since = now;
    }

    /// It has answered a call; `overtakes` looks whether it has got an earlier one that it has not answered.
    pub(in crate::hub) fn answers(&mut self, now: Instant, overtakes: impl FnOnce() -> bool) {
        let took = now.saturating_duration_since(self.since);
        self.since = now;
        self.at_work += took;
        if took >= SLOW {
            self.slowly += took;
            let before = self.slow.filter(|(at, _)| is_within(Some(*at), now, LATELY));
            self.slow = Some((now, before.map_or(took, |(_, before)| took.max(before / 2))));
        }
        if self.at_work > REMEMBERED {
            (self.at_work, self.slowly) = (self.at_work / 2, self.slowly / 2);
        }
        // What was seen in this second need not be looked for again.
        let is_known = is_within(self.overtook, now, Duration::from_secs(1));
        if !self.slowly.is_zero() && !is_known && self.is_slow(now) && overtakes() {
            self.overtook = Some(now);
        }
    }

    fn is_slow(&self, now: Instant) -> bool {
        let silent = now.saturating_duration_since(self.since);
        let long = Some(silent).filter(|silent| *silent >= SLOW);
        // A fast server that falters once is still a fast one.
        let mostly = (self.slowly + long.unwrap_or_default()) * 2 > self.at_work + silent;
        mostly && (long.is_some() || is_within(self.slow.map(|(at, _)| at), now, LATELY))
    }

    /// Whether a call waits for the calls before it, for a time that is felt. Asked while the server has a call.
    pub(in crate::hub) fn is_one_after_the_other(&self, now: Instant) -> bool {
        self.is_slow(now) && !is_within(self.overtook, now, LATELY)
    }

    /// Whether it has answered nothing for longer than it takes for calls one after the other: it may wait for another call.
    pub(in crate::hub) fn is_stuck(&self, now: Instant) -> bool {
        let late = self.slow.filter(|(at, _)| is_within(Some(*at), self.since, LATELY));
        let took = late.map_or(Duration::ZERO, |(_, took)| took);
        now.saturating_duration_since(self.since) >= (took * 4).clamp(SILENCE.0, SILENCE.1)
    }
}

fn is_within(at: Option<Instant>, now: Instant, span: Duration) -> bool {
    at.is_some_and(|at| now.saturating_duration_since(at) < span)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server has shown: at which millisecond it answered, and whether it had an earlier call then.
    fn shown(answers: &[(u64, bool)]) -> (Instant, Pace) {
        let start = Instant::now();
        let mut pace = Pace { since: start, ..Pace::default() };
        for (at, overtakes) in answers {
            pace.answers(start + Duration::from_millis(*at), || *overtakes);
        }
        (start, pace)
    }

    #[test]
    fn what_a_server_shows_counts_for_a_while() {
        for (what, answers, at, expected) in [
            ("nothing yet", &[] as &[_], 10, false),
            ("silence", &[], 60, true),
            ("fast answers", &[(10, false), (20, false)], 30, false),
            ("a slow answer", &[(60, false), (61, false)], 62, true),
            (
                "one after the other, each of them slow",
                &[(60, false), (130, false), (131, false), (200, false)],
                201,
                true,
            ),
            ("slow among fast ones", &[(20, false), (40, false), (60, false), (120, false)], 125, false),
            ("slow for most of the time", &[(20, false), (40, false), (140, false)], 145, true),
            ("silence behind fast ones", &[(20, false), (40, false), (60, false)], 125, true),
            ("one before an earlier one", &[(60, false), (120, true)], 130, false),
            ("one before an earlier one, a while ago", &[(60, true), (10_000, false)], 10_061, true),
            ("one before an earlier one, and fast", &[(10, true), (20, true)], 80, true),
        ] {
            let (start, pace) = shown(answers);
            assert_eq!(pace.is_one_after_the_other(start + Duration::from_millis(at)), expected, "{what}");
        }
    }

    #[test]
    fn what_was_shown_a_while_ago_counts_no_more() {
        for (overtakes, later, expected) in [(false, 9_990, true), (false, 10_010, false), (true, 9_990, false)] {
            let (start, mut pace) = shown(&[(60, overtakes)]);
            // It has nothing to do until then.
            let later = start + Duration::from_millis(60 + later);
            pace.begins(later);
            assert_eq!(pace.is_one_after_the_other(later), expected, "{overtakes} {later:?}");
        }
        let (start, mut pace) = shown(&[(60, true)]);
        let later = start + Duration::from_secs(11);
        pace.begins(later);
        assert!(pace.is_one_after_the_other(later + SLOW), "it overtook too long ago");
    }

    #[test]
    fn a_server_is_stuck_that_is_silent_for_longer_than_its_calls_take() {
        for (answers, silent, expected) in [
            (&[] as &[_], 4_999, false),
            (&[], 5_000, true),
            (&[(100, false)], 4_999, false),
            (&[(100, false)], 5_000, true),
            (&[(2_000, false)], 7_999, false),
            (&[(2_000, false)], 8_000, true),
            (&[(4_000, false), (4_060, false)], 7_999, false),
            (&[(4_000, false), (4_060, false)], 8_000, true),
            (&[(4_000, false), (4_060, false), (4_120, false)], 5_000, true),
            (&[(60_000, false)], 29_999, false),
            (&[(60_000, false)], 30_000, true),
        ] {
            let (_, pace) = shown(answers);
            let now = pace.since + Duration::from_millis(silent);
            assert_eq!(pace.is_stuck(now), expected, "{answers:?}, then silent for {silent} ms");
        }
    }
}
