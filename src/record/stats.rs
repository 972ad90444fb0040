//! Calls counted and measured, by server, by tool or by agent.

use std::collections::HashMap;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::record::block::Entry;
use crate::record::call::{FIRST_FAILURE, subject_shown};
use crate::record::shape::{Caller, milliseconds, tokens};

/// What each line of the statistics is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    Server,
    #[default]
    Tool,
    Agent,
}

impl By {
    /// How each is written.
    pub const NAMES: [(&str, Self); 3] = [("server", Self::Server), ("tool", Self::Tool), ("agent", Self::Agent)];
}

/// The calls of one server, of one tool of it, or of one agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Stat {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The tool, or what else was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    pub calls: u64,
    pub failures: u64,
    /// Half of the calls took no longer, and 95 of 100.
    pub p50_ms: f64,
    pub p95_ms: f64,
    /// Bytes of requests and of answers.
    pub sent: u64,
    pub received: u64,
    /// An estimate of the answers' tokens.
    pub tokens: u64,
}

/// What a group of calls has in common.
type Key = (u32, u32, u32);

#[derive(Debug, Default)]
struct Group {
    stat: Stat,
    took: Vec<u64>,
}

/// The statistics of a number of calls.
#[derive(Debug, Default)]
pub struct Stats {
    by: By,
    groups: FxHashMap<Key, Group>,
    /// The most used first.
    pub lines: Vec<Stat>,
}

impl Stats {
    pub(super) fn new(by: By) -> Self {
        Self { by, ..Self::default() }
    }

    pub(super) fn add(&mut self, call: &Entry) {
        let key = match self.by {
            By::Server => (call.server, 0, 0),
            By::Tool => (call.server, call.method, call.subject),
            By::Agent => (call.agent, 0, 0),
        };
        let Group { stat, took } = self.groups.entry(key).or_default();
        stat.calls += 1;
        stat.failures += u64::from(call.outcome >= FIRST_FAILURE);
        stat.sent += u64::from(call.sent);
        stat.received += u64::from(call.received);
        took.push(call.took);
    }

    /// Gives each line its names.
    pub(super) fn finish(&mut self, names: &HashMap<u32, String>, agents: &HashMap<u32, Caller>) {
        let name = |id: u32| names.get(&id).cloned();
        let mut lines: Vec<Stat> = Vec::new();
        let mut by_agent: HashMap<String, Group> = HashMap::new();
        for ((first, method, subject), group) in self.groups.drain() {
            match self.by {
                By::Server => lines.push(Stat { server: name(first), ..group.measured() }),
                By::Tool => {
                    let method = name(method).unwrap_or_default();
                    let tool = Some(subject_shown(&method, name(subject).as_deref()));
                    lines.push(Stat { server: name(first), tool, ..group.measured() });
                }
                // An agent of one name is one, however often it was started.
                By::Agent => {
                    let agent = agents
                        .get(&first)
                        .and_then(|caller| caller.name.clone())
                        .unwrap_or_else(|| "(unnamed)".to_owned());
                    by_agent.entry(agent).or_default().take_over(group);
                }
            }
        }
        lines.extend(by_agent.into_iter().map(|(agent, group)| Stat { agent: Some(agent), ..group.measured() }));
        lines.sort_by(|one, other| {
            let names = |stat: &Stat| (stat.server.clone(), stat.tool.clone(), stat.agent.clone());
            other.calls.cmp(&one.calls).then_with(|| names(one).cmp(&names(other)))
        });
        self.lines = lines;
    }
}

impl Group {
    fn take_over(&mut self, other: Self) {
        self.stat.calls += other.stat.calls;
        self.stat.failures += other.stat.failures;
        self.stat.sent += other.stat.sent;
        self.stat.received += other.stat.received;
        self.took.extend(other.took);
    }

    fn measured(self) -> Stat {
        let Self { stat, mut took } = self;
        took.sort_unstable();
        let part = |hundredths: usize| {
            let at = (took.len() * hundredths).div_ceil(100).max(1) - 1;
            milliseconds(took.get(at).copied().unwrap_or_default())
        };
        Stat { p50_ms: part(50), p95_ms: part(95), tokens: tokens(stat.received), ..stat }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_and_measured() {
        let line = |server, subject, agent, took, failed| Entry {
            server,
            method: 9,
            subject,
            agent,
            took,
            sent: 10,
            received: 100,
            outcome: if failed { 11 } else { 0 },
            ..Entry::default()
        };
        let names = [(1, "time"), (2, "now"), (3, "convert"), (9, "tools/call")];
        let names = names.map(|(id, text)| (id, text.to_owned())).into();
        let named = |name: Option<&str>| Caller { name: name.map(str::to_owned), ..Caller::default() };
        let agents = [(1, named(Some("codex"))), (2, named(Some("codex"))), (3, named(None))].into();
        let lines = |by: By| {
            let mut stats = Stats::new(by);
            (1..=100).for_each(|number| stats.add(&line(1, 2, 1, number * 1000, number > 98)));
            stats.add(&line(1, 3, 2, 5000, false));
            stats.add(&line(1, 3, 3, 5000, false));
            stats.finish(&names, &agents);
            stats.lines
        };
        let tools = lines(By::Tool);
        assert_eq!(tools.len(), 2);
        let now = &tools[0];
        assert_eq!((now.tool.as_deref(), now.calls, now.failures), (Some("now"), 100, 2));
        assert_eq!((now.p50_ms, now.p95_ms, now.received, now.tokens), (50.0, 95.0, 10_000, 2_500));
        let agents: Vec<_> = lines(By::Agent).into_iter().map(|line| (line.agent, line.calls)).collect();
        assert_eq!(agents, [(Some("codex".to_owned()), 101), (Some("(unnamed)".to_owned()), 1)]);
        assert_eq!(lines(By::Server).iter().map(|line| line.calls).collect::<Vec<_>>(), [102]);
    }
}
