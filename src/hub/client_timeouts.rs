//! How long an agent waits for what it asks when it attaches: most look at a list once, and give up on a server that takes
//! longer. A list is worth waiting for nearly as long.

use std::time::{Duration, Instant};

/// Where nothing is known of an agent.
const USUAL: Duration = Duration::from_secs(20);
/// At least so long a list waits for servers that are starting, whatever was used up before.
const LEAST: Duration = Duration::from_secs(2);
/// Of the time that an agent has for attaching, its handshake may take this part, in hundredths.
const HANDSHAKE: u32 = 45;

/// Clients that give up on a handshake sooner than on a list, and for how many milliseconds theirs may take.
const HASTY: [(&str, u64); 1] = [
    // Three seconds on stdio, from before it starts the program (`DEFAULT_MCP_CONNECT_TIMEOUT_MS` in its source, 3.0).
    ("cline", 1500),
];

/// How a client's name begins or goes on, and for how many seconds it may be kept waiting: less than it waits by itself, as
/// far as that is known.
const KNOWN: [(&str, u64); 9] = [
    // `MCP_TIMEOUT`, 30 s by default (its documentation, and as seen in 2.1).
    ("claude", 24),
    // `startup_timeout_sec`, 10 s by default (its documentation).
    ("codex", 8),
    // 60 s is what the TypeScript SDK waits for any answer, and Cline for any but the handshake's.
    ("cline", 45),
    ("cursor", 45),
    ("mcporter", 24),
    ("copilot", 24),
    // Ten minutes (`MCP_DEFAULT_TIMEOUT_MSEC` in their source); a person would not wait as long.
    ("gemini", 60),
    ("qwen", 60),
    ("trunkline", 60),
];

/// For how long an agent that is called so may be kept waiting: with its handshake, and with all that it asks at first.
fn of(names: &str) -> (Duration, Duration) {
    let name = names.to_ascii_lowercase();
    let find = |calls: &[(&str, u64)]| calls.iter().find(|(part, _)| name.contains(part)).map(|(_, time)| *time);
    let all = find(&KNOWN).map_or(USUAL, Duration::from_secs);
    (find(&HASTY).map_or(all * HANDSHAKE / 100, Duration::from_millis), all)
}

/// What an agent waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Awaited {
    Handshake,
    List,
}

/// Until when an answer may wait for servers that are starting. While an agent attaches, its whole patience is for all that
/// it asks then.
pub(in crate::hub) fn until(names: &str, attached: Instant, now: Instant, what: Awaited) -> Instant {
    let (handshake, patience) = of(names);
    let begun = if now.saturating_duration_since(attached) < patience { attached } else { now };
    match what {
        Awaited::Handshake => begun + handshake,
        Awaited::List => (begun + patience).max(now + LEAST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_patience_is_for_all_that_it_asks_at_first() {
        let attached = Instant::now();
        let seconds = |name, after: u64, what| {
            let now = attached + Duration::from_secs(after);
            until(name, attached, now, what).saturating_duration_since(attached).as_millis()
        };
        for (name, after, what, expected) in [
            ("node", 0, Awaited::List, 20_000),
            ("node", 0, Awaited::Handshake, 9_000),
            ("codex-mcp-client", 0, Awaited::List, 8_000),
            ("node {\"name\":\"Claude Code\"}", 3, Awaited::List, 24_000),
            // Hardly anything is left: a moment all the same.
            ("codex-mcp-client", 7, Awaited::List, 9_000),
            // Long after it attached, a list has its own time.
            ("codex-mcp-client", 60, Awaited::List, 68_000),
            ("codex-mcp-client", 7, Awaited::Handshake, 3_600),
            ("node {\"name\":\"@cline/core\"}", 0, Awaited::Handshake, 1_500),
            ("@cline/core", 1, Awaited::List, 45_000),
        ] {
            assert_eq!(seconds(name, after, what), expected, "{name:?} after {after} s: {what:?}");
        }
    }
}
