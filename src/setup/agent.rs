//! The agents that trunkline knows: `config/agents.toml`.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::Deserialize;

use crate::config::Format;

/// One row of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// As a person names it to `attach`.
    pub id: String,
    pub title: String,
    /// What it is started as.
    #[serde(default)]
    pub program: Option<String>,
    user: Vec<String>,
    #[serde(default)]
    project: Vec<String>,
    pub format: Format,
    /// The keys that lead to its servers.
    pub at: Vec<String>,
    /// Whether they are a list there.
    #[serde(default)]
    pub list: bool,
    pub(super) entry: serde_json::Map<String, serde_json::Value>,
    /// Whether it writes other things into the same file whenever it runs.
    #[serde(default)]
    pub restless: bool,
    /// Its own command that adds a server.
    #[serde(default)]
    pub own: Option<String>,
    /// How its person sees its servers.
    #[serde(default)]
    pub see: Option<String>,
}

/// All of them, in the order of the table.
pub fn agents() -> &'static [Agent] {
    #[derive(Deserialize)]
    struct Table {
        agent: Vec<Agent>,
    }
    static AGENTS: OnceLock<Vec<Agent>> = OnceLock::new();
    AGENTS.get_or_init(|| {
        let read = toml::from_str::<Table>(include_str!("../../config/agents.toml"));
        // A test reads it, so it is right.
        read.map(|table| table.agent).unwrap_or_default()
    })
}

pub fn find_agent(id: &str) -> Option<&'static Agent> {
    agents().iter().find(|agent| agent.id == id)
}

/// The agent whose file this is, by its place alone.
pub fn agent_of(path: &Path) -> Option<&'static Agent> {
    let is_user = |agent: &&Agent| agent.user_files().iter().any(|file| file == path);
    let is_project = |agent: &&Agent| agent.project.iter().any(|file| path.ends_with(file));
    // A file of another system, or in another home folder, has the same end.
    let looks_like =
        |agent: &&Agent| agent.user.iter().filter_map(|place| end_of(place)).any(|end| path.ends_with(end));
    let all = agents().iter();
    all.clone().find(is_user).or_else(|| all.clone().find(is_project)).or_else(|| all.clone().find(looks_like))
}

/// The last folders of a place, where those alone tell whose it is.
fn end_of(place: &str) -> Option<&str> {
    let end = place.split_once(['/', ':']).map(|(_, end)| end)?;
    (end.contains('/') || end.starts_with('.')).then_some(end)
}

impl Agent {
    /// Where its file for all projects may be on this machine.
    pub fn user_files(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = self.user.iter().filter_map(|place| placed(place)).collect();
        let mut seen = Vec::new();
        all.retain(|path| {
            !seen.contains(path) && {
                seen.push(path.clone());
                true
            }
        });
        // A variable that moves it leaves nothing behind.
        if let Some(moved) = self.user.iter().filter(|place| place.starts_with('$')).find_map(|place| placed(place)) {
            return vec![moved];
        }
        all
    }

    /// The one of them that is there, else the one that the agent would make.
    pub fn user_file(&self) -> Option<PathBuf> {
        let all = self.user_files();
        all.iter().find(|path| path.is_file()).or(all.first()).cloned()
    }

    /// Whether a path ends as its file for all projects does.
    pub(super) fn is_user_place(&self, path: &Path) -> bool {
        let ends = self
            .user
            .iter()
            .filter_map(|place| end_of(place))
            .filter(|end| !self.project.iter().any(|file| file == end));
        ends.into_iter().any(|end| path.ends_with(end))
    }

    /// Its files below a project's folder that are there.
    pub fn project_files(&self, folder: &Path) -> Vec<PathBuf> {
        self.project.iter().map(|file| folder.join(file)).filter(|path| path.is_file()).collect()
    }

    /// Whether it seems to be on this machine: its file or its folder is there, or its program.
    pub fn is_here(&self) -> bool {
        let own_folder = |path: &PathBuf| {
            let folder = path.parent().filter(|folder| Some(*folder) != env::home_dir().as_deref());
            folder.is_some_and(Path::is_dir)
        };
        self.user_files().iter().any(|path| path.is_file() || own_folder(path)) || self.program_file().is_some()
    }

    /// Where its program is.
    pub fn program_file(&self) -> Option<PathBuf> {
        crate::config::find_program(Path::new(self.program.as_ref()?), env::var_os("PATH"))
    }

    /// A server on stdio, as this agent writes it.
    pub(super) fn entry_for(&self, name: &str, words: &[String]) -> serde_json::Value {
        filled(&serde_json::Value::Object(self.entry.clone()), name, words)
    }

    /// Its own command that adds such a server.
    pub fn own_command(&self, name: &str, words: &[String]) -> Option<String> {
        let quoted = shlex::try_join(words.iter().map(String::as_str)).ok()?;
        Some(self.own.as_ref()?.replace("{name}", name).replace("{words}", &quoted))
    }
}

fn filled(template: &serde_json::Value, name: &str, words: &[String]) -> serde_json::Value {
    use serde_json::Value;
    match template {
        Value::String(text) => match text.as_str() {
            "{command}" => words.first().cloned().unwrap_or_default().into(),
            "{args}" => words.get(1..).unwrap_or_default().into(),
            "{words}" => words.into(),
            "{name}" => name.into(),
            text => text.into(),
        },
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| (key.clone(), filled(value, name, words)));
            Value::Object(members.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => template.clone(),
    }
}

/// A place of the table on this machine; `None` if it is none of this system's, or its variable is not set.
fn placed(place: &str) -> Option<PathBuf> {
    let home = env::home_dir().filter(|home| home.is_absolute());
    let folder = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(rest) = place.strip_prefix("~/") {
        return Some(home?.join(rest));
    }
    if let Some(rest) = place.strip_prefix('$') {
        let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let folder = folder(name)?;
        return Some(if rest.is_empty() { folder } else { folder.join(rest) });
    }
    let (system, rest) = place.split_once(':')?;
    let base = match system {
        "config" if cfg!(not(any(windows, target_os = "macos"))) => {
            folder("XDG_CONFIG_HOME").or_else(|| Some(home?.join(".config")))
        }
        "support" if cfg!(target_os = "macos") => Some(home?.join("Library/Application Support")),
        "appdata" if cfg!(windows) => folder("APPDATA"),
        _ => None,
    };
    Some(base?.join(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        assert!(agents().len() >= 20, "{}", agents().len());
        for agent in agents() {
            assert!(!agent.at.is_empty() && !agent.user.is_empty(), "{}", agent.id);
            let entry = agent.entry_for("n", &["/a b".into(), "connect".into()]).to_string();
            assert!(
                entry.contains("/a b")
                    && entry.contains("connect")
                    && !entry.contains('{') | entry.contains("\"/a b\"")
            );
        }
        let opencode = find_agent("opencode").expect("known");
        assert_eq!(opencode.entry_for("n", &["t".into(), "c".into()])["command"], serde_json::json!(["t", "c"]));
    }

    #[test]
    fn a_file_tells_whose_it_is() {
        for (path, expected) in [
            ("/p/.mcp.json", Some("claude-code")),
            ("/home/x/.claude.json", Some("claude-code")),
            ("/p/.vscode/mcp.json", Some("vscode")),
            ("/x/claude_desktop_config.json", None),
            ("/Users/a/Library/Application Support/Claude/claude_desktop_config.json", Some("claude-desktop")),
            ("/p/.codex/config.toml", Some("codex")),
            ("/p/settings.json", None),
            ("/p/.gemini/settings.json", Some("gemini")),
        ] {
            assert_eq!(agent_of(Path::new(path)).map(|agent| agent.id.as_str()), expected, "{path}");
        }
    }
}
