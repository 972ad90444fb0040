//! The life of an instance: what happens to it, and what is then to be done. Pure; the hub carries the actions out.
//!
//! ```text
//! Idle ── wanted ──> Starting ── ready ──> Ready ── unused, replaced, stopped ──> Draining ──> Idle
//!   ^                   │ failed             │ ended by itself
//!   └── pause is over ── Backoff <───────────┘        after too many failures in a row: Broken, and one trial after each pause
//! ```

use std::time::{Duration, Instant};

use crate::retry::pause_after;

/// The pause after the first failure, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// An instance that has run this long is healthy, and so is one that has answered a call: the count of failures begins anew.
const HEALTHY: Duration = Duration::from_secs(10);
/// So many failures in a row open the breaker.
const MOST_FAILURES: u32 = 5;
/// The pause before the first trial of an open breaker, and the longest.
const TRIAL: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(600));

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Idle,
    Starting,
    Ready {
        since: Instant,
    },
    /// It takes no new calls, and is stopped when it has none left or at `until`.
    Draining {
        until: Instant,
    },
    /// It failed, and may start again at `until`.
    Backoff {
        until: Instant,
    },
    /// It failed too often: one instance is tried when the pause of the record is over.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// A request needs it.
    Wanted,
    Started,
    /// It could not start, or ended by itself. Somebody may still need it; `spread` is a random number from 0 to 1; `excused` where
    /// only one agent can have done this to it, which says nothing of the server, or where it had answered calls.
    Failed {
        needed: bool,
        spread: f64,
        excused: bool,
    },
    /// It has no calls in flight, which counts while it drains.
    Settled,
    /// It is to end within this time.
    Drain(Duration),
    /// Its process is gone, as it was told.
    Stopped,
    /// The time that a [`Action::Wake`] named has come, or another moment.
    Tick,
    /// A person asks for a fresh start.
    Reset,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Nothing,
    Start,
    Stop,
    /// Send [`Event::Tick`] at this time.
    Wake(Instant),
}

/// How the instances of an upstream fared that are alike: shared by them, because an agent that comes back would otherwise find
/// a fresh count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Record {
    failures: u32,
    /// Not before this time may any of them start.
    until: Option<Instant>,
}

impl Record {
    pub fn is_broken(&self) -> bool {
        self.failures >= MOST_FAILURES
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// When the next start may be.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether nothing of it matters any more.
    pub fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now > until + TRIAL.1)
    }

    /// A trial that told nothing of the server is followed by the next one.
    fn end_trial(&mut self, now: Instant) {
        if self.is_broken() {
            self.until = Some(now);
        }
    }

    fn pause(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }
}

impl State {
    /// What comes after `event`, and what to do.
    pub fn on(self, event: Event, now: Instant, record: &mut Record) -> (Self, Action) {
        match (self, event) {
            (_, Event::Reset) => {
                *record = Record::default();
                match self {
                    Self::Backoff { .. } | Self::Broken => (Self::Idle, Action::Nothing),
                    Self::Idle | Self::Starting | Self::Ready { .. } | Self::Draining { .. } => (self, Action::Nothing),
                }
            }
            (Self::Idle | Self::Broken, Event::Wanted) => begin(now, record),
            // Somebody needed it when the pause began.
            (Self::Broken, Event::Tick) => begin_again(now, record),
            (Self::Backoff { until }, Event::Wanted) if now >= until => begin(now, record),
            (Self::Backoff { until }, Event::Tick) if now >= until => begin_again(now, record),
            (Self::Backoff { until }, Event::Tick) => (self, Action::Wake(until)),
            (Self::Starting, Event::Started) => (Self::Ready { since: now }, Action::Wake(now + HEALTHY)),
            (Self::Ready { since }, Event::Tick | Event::Settled) => {
                if is_healthy(since, now) {
                    *record = Record::default();
                }
                (self, Action::Nothing)
            }
            (Self::Starting | Self::Ready { .. }, Event::Failed { needed, spread, excused }) => {
                let healthy = excused || matches!(self, Self::Ready { since } if is_healthy(since, now));
                fail(healthy, needed, spread, now, record)
            }
            (Self::Starting | Self::Ready { .. }, Event::Drain(within)) => {
                if self == Self::Starting {
                    record.end_trial(now);
                }
                let until = now + within;
                (Self::Draining { until }, Action::Wake(until))
            }
            (Self::Draining { .. }, Event::Settled) => (self, Action::Stop),
            (Self::Draining { until }, Event::Tick) if now >= until => (self, Action::Stop),
            (Self::Draining { .. }, Event::Stopped | Event::Failed { .. }) => (Self::Idle, Action::Nothing),
            (Self::Idle | Self::Backoff { .. } | Self::Broken, Event::Drain(_)) => (Self::Idle, Action::Nothing),
            (Self::Starting, Event::Stopped) => {
                record.end_trial(now);
                (Self::Idle, Action::Nothing)
            }
            (Self::Ready { .. }, Event::Stopped) => (Self::Idle, Action::Nothing),
            (
                Self::Idle
                | Self::Starting
                | Self::Ready { .. }
                | Self::Draining { .. }
                | Self::Backoff { .. }
                | Self::Broken,
                Event::Wanted
                | Event::Started
                | Event::Failed { .. }
                | Event::Settled
                | Event::Drain(_)
                | Event::Stopped
                | Event::Tick,
            ) => (self, Action::Nothing),
        }
    }
}

fn is_healthy(since: Instant, now: Instant) -> bool {
    now.duration_since(since) >= HEALTHY
}

/// Starts, unless there is a pause.
fn begin(now: Instant, record: &mut Record) -> (State, Action) {
    match record.pause(now) {
        Some(_) if record.is_broken() => (State::Broken, Action::Nothing),
        Some(until) => (State::Backoff { until }, Action::Wake(until)),
        None => {
            if record.is_broken() {
                // A trial, and no other beside it until it is known to be well.
                record.until = Some(now + TRIAL.0);
            }
            (State::Starting, Action::Start)
        }
    }
}

/// Likewise, and looks again if it is not time yet.
fn begin_again(now: Instant, record: &mut Record) -> (State, Action) {
    match (begin(now, record), record.until) {
        ((State::Broken, _), Some(until)) => (State::Broken, Action::Wake(until)),
        (next, _) => next,
    }
}

fn fail(healthy: bool, needed: bool, spread: f64, now: Instant, record: &mut Record) -> (State, Action) {
    record.failures = if healthy { 1 } else { record.failures + 1 };
    let pause = match record.failures.checked_sub(MOST_FAILURES) {
        Some(trials) => TRIAL.0.saturating_mul(1 << trials.min(4)).min(TRIAL.1),
        None => pause_after(record.failures, PAUSE.0, PAUSE.1, spread),
    };
    let until = now + pause;
    record.until = Some(until);
    match (record.is_broken(), needed) {
        (true, true) => (State::Broken, Action::Wake(until)),
        (true, false) => (State::Broken, Action::Nothing),
        (false, true) => (State::Backoff { until }, Action::Wake(until)),
        (false, false) => (State::Idle, Action::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Event = Event::Failed { needed: true, spread: 0.0, excused: false };
    const UNNEEDED: Event = Event::Failed { needed: false, spread: 0.0, excused: false };

    /// Each step: seconds since the last one, the event, and what must come of it.
    fn walk(steps: &[(f64, Event, State, Action)]) {
        let mut record = Record::default();
        let (mut state, mut now) = (State::Idle, start());
        for (index, (seconds, event, expected, action)) in steps.iter().enumerate() {
            now += Duration::from_secs_f64(*seconds);
            let next = state.on(*event, now, &mut record);
            assert_eq!(next, (*expected, *action), "step {index}: {state:?} on {event:?}");
            state = next.0;
        }
    }

    fn start() -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now)
    }

    fn at(seconds: f64) -> Instant {
        start() + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_calm_life() {
        let ready = State::Ready { since: at(1.0) };
        let draining = State::Draining { until: at(11.0) };
        walk(&[
            (0.0, Event::Wanted, State::Starting, Action::Start),
            (0.5, Event::Wanted, State::Starting, Action::Nothing),
            (0.5, Event::Started, ready, Action::Wake(at(11.0))),
            (0.0, Event::Wanted, ready, Action::Nothing),
            (5.0, Event::Settled, ready, Action::Nothing),
            (0.0, Event::Drain(Duration::from_secs(5)), draining, Action::Wake(at(11.0))),
            (1.0, Event::Tick, draining, Action::Nothing),
            (0.0, Event::Settled, draining, Action::Stop),
            (1.0, Event::Stopped, State::Idle, Action::Nothing),
            (0.0, Event::Wanted, State::Starting, Action::Start),
        ]);
    }

    #[test]
    fn a_deadline_ends_what_does_not_settle() {
        let draining = State::Draining { until: at(2.0) };
        walk(&[
            (0.0, Event::Wanted, State::Starting, Action::Start),
            (0.0, Event::Started, State::Ready { since: at(0.0) }, Action::Wake(at(10.0))),
            (0.0, Event::Drain(Duration::from_secs(2)), draining, Action::Wake(at(2.0))),
            (2.0, Event::Tick, draining, Action::Stop),
            (0.0, FAILED, State::Idle, Action::Nothing),
        ]);
    }

    #[test]
    fn pauses_grow_and_the_breaker_opens() {
        let backoff = |until| (State::Backoff { until: at(until) }, Action::Wake(at(until)));
        let begin = (State::Starting, Action::Start);
        walk(&[
            (0.0, Event::Wanted, begin.0, begin.1),
            (0.0, FAILED, backoff(0.25).0, backoff(0.25).1),
            (0.1, Event::Wanted, backoff(0.25).0, Action::Nothing),
            (0.0, Event::Tick, backoff(0.25).0, backoff(0.25).1),
            (0.15, Event::Tick, begin.0, begin.1),
            (0.0, UNNEEDED, State::Idle, Action::Nothing),
            // Nobody waited, but the next start keeps the pause all the same.
            (0.25, Event::Wanted, backoff(0.75).0, backoff(0.75).1),
            (0.25, Event::Tick, begin.0, begin.1),
            (0.25, FAILED, backoff(2.0).0, backoff(2.0).1),
            (1.0, Event::Tick, begin.0, begin.1),
            (0.0, FAILED, backoff(4.0).0, backoff(4.0).1),
            (2.0, Event::Tick, begin.0, begin.1),
            // From here on, one trial after a minute, two, four … ten.
            (0.0, FAILED, State::Broken, Action::Wake(at(64.0))),
            (59.0, Event::Wanted, State::Broken, Action::Nothing),
            (1.0, Event::Tick, begin.0, begin.1),
            (0.0, UNNEEDED, State::Broken, Action::Nothing),
            (119.0, Event::Wanted, State::Broken, Action::Nothing),
            (1.0, Event::Wanted, begin.0, begin.1),
            (0.0, FAILED, State::Broken, Action::Wake(at(424.0))),
            (240.0, Event::Tick, begin.0, begin.1),
            (0.0, FAILED, State::Broken, Action::Wake(at(904.0))),
            (480.0, Event::Tick, begin.0, begin.1),
            (0.0, FAILED, State::Broken, Action::Wake(at(1504.0))),
            (600.0, Event::Tick, begin.0, begin.1),
            (0.0, FAILED, State::Broken, Action::Wake(at(2104.0))),
            (1.0, Event::Reset, State::Idle, Action::Nothing),
            (0.0, Event::Wanted, begin.0, begin.1),
        ]);
    }

    #[test]
    fn a_healthy_run_begins_a_new_count() {
        let mut steps = Vec::new();
        let mut now = 0.0;
        for _ in 0..20 {
            steps.push((0.25, Event::Wanted, State::Starting, Action::Start));
            now += 0.25;
            steps.push((0.0, Event::Started, State::Ready { since: at(now) }, Action::Wake(at(now + 10.0))));
            now += 10.0;
            steps.push((10.0, UNNEEDED, State::Idle, Action::Nothing));
        }
        walk(&steps);
    }

    #[test]
    fn a_run_that_is_healthy_forgives_what_was_before() {
        let mut record = Record::default();
        for second in 0..4 {
            let (state, _) = State::Starting.on(UNNEEDED, at(f64::from(second) * 60.0), &mut record);
            assert_eq!(state, State::Idle);
        }
        let ready = State::Ready { since: at(300.0) };
        assert_eq!(ready.on(Event::Tick, at(309.0), &mut record), (ready, Action::Nothing));
        assert_eq!(record.failures(), 4);
        assert_eq!(ready.on(Event::Tick, at(310.0), &mut record), (ready, Action::Nothing));
        assert_eq!(record, Record::default());
    }

    #[test]
    fn one_breaker_and_one_trial_for_all_that_are_alike() {
        let mut record = Record::default();
        for second in 0..5 {
            let now = at(f64::from(second) * 60.0);
            let (state, _) = State::Idle.on(Event::Wanted, now, &mut record);
            assert_eq!(state, State::Starting);
            state.on(UNNEEDED, now, &mut record);
        }
        let wanted = |at, record: &mut Record| State::Idle.on(Event::Wanted, at, record).0;
        assert_eq!(wanted(at(299.0), &mut record), State::Broken);
        assert_eq!(wanted(at(300.0), &mut record), State::Starting);
        assert_eq!(wanted(at(300.0), &mut record), State::Broken, "one trial at a time");
        State::Starting.on(Event::Stopped, at(301.0), &mut record);
        assert_eq!(wanted(at(301.0), &mut record), State::Starting, "that one told nothing");
        let ready = State::Ready { since: at(300.0) };
        ready.on(Event::Drain(Duration::ZERO), at(302.0), &mut record);
        assert_eq!(wanted(at(302.0), &mut record), State::Broken, "one of before that leaves is no trial");
        ready.on(Event::Tick, at(310.0), &mut record);
        assert_eq!(wanted(at(310.0), &mut record), State::Starting, "it went well");
    }
}
