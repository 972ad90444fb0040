//! Calls over time: how many in each minute, and how long they took.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::record::shape::{milliseconds, rfc3339};

/// One minute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Point {
    /// When it began, in RFC 3339.
    pub at: String,
    pub calls: u64,
    pub failures: u64,
    /// Half of the calls took no longer, and 95 of 100.
    pub p50_ms: f64,
    pub p95_ms: f64,
}

/// The length of a minute, in microseconds.
const MINUTE: i64 = 60_000_000;
/// How many minutes are given.
const MOST: i64 = 24 * 60;

/// Calls sorted into the minutes in which they began.
#[derive(Debug, Default)]
pub(super) struct Timeline(BTreeMap<i64, (Vec<u64>, u64)>);

impl Timeline {
    pub(super) fn add(&mut self, at: i64, took: u64, failed: bool) {
        let (times, failures) = self.0.entry(at.div_euclid(MINUTE)).or_default();
        times.push(took);
        *failures += u64::from(failed);
    }

    /// Every minute from the first one to the last, also those without a call.
    pub(super) fn points(mut self, from: i64, to: i64) -> Vec<Point> {
        let last = to.div_euclid(MINUTE);
        let first = from.div_euclid(MINUTE).max(last - MOST);
        let point = |minute: i64| {
            let (mut times, failures) = self.0.remove(&minute).unwrap_or_default();
            times.sort_unstable();
            let part = |hundredths: usize| {
                let at = (times.len() * hundredths).div_ceil(100).max(1) - 1;
                milliseconds(times.get(at).copied().unwrap_or_default())
            };
            let (p50_ms, p95_ms) = (part(50), part(95));
            Point { at: rfc3339(minute * MINUTE), calls: times.len() as u64, failures, p50_ms, p95_ms }
        };
        (first..=last).map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_minute_has_its_point() {
        let mut timeline = Timeline::default();
        for (at, took, failed) in [(10, 1_000, false), (59_000_000, 3_000, true), (130_000_000, 5_000, false)] {
            timeline.add(at, took, failed);
        }
        let points = timeline.points(0, 130_000_000);
        let counts: Vec<_> = points.iter().map(|point| (point.calls, point.failures, point.p95_ms)).collect();
        assert_eq!(counts, [(2, 1, 3.0), (0, 0, 0.0), (1, 0, 5.0)]);
        assert_eq!(points[2].at, "1970-01-01T00:02:00.000Z");
    }
}
