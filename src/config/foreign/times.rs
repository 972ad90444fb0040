//! Other tools' times, where their keys say the unit: a `timeout` alone is seconds for some and milliseconds for others. Pure.

use crate::config::node::{Node, Value};
use crate::config::problems::Problems;
use crate::config::server::ServerConfig;

/// What a time is for, and its unit where the key says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meant {
    StartupSeconds,
    StartupMs,
    CallSeconds,
    CallMs,
}

impl Meant {
    /// By our words for the key.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "startup_seconds" => Self::StartupSeconds,
            "startup_ms" => Self::StartupMs,
            "call_seconds" => Self::CallSeconds,
            _ => Self::CallMs,
        }
    }
}

/// Our key for a time, and its value.
pub(super) fn span(meant: Meant, node: &Node, problems: &mut Problems<'_>) -> Option<(&'static str, String)> {
    let number = match &node.value {
        Value::Number(text) | Value::String(text) => text.parse::<f64>().ok().filter(|number| *number > 0.0),
        Value::Bool(_) | Value::Array(_) | Value::Table(_) | Value::Other(_) => None,
    };
    let Some(number) = number else {
        problems.note(node.at.start, "this is no length of time: passed over".to_owned());
        return None;
    };
    let ms = match meant {
        Meant::StartupSeconds | Meant::CallSeconds => number * 1_000.0,
        Meant::StartupMs | Meant::CallMs => number,
    };
    // Rounded to what our own form can say.
    let ms = ms.round().clamp(1.0, 1e12) as u64;
    let text = if ms.is_multiple_of(1_000) { format!("{}s", ms / 1_000) } else { format!("{ms}ms") };
    match meant {
        Meant::StartupSeconds | Meant::StartupMs => {
            let ours = ServerConfig::default().startup_timeout.0;
            if u128::from(ms) <= ours.as_millis() {
                let message = format!(
                    "{text} to start is not more than the {}s that a server has here: passed over",
                    ours.as_secs()
                );
                problems.note(node.at.start, message);
                return None;
            }
            Some(("startup_timeout", text))
        }
        Meant::CallSeconds | Meant::CallMs => Some(("call_timeout", text)),
    }
}
