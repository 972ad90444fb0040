//! Which calls are asked for.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Days, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use serde::{Deserialize, Serialize};

/// Which calls are asked for; what is not set does not matter. Names may have `*` and `?` in them.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Query {
    pub server: Option<String>,
    /// The tool, prompt or URI.
    pub tool: Option<String>,
    /// The agent's name, or its process or session.
    pub agent: Option<String>,
    /// From when on, and until when: a time span before now like "1h", "today", "yesterday", a date, or a date and time.
    pub since: Option<String>,
    pub until: Option<String>,
    /// Only those that failed.
    pub failed: bool,
    /// Only those that took so many milliseconds or longer.
    pub slow_ms: Option<u64>,
    /// Only those behind this number.
    pub after: Option<i64>,
    /// The one of this number.
    pub id: Option<i64>,
    /// No more than so many: the last ones.
    pub limit: Option<usize>,
}

/// What is no moment.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is no moment: write a time span like \"90s\", \"15m\", \"2h\", \"7d\", or \"today\", \"yesterday\", a date like \"2026-01-31\", or one with a time, \"2026-01-31 14:05\""
)]
pub struct BadMoment(String);

/// The moment that a person means.
pub fn moment(text: &str, now: SystemTime) -> Result<SystemTime, BadMoment> {
    let text = text.trim();
    let today = DateTime::<Local>::from(now).date_naive();
    let bad = || BadMoment(text.to_owned());
    let local = |at: NaiveDateTime| {
        // Where clocks are put forward, an hour is missing: what is behind it is meant.
        let at = Local.from_local_datetime(&at);
        at.earliest().map(SystemTime::from).ok_or_else(bad)
    };
    let day = |day: NaiveDate| local(day.and_time(NaiveTime::MIN));
    if let Some(span) = span(text) {
        return now.checked_sub(span).ok_or_else(bad);
    }
    match text {
        "now" => return Ok(now),
        "today" => return day(today),
        "yesterday" => return day(today.checked_sub_days(Days::new(1)).ok_or_else(bad)?),
        _ => {}
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return day(date);
    }
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.into());
    }
    let forms = ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"];
    if let Some(at) = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()) {
        return local(at);
    }
    let time = NaiveTime::parse_from_str(text, "%H:%M").map_err(|_| bad())?;
    let at = local(today.and_time(time))?;
    // One that is still to come today was yesterday.
    let yesterday = today.checked_sub_days(Days::new(1)).ok_or_else(bad)?;
    if at > now { local(yesterday.and_time(time)) } else { Ok(at) }
}

/// A time span: a whole number and a unit.
fn span(text: &str) -> Option<Duration> {
    let unit = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit);
    let seconds: u64 = match unit.trim() {
        "s" | "sec" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_as_a_person_writes_them() {
        let now = SystemTime::from(Local.with_ymd_and_hms(2026, 3, 14, 15, 9, 26).single().expect("a time"));
        let shown = |text: &str| {
            moment(text, now).map(|at| DateTime::<Local>::from(at).format("%Y-%m-%d %H:%M:%S").to_string())
        };
        for (text, at) in [
            ("90s", "2026-03-14 15:07:56"),
            ("15m", "2026-03-14 14:54:26"),
            ("2h", "2026-03-14 13:09:26"),
            ("today", "2026-03-14 00:00:00"),
            ("yesterday", "2026-03-13 00:00:00"),
            ("2026-01-31", "2026-01-31 00:00:00"),
            ("2026-01-31 14:05", "2026-01-31 14:05:00"),
            ("14:05", "2026-03-14 14:05:00"),
            ("16:05", "2026-03-13 16:05:00"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(at), "{text}");
        }
        for text in ["", "h", "1x", "tomorrow-ish", "2026-13-01", "99999999999999999999d"] {
            assert!(moment(text, now).is_err(), "{text}");
        }
    }
}
