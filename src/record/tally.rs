//! What one server's calls come to, counted as they end: by method since the daemon started, and in the last hour.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::record::call::Outcome;

/// The upper bounds of the classes of durations, in seconds; what is longer has a class of its own.
pub const CLASSES: [f64; 12] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// How far back the short counts go, in minutes.
const HOUR: u64 = 60;
/// How many methods of one server are told apart.
const METHODS: usize = 48;

/// The calls of one server. Clones share it.
#[derive(Debug, Clone)]
pub struct Tally(Arc<Mutex<Counts>>);

#[derive(Debug)]
struct Counts {
    began: Instant,
    /// The minute in which that was, since 1970.
    minute: u64,
    methods: Vec<MethodTally>,
    /// By minute since 1970: calls and failures.
    minutes: VecDeque<(u64, u64, u64)>,
}

/// The calls of one method.
#[derive(Debug, Clone)]
pub struct MethodTally {
    pub method: Box<str>,
    pub calls: u64,
    /// By the name of how they ended.
    pub outcomes: Vec<(&'static str, u64)>,
    /// Seconds that they took together.
    pub seconds: f64,
    /// How many took so long, by [`CLASSES`], and how many longer.
    pub classes: [u64; CLASSES.len() + 1],
}

/// What the last hour has brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LastHour {
    pub calls: u64,
    pub failures: u64,
}

impl Default for Tally {
    fn default() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let minute = since.as_secs() / 60;
        let counts = Counts { began: Instant::now(), minute, methods: Vec::new(), minutes: VecDeque::new() };
        Self(Arc::new(Mutex::new(counts)))
    }
}

impl Tally {
    /// Counts a call that has ended at `now`.
    pub fn note(&self, method: &str, outcome: Outcome, now: Instant, took: Duration) {
        let mut counts = self.0.lock();
        counts.of_method(method).note(outcome, took);
        let minute = counts.minute_of(now);
        counts.forget_before(minute);
        let failures = u64::from(outcome.is_failure());
        match counts.minutes.back_mut().filter(|(last, ..)| *last == minute) {
            Some((_, calls, failed)) => (*calls, *failed) = (*calls + 1, *failed + failures),
            None => counts.minutes.push_back((minute, 1, failures)),
        }
    }

    /// Adds what an earlier daemon has recorded: calls and failures of a minute since 1970, in their order.
    pub fn add_earlier(&self, earlier: impl DoubleEndedIterator<Item = (u64, u64, u64)>) {
        let mut counts = self.0.lock();
        earlier.rev().for_each(|minute| counts.minutes.push_front(minute));
    }

    pub fn last_hour(&self) -> LastHour {
        let mut counts = self.0.lock();
        let minute = counts.minute_of(Instant::now());
        counts.forget_before(minute);
        let sum = |hour: LastHour, (_, calls, failures): &(u64, u64, u64)| LastHour {
            calls: hour.calls + calls,
            failures: hour.failures + failures,
        };
        counts.minutes.iter().fold(LastHour::default(), sum)
    }

    pub fn methods(&self) -> Vec<MethodTally> {
        self.0.lock().methods.clone()
    }
}

impl Counts {
    fn minute_of(&self, now: Instant) -> u64 {
        self.minute + now.saturating_duration_since(self.began).as_secs() / 60
    }

    fn of_method(&mut self, method: &str) -> &mut MethodTally {
        let known = self.methods.iter().position(|known| *known.method == *method);
        let at = known.unwrap_or_else(|| {
            // What agents make up is not told apart for ever.
            let name: Box<str> = if self.methods.len() < METHODS { method.into() } else { "other".into() };
            let other = self.methods.iter().position(|known| known.method == name);
            other.unwrap_or_else(|| {
                self.methods.push(MethodTally {
                    method: name,
                    calls: 0,
                    outcomes: Vec::new(),
                    seconds: 0.0,
                    classes: Default::default(),
                });
                self.methods.len() - 1
            })
        });
        &mut self.methods[at]
    }

    fn forget_before(&mut self, minute: u64) {
        while self.minutes.front().is_some_and(|(first, ..)| first + HOUR <= minute) {
            self.minutes.pop_front();
        }
    }
}

impl MethodTally {
    fn note(&mut self, outcome: Outcome, took: Duration) {
        let seconds = took.as_secs_f64();
        self.calls += 1;
        self.seconds += seconds;
        self.classes[CLASSES.iter().position(|most| seconds <= *most).unwrap_or(CLASSES.len())] += 1;
        match self.outcomes.iter_mut().find(|(name, _)| *name == outcome.name()) {
            Some((_, count)) => *count += 1,
            None => self.outcomes.push((outcome.name(), 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_method_and_class() {
        let tally = Tally::default();
        let call = "tools/call";
        let note = |method: &str, outcome, took| tally.note(method, outcome, Instant::now(), took);
        note(call, Outcome::Result, Duration::from_micros(900));
        note(call, Outcome::ToolError, Duration::from_secs(3));
        note(call, Outcome::Cancelled, Duration::from_secs(300));
        (0..100).for_each(|number| note(&format!("x/{number}"), Outcome::Result, Duration::ZERO));
        assert_eq!(tally.last_hour(), LastHour { calls: 103, failures: 1 });
        let methods = tally.methods();
        assert_eq!((methods[0].calls, methods[0].classes[0], methods[0].classes[8]), (3, 1, 1));
        assert_eq!(methods[0].classes[CLASSES.len()], 1);
        assert_eq!(methods.len(), METHODS + 1);
        assert_eq!(methods.iter().map(|method| method.calls).sum::<u64>(), 103);
        let now = tally.0.lock().minute_of(Instant::now());
        tally.add_earlier([(now - 61, 5, 5), (now - 2, 4, 1)].into_iter());
        assert_eq!(tally.last_hour(), LastHour { calls: 107, failures: 2 });
    }
}
