//! The configuration: which servers there are and how the daemon behaves.
//!
//! TOML, or the `{"mcpServers": {…}}` JSON that other tools use; both are read strictly, with every problem at once.
//! The keys and their meanings are documented on the fields here, which the JSON Schema is made from.

mod decode;
mod node;
mod values;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;

pub use decode::Problem;
use decode::{Decode, Fields, Problems};
use node::{Node, Value};
pub use values::{BadTemplate, Size, Span, Template};

use crate::era::Era;
use crate::names::ServerName;

/// Everything that a configuration file says.
#[derive(Debug, Clone, Default, JsonSchema)]
#[schemars(title = "trunkline configuration", deny_unknown_fields)]
pub struct Config {
    /// The daemon itself.
    #[schemars(default)]
    pub daemon: Daemon,
    /// The MCP servers, by name: ASCII letters, digits, `-` and single `_`.
    #[schemars(default, with = "BTreeMap<String, Server>")]
    pub servers: Servers,
}

/// The servers in the order of the file.
pub type Servers = Vec<(ServerName, Server)>;

/// `[daemon]`
#[derive(Debug, Clone, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Daemon {
    /// The largest message taken from an agent or a server, like "32MiB".
    #[schemars(with = "Option<String>")]
    pub max_frame: Size,
}

/// `[servers.NAME]`: a server that is started by a command and speaks MCP on its standard input and output.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Server {
    /// The program: a path, or a name to look up in PATH. `${env:NAME}` and `${file:PATH}` are replaced at start.
    #[schemars(with = "String")]
    pub command: Template,
    /// Its arguments; `${…}` is replaced.
    #[schemars(default, with = "Vec<String>")]
    pub args: Vec<Template>,
    /// Environment variables to set; `${…}` in the values is replaced.
    #[schemars(default, with = "BTreeMap<String, String>")]
    pub env: BTreeMap<String, Template>,
    /// Names of the daemon's own environment variables to pass on, besides the few that every server gets.
    #[schemars(default)]
    pub env_vars: Vec<String>,
    /// The folder it is started in; the home folder if not set. `${…}` is replaced.
    #[schemars(with = "Option<String>")]
    pub cwd: Option<Template>,
    /// Set to false to keep the entry but not the server.
    #[schemars(with = "Option<bool>")]
    pub enabled: bool,
    /// What to speak: "auto" finds out once and remembers.
    #[schemars(with = "Option<EraChoice>")]
    pub era: EraChoice,
    /// How long the server may take to answer the handshake, like "60s".
    #[schemars(with = "Option<String>")]
    pub startup_timeout: Span,
    /// Who shares a process of this server. Only "all" in this version.
    #[schemars(with = "Option<Share>")]
    pub share: Share,
}

/// Which era to speak with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum EraChoice {
    Auto,
    Legacy,
    Modern,
}

impl EraChoice {
    pub fn fixed(self) -> Option<Era> {
        match self {
            Self::Auto => None,
            Self::Legacy => Some(Era::Legacy),
            Self::Modern => Some(Era::Modern),
        }
    }
}

/// Who shares an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum Share {
    All,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {path}: {error}; name another file with --config")]
    Read { path: PathBuf, error: io::Error },
    #[error("{}", lines(path, problems))]
    Problems { path: PathBuf, problems: Vec<Problem> },
}

fn lines(path: &Path, problems: &[Problem]) -> String {
    let lines: Vec<_> =
        problems.iter().map(|problem| format!("{}:{}: {}", path.display(), problem.line, problem.message)).collect();
    lines.join("\n")
}

impl Default for Daemon {
    fn default() -> Self {
        Self { max_frame: Size(32 << 20) }
    }
}

impl Config {
    /// Reads `path`: JSON if its name ends in `.json` or `.jsonc`, else TOML.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let text = std::fs::read_to_string(path).map_err(|error| LoadError::Read { path: path.to_owned(), error })?;
        let json = path.extension().is_some_and(|extension| extension == "json" || extension == "jsonc");
        let parsed = if json { Self::from_json(&text) } else { Self::from_toml(&text) };
        parsed.map_err(|problems| LoadError::Problems { path: path.to_owned(), problems })
    }

    pub fn from_toml(text: &str) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::new(text);
        let root = node::from_toml(text, &mut problems);
        let config = Self::decode_toml(root, &mut problems);
        finish(config, problems)
    }

    /// Reads the `mcpServers` of a JSON file; what else other tools keep in theirs is not looked at.
    pub fn from_json(text: &str) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::new(text);
        let config = node::from_json(text, &mut problems).and_then(|root| Self::decode_json(root, &mut problems));
        finish(config, problems)
    }

    fn decode_toml(root: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let mut fields = Fields::open(root, problems)?;
        let daemon = fields.take("daemon").unwrap_or_default();
        let servers = fields.take_node("servers").map(|node| decode_servers(node, fields.problems)).unwrap_or_default();
        fields.not_yet("http", "agents attach through `trunkline connect`");
        fields.not_yet("profiles", "attach to one server, or to all");
        fields.finish();
        Some(Self { daemon, servers })
    }

    fn decode_json(root: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let mut fields = Fields::open(root, problems)?;
        match fields.take_node("mcpServers") {
            Some(node) => Some(Self { daemon: Daemon::default(), servers: decode_servers(node, fields.problems) }),
            None => {
                let at = fields.at();
                let others = fields.rest();
                let near = others.iter().find(|member| crate::names::nearest(&member.name, ["mcpServers"]).is_some());
                match near {
                    Some(member) => fields
                        .problems
                        .add(member.at.start, format!("unknown key `{}`: did you mean `mcpServers`?", member.name)),
                    None => fields.problems.add(at, "no `mcpServers` in this file".to_owned()),
                }
                None
            }
        }
    }

    /// What `${…}` in the file cannot be replaced right now; a server with such a value cannot start.
    pub fn unexpandable(&self) -> Vec<Problem> {
        let templates = self.servers.iter().filter(|(_, server)| server.enabled).flat_map(|(name, server)| {
            let all =
                std::iter::once(&server.command).chain(&server.args).chain(server.env.values()).chain(&server.cwd);
            all.map(move |template| (name, template))
        });
        let problems = templates.filter_map(|(name, template)| {
            let error = template.expand().err()?;
            Some(Problem { line: template.line, message: format!("server `{name}`: {error}") })
        });
        problems.collect()
    }

    /// The JSON Schema of the TOML form.
    pub fn schema() -> String {
        let schema = schemars::schema_for!(Config);
        format!("{:#}\n", schema.as_value())
    }
}

fn finish(config: Option<Config>, problems: Problems<'_>) -> Result<Config, Vec<Problem>> {
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        Some(_) | None => Err(problems.into_found()),
    }
}

fn decode_servers(node: Node, problems: &mut Problems<'_>) -> Servers {
    let Some(mut fields) = Fields::open(node, problems) else { return Vec::new() };
    let members = fields.rest();
    let problems = fields.problems;
    let mut servers = Servers::new();
    for member in members {
        let name = ServerName::parse(&member.name).map_err(|error| problems.add(member.at.start, error.to_string()));
        let server = Server::decode(member.node, problems);
        if let (Ok(name), Some(server)) = (name, server) {
            servers.push((name, server));
        }
    }
    servers
}

impl Decode for Daemon {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let max_frame = fields.take("max_frame").unwrap_or(Self::default().max_frame);
        fields.not_yet("idle_timeout", "servers stay up until the daemon stops");
        fields.finish();
        Some(Self { max_frame })
    }
}

impl Decode for Server {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let at = fields.at();
        let remote = fields.take_node("url");
        let transport: Option<String> = fields.take("type");
        if let Some(node) = &remote {
            fields.problems.add(
                node.at.start,
                "`url` is not in this version of trunkline yet: only servers with a `command`".to_owned(),
            );
        } else if let Some(other) = transport.filter(|transport| transport != "stdio") {
            fields.problems.add(at, format!("`type` is `{other}`, and only `stdio` is in this version of trunkline"));
        }
        let command = match fields.take_node("command") {
            Some(node) => {
                let at = node.at.start;
                if matches!(&node.value, Value::String(text) if text.trim().is_empty()) {
                    fields.problems.add(at, "`command` is empty: name the program that is the server".to_owned());
                }
                Template::decode(node, fields.problems)
            }
            None if remote.is_some() => None,
            None => {
                fields.problems.add(at, "the server has no `command`".to_owned());
                None
            }
        };
        let args = fields.take("args").unwrap_or_default();
        let env = fields.take("env").unwrap_or_default();
        let env_vars = fields.take("env_vars").unwrap_or_default();
        let cwd = fields.take("cwd");
        let disabled = fields.take("disabled").unwrap_or(false);
        let enabled = fields.take("enabled").unwrap_or(!disabled);
        let era = fields.take("era").unwrap_or(EraChoice::Auto);
        let startup_timeout = fields.take("startup_timeout").unwrap_or(Span(Duration::from_secs(60)));
        let share = fields.take("share").unwrap_or(Share::All);
        for key in ["account", "headers", "oauth"] {
            fields.not_yet(key, "it belongs to servers with a `url`");
        }
        fields.not_yet("call_timeout", "calls last as long as the server needs");
        fields.not_yet("start", "a server starts with the first request for it");
        fields.not_yet("tools", "all tools of the server are offered");
        fields.finish();
        Some(Self { command: command?, args, env, env_vars, cwd, enabled, era, startup_timeout, share })
    }
}

impl Decode for EraChoice {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        one_of(node, &[("auto", Self::Auto), ("legacy", Self::Legacy), ("modern", Self::Modern)], problems)
    }
}

impl Decode for Share {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        if let Value::String(text) = &node.value
            && matches!(text.as_str(), "project" | "session")
        {
            problems.add(
                node.at.start,
                format!("`share = \"{text}\"` is not in this version of trunkline yet: only \"all\""),
            );
            return None;
        }
        one_of(node, &[("all", Self::All)], problems)
    }
}

fn one_of<T: Copy>(node: Node, choices: &[(&str, T)], problems: &mut Problems<'_>) -> Option<T> {
    let at = node.at.start;
    let text = String::decode(node, problems)?;
    let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    if found.is_none() {
        let known: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        problems.add(at, format!("`{text}` is not one of {}", known.join(", ")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(parsed: Result<Config, Vec<Problem>>) -> Vec<String> {
        let problems = parsed.expect_err("the text has problems");
        problems.iter().map(|problem| format!("{}: {}", problem.line, problem.message)).collect()
    }

    #[test]
    fn every_problem_at_once_with_its_line() {
        let text = r#"
[daemon]
max_frame = "32 bananas"

[servers.a__b]
comand = "x"

[servers.good]
command = ""
args = "x"
era = "medieval"
share = "session"
env = { A = "${env:}", B = 1 }

[server.c]
"#;
        let found = problems(Config::from_toml(text));
        let expected = [
            "3: `32 bananas` is not a size",
            "5: server name `a__b` has `__`",
            "5: the server has no `command`",
            "6: unknown key `comand`: did you mean `command`?",
            "9: `command` is empty",
            "10: expected a list, found a string",
            "11: `medieval` is not one of",
            "12: `share = \"session\"` is not in this version",
            "13: `${env:}` is not known",
            "13: expected a string, found a number",
            "15: unknown key `servers`: ",
        ];
        for (index, start) in expected.iter().enumerate().take(10) {
            assert!(found.get(index).is_some_and(|line| line.starts_with(start)), "{index}: {start} in {found:#?}");
        }
        assert!(found[10].starts_with("15: unknown key `server`: did you mean `servers`?"), "{found:#?}");
    }

    #[test]
    fn json_of_other_tools() {
        let text = r#"{ "theme": "dark", // kept
          "mcpServers": { "a": {"type": "stdio", "command": "x", "args": ["${env:HOME}"], "disabled": true } } }"#;
        let config = Config::from_json(text).expect("valid");
        assert_eq!(config.servers[0].0.as_str(), "a");
        assert!(!config.servers[0].1.enabled);
        let twice = "{\"mcpServers\": {\n\"a\": {\"command\": \"x\"},\n\"a\": {\"command\": \"y\"}}}";
        assert_eq!(problems(Config::from_json(twice)), ["3: `a` is defined twice"]);
        assert_eq!(
            problems(Config::from_json("{\"mcpServer\": {}}")),
            ["1: unknown key `mcpServer`: did you mean `mcpServers`?"]
        );
        assert!(problems(Config::from_json("{\n\"mcpServers\": [}"))[0].starts_with("2: not valid JSON"));
    }

    #[test]
    fn two_syntax_errors_are_both_named() {
        assert_eq!(
            problems(Config::from_toml("a = \nb = 1 2\n"))
                .iter()
                .filter(|line| line.contains("not valid TOML"))
                .count(),
            2
        );
    }

    #[test]
    fn the_schema_file_is_what_the_types_say() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/trunkline.schema.json");
        if std::env::var_os("TRUNKLINE_BLESS").is_some() {
            std::fs::write(&path, Config::schema()).expect("written");
        }
        let file = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(file == Config::schema(), "run `TRUNKLINE_BLESS=1 cargo test --lib schema` and commit the file");
    }
}
