//! How people order the keys of a server.

use serde_json::Value;

/// The order in which people write the keys of a server; others stand behind them.
const ORDER: [&str; 12] =
    ["name", "type", "enabled", "command", "cmd", "args", "env", "envs", "cwd", "url", "headers", "tools"];

/// The members of an entry in the order in which people write them.
pub(super) fn ordered(members: &serde_json::Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut all: Vec<_> = members.iter().collect();
    all.sort_by_key(|(key, _)| ORDER.iter().position(|known| known == key).unwrap_or(ORDER.len()));
    all
}
