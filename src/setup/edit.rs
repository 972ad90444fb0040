//! Puts a server into the text of an agent's file, and takes one out; everything else in it stays as it is, to the byte. Pure.

mod json;
mod order;
mod refused;
mod toml;
mod yaml;

use serde_json::Value;

use crate::config::{Format, Tree};
use crate::setup::agent::Agent;

pub(super) use refused::CannotEditText;

/// The text with a server more; one of that name is replaced.
pub(super) fn with(agent: &Agent, text: &str, name: &str, entry: &Value) -> Result<String, CannotEditText> {
    match agent.format {
        Format::Json => json::with(text, &agent.at, name, entry),
        Format::Toml => toml::with(text, &agent.at, name, entry),
        Format::Yaml => yaml::with(text, &agent.at, agent.list, name, entry),
    }
}

/// The text without a server; as it is where there is none of that name.
pub(super) fn without(agent: &Agent, text: &str, name: &str) -> Result<String, CannotEditText> {
    match agent.format {
        Format::Json => json::without(text, &agent.at, name),
        Format::Toml => toml::without(text, &agent.at, name),
        Format::Yaml => yaml::without(text, &agent.at, agent.list, name),
    }
}

/// The server of that name, as the text has it.
pub(super) fn get(agent: &Agent, text: &str, name: &str) -> Option<Value> {
    match agent.format {
        Format::Json => json::get(text, &agent.at, name),
        Format::Toml => toml::get(text, &agent.at, name),
        Format::Yaml => yaml::get(text, &agent.at, agent.list, name),
    }
}

/// Whether two texts say the same, whatever their comments and their order.
pub(super) fn says_the_same(agent: &Agent, one: &str, other: &str) -> bool {
    let read = |text: &str| Tree::read(text.trim_start_matches('\u{feff}'), agent.format).ok();
    matches!((read(one), read(other)), (Some(one), Some(other)) if one == other)
}

/// All servers of a text, as plain values; `None` if it cannot be read.
pub(super) fn all(agent: &Agent, text: &str) -> Option<Value> {
    let root = Tree::read(text.trim_start_matches('\u{feff}'), agent.format).ok()?;
    Some(agent.at.iter().try_fold(&root, |value, key| value.get(key)).cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::agent::find_agent;

    fn agent(id: &str) -> &'static Agent {
        find_agent(id).expect("known")
    }

    #[test]
    fn what_was_put_in_comes_out_again() {
        for (id, text) in [
            (
                "cursor",
                "{\n  // mine\n  \"mcpServers\": {\n    \"a\": { \"command\": \"x\" }, // last\n  },\n  \"z\": 1,\n}\n",
            ),
            ("cursor", "{ \"mcpServers\": { \"a\": { \"command\": \"x\" } } }"),
            ("cursor", "{\r\n\t\"mcpServers\": {\r\n\t\t\"a\": {\r\n\t\t\t\"command\": \"x\"\r\n\t\t}\r\n\t}\r\n}\r\n"),
            ("codex", "model = \"m\" # why\n\n[mcp_servers.a] # mine\ncommand = \"x\"\n\n[tui]\ntheme = \"t\"\n"),
            ("codex", "[mcp_servers]\na = { command = \"x\" }\n"),
            ("goose", "A: 1\nextensions:\n    # mine\n    a:\n        cmd: x\n        type: stdio\n\nB: 2\n"),
            ("continue", "name: n\nmcpServers:\n  - name: a\n    command: x\n  # - name: b\nrules: []\n"),
        ] {
            let agent = agent(id);
            let entry = agent.entry_for("new", &["/t".into(), "connect".into()]);
            let more = with(agent, text, "new", &entry).unwrap_or_else(|error| panic!("{id}: {error}: {text}"));
            assert_eq!(get(agent, &more, "new"), Some(entry), "{more}");
            assert!(get(agent, &more, "a").is_some(), "{more}");
            for line in text.lines().filter(|line| line.contains("mine") || line.contains("why")) {
                assert!(more.contains(line.trim()), "{line} in {more}");
            }
            let less = without(agent, &more, "new").expect("edited");
            assert_eq!(get(agent, &less, "new"), None, "{less}");
            assert_eq!(get(agent, &less, "a"), get(agent, text, "a"), "{less}");
        }
    }

    #[test]
    fn a_file_that_says_nothing_yet() {
        for id in ["cursor", "codex", "goose", "continue", "amp"] {
            let agent = agent(id);
            for text in ["", "\n"] {
                let entry = agent.entry_for("new", &["/t".into(), "connect".into()]);
                let more = with(agent, text, "new", &entry).expect("edited");
                assert_eq!(get(agent, &more, "new"), Some(entry), "{id}: {more}");
            }
        }
    }

    #[test]
    fn what_cannot_be_edited_is_left_alone() {
        for (id, text) in [
            ("cursor", "{\"mcpServers\": "),
            ("cursor", "[]"),
            ("cursor", "{\"mcpServers\": []}"),
            ("codex", "[mcp_servers"),
            ("codex", "mcp_servers = 1"),
            ("goose", "extensions: [a"),
            ("goose", "extensions: 5"),
            ("goose", "extensions: {a: {cmd: x}}"),
        ] {
            let entry = agent(id).entry_for("new", &["/t".into()]);
            assert!(with(agent(id), text, "new", &entry).is_err(), "{id}: {text}");
        }
    }
}
