//! The drawings of the page, as SVG. Each says in words what it shows, for those who do not see it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use crate::cli::figures::{memory as mebibytes, took};
use crate::control::Status;
use crate::record::{CallShape, Point};
use crate::shown;

/// How many agents and processes are drawn.
const DRAWN: usize = 40;
/// Between two of them.
const ROW: usize = 26;
/// How wide drawings are, in units of their own.
const WIDTH: usize = 720;
/// How high the timeline is.
const HEIGHT: f64 = 120.0;

/// A text of others, in which nothing hides or turns text round.
pub(super) fn text(text: &str) -> String {
    shown::line(text).into_owned()
}

/// Agents on one side, processes on the other, and a line for each use.
pub(super) fn sharing(status: &Status) -> Markup {
    let agents: Vec<_> = status.sessions.iter().take(DRAWN).collect();
    let place: BTreeMap<u64, usize> = agents.iter().enumerate().map(|(at, agent)| (agent.session, at)).collect();
    let processes: Vec<_> = status
        .servers
        .iter()
        .flat_map(|server| server.instances.iter().map(move |instance| (server, instance)))
        .take(DRAWN)
        .collect();
    let shared = processes.iter().filter(|(_, instance)| instance.sessions.len() > 1).count();
    let words = format!("{} agents use {} processes, of which {shared} are shared", agents.len(), processes.len());
    if agents.is_empty() || processes.is_empty() {
        return html! { p { (words) "." } };
    }
    let height = agents.len().max(processes.len()) * ROW + 10;
    let y = |at: usize| at * ROW + 20;
    html! {
        p { (words) "." }
        svg.drawing viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label=(words) {
            @for (at, (_, instance)) in processes.iter().enumerate() {
                @for session in &instance.sessions {
                    @if let Some(from) = place.get(session) {
                        line.use x1="230" y1=(y(*from)) x2="470" y2=(y(at)) {}
                    }
                }
            }
            @for (at, agent) in agents.iter().enumerate() {
                circle.agent cx="226" cy=(y(at)) r="5" {}
                text.end x="214" y=(y(at) + 4) {
                    (shortened(agent.name.as_deref().unwrap_or("agent"))) " " (agent.session)
                }
            }
            @for (at, (server, instance)) in processes.iter().enumerate() {
                rect.process x="470" y=(y(at) - 6) width="12" height="12" rx="2" {}
                text x="490" y=(y(at) + 4) {
                    (shortened(&server.name))
                    @if let Some(pid) = instance.pid { " " (pid) }
                }
            }
        }
    }
}

fn shortened(name: &str) -> String {
    let name = text(name);
    if name.chars().count() <= 22 { name } else { name.chars().take(21).chain(['…']).collect() }
}

/// What is held, beside what would be.
pub(super) fn memory(used: u64, unshared: u64) -> Markup {
    let part = (used * 100).checked_div(unshared).unwrap_or(100);
    let words = format!("{} are held; without sharing it would be {}", mebibytes(used), mebibytes(unshared));
    html! {
        svg.bar viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label=(words) {
            rect.rest x="0" y="0" width="100" height="4" {}
            rect.part x="0" y="0" width=(part) height="4" {}
        }
    }
}

/// A bar for each minute, and a line for how long calls took.
pub(super) fn timeline(points: &[Point]) -> Markup {
    let most = points.iter().map(|point| point.calls).max().unwrap_or_default();
    if most == 0 {
        return html! { p { "No call in the last hour." } };
    }
    let calls: u64 = points.iter().map(|point| point.calls).sum();
    let failures: u64 = points.iter().map(|point| point.failures).sum();
    let slowest = points.iter().map(|point| point.p95_ms).fold(0.0, f64::max);
    let words = format!(
        "{calls} calls in the last hour, {failures} failed; at most {most} in a minute; 95 of 100 took at most {} in the slowest minute",
        took(slowest)
    );
    let step = WIDTH as f64 / points.len().max(1) as f64;
    let up = |part: f64| HEIGHT - part * (HEIGHT - 10.0);
    let high = |number: u64| up(number as f64 / most as f64);
    // Durations differ by orders: each line up is ten times as long.
    let scale = |ms: f64| (1.0 + ms).ln() / (1.0 + slowest).ln().max(f64::MIN_POSITIVE);
    let with_calls = points.iter().enumerate().filter(|(_, point)| point.calls > 0);
    let line: Vec<_> = with_calls
        .map(|(at, point)| format!("{:.1},{:.1}", (at as f64 + 0.5) * step, up(scale(point.p95_ms))))
        .collect();
    html! {
        p { (words) "." }
        svg.drawing viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(words) {
            @for (at, point) in points.iter().enumerate() {
                @let x = format!("{:.1}", at as f64 * step + 1.0);
                @let width = format!("{:.1}", (step - 2.0).max(1.0));
                rect.calls x=(x) y=(format!("{:.1}", high(point.calls))) width=(width) height=(format!("{:.1}", HEIGHT - high(point.calls))) {
                    title { (point.at) ": " (point.calls) " calls, " (point.failures) " failed, p95 " (took(point.p95_ms)) }
                }
                @if point.failures > 0 {
                    rect.failures x=(x) y=(format!("{:.1}", high(point.failures))) width=(width) height=(format!("{:.1}", HEIGHT - high(point.failures))) {}
                }
            }
            polyline.p95 points=(line.join(" ")) {}
        }
        p.small { span.key.calls-key {} " calls a minute " span.key.failures-key {} " failed " span.key.p95-key {} " 95 of 100 took at most so long (logarithmic)" }
    }
}

/// When calls were under way, beside each other.
pub(super) struct Waterfall {
    from: f64,
    span: f64,
}

impl Waterfall {
    pub(super) fn of(calls: &[CallShape]) -> Self {
        let spans = calls.iter().map(|call| (at(call), at(call) + call.took_ms));
        let (from, to) = spans.fold((f64::MAX, f64::MIN), |(from, to), (one, other)| (from.min(one), to.max(other)));
        Self { from, span: (to - from).max(1.0) }
    }

    pub(super) fn bar(&self, call: &CallShape) -> Markup {
        let from = (at(call) - self.from) / self.span * 100.0;
        let width = (call.took_ms / self.span * 100.0).max(0.6).min(100.0 - from.min(99.4));
        let words = format!("{} after the first of these, for {}", took(at(call) - self.from), took(call.took_ms));
        let class = if call.failed { "failures" } else { "calls" };
        html! {
            svg.waterfall viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label=(words) {
                rect class=(class) x=(format!("{from:.2}")) y="1" width=(format!("{width:.2}")) height="6" {}
            }
        }
    }
}

/// When a call began, in milliseconds.
fn at(call: &CallShape) -> f64 {
    let at = DateTime::parse_from_rfc3339(&call.at).map(|at| at.with_timezone(&Utc)).unwrap_or_default();
    at.timestamp_micros() as f64 / 1000.0
}
