//! The configuration: which servers there are and how the daemon behaves.
//!
//! TOML, or the `{"mcpServers": {…}}` JSON that other tools use; both are read strictly, with every problem at once.
//! The keys and their meanings are documented on the fields here, which the JSON Schema is made from.

mod decode;
mod diff;
mod face;
mod filter;
mod node;
mod oauth;
mod packages;
mod server;
mod transport;
mod values;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;

pub use decode::Problem;
use decode::{Decode, Fields, Problems, one_of};
pub use diff::{Change, Diff};
pub use face::Face;
pub use filter::Filter;
use node::Node;
pub use oauth::{Algorithm, Grant, OAuth, Secrets};
pub use packages::{Known, Packages};
pub use server::{EraChoice, Server, Servers, Share, Start};
pub use transport::{Http, Stdio, Transport, check_url};
pub use values::{BadTemplate, Given, Limit, Size, Span, Template};
pub use watch::{CannotWatch, Watch};

use crate::names::ServerName;

/// Everything that a configuration file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(title = "trunkline configuration", deny_unknown_fields)]
pub struct Config {
    /// The daemon itself.
    #[schemars(default)]
    pub daemon: Daemon,
    /// The endpoint over HTTP; without it, none is opened.
    #[schemars(default)]
    pub http: Option<Face>,
    /// The MCP servers, by name: ASCII letters, digits, `-` and single `_`.
    #[schemars(default, with = "BTreeMap<String, Server>")]
    pub servers: Servers,
    /// Selections of servers, by name: `trunkline connect --profile NAME`.
    #[schemars(default)]
    pub profiles: BTreeMap<String, Profile>,
    /// What is known of published servers, besides what comes with trunkline, by the names of their packages.
    #[schemars(default)]
    pub packages: Packages,
}

/// `[profiles.NAME]`: some of the servers, attached to together.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Profile {
    /// Their names.
    #[schemars(with = "Vec<String>")]
    pub servers: Vec<ServerName>,
}

/// `[daemon]`
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Daemon {
    /// A process that nobody uses stops after this long, like "30m"; "never" keeps it.
    #[schemars(with = "Option<String>")]
    pub idle_timeout: Limit,
    /// The largest message taken from an agent or a server, like "32MiB".
    #[schemars(with = "Option<String>")]
    pub max_frame: Size,
    /// How long a modern agent may take to come back with the answers to what a legacy server asks, like "10m".
    #[schemars(with = "Option<String>")]
    pub question_timeout: Span,
    /// Environment variables to pass on to every server, besides those that each gets by default: names, or patterns with
    /// `*` and `?`, which leave out what looks like a secret.
    #[schemars(default)]
    pub env_vars: Vec<String>,
    /// When the daemon gives way to a new program that was put in its place: "idle", when nothing is in flight, or "never".
    #[schemars(with = "Option<Upgrade>")]
    pub upgrade: Upgrade,
    /// Whether servers that nobody has listed yet are started in the "background" to ask what they offer, or "never".
    #[schemars(with = "Option<Discover>")]
    pub discover: Discover,
}

/// Whether servers are asked what they offer before an agent wants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum Discover {
    Background,
    Never,
}

/// When the daemon gives way to a new program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum Upgrade {
    Idle,
    Never,
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
        Self {
            idle_timeout: Limit(Some(Duration::from_secs(30 * 60))),
            max_frame: Size(32 << 20),
            question_timeout: Span(Duration::from_secs(10 * 60)),
            env_vars: Vec::new(),
            upgrade: Upgrade::Idle,
            discover: Discover::Background,
        }
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
        let daemon: Daemon = fields.take("daemon").unwrap_or_default();
        let mut servers: Servers =
            fields.take_node("servers").map(|node| server::decode_all(node, fields.problems)).unwrap_or_default();
        let profiles = fields.take_node("profiles").map(|node| decode_profiles(node, &servers, fields.problems));
        let http = fields.take("http");
        let packages =
            fields.take_node("packages").map(|node| packages::decode_all(node, fields.problems)).unwrap_or_default();
        fields.finish();
        // A server that gets another variable is another server: what changed is seen where servers are compared.
        for (_, server) in &mut servers {
            if let Transport::Stdio(stdio) = &mut server.transport {
                stdio.env_vars.extend_from_slice(&daemon.env_vars);
                server.known = Known::find(stdio, &packages);
            }
        }
        Some(Self { daemon, http, servers, profiles: profiles.unwrap_or_default(), packages })
    }

    fn decode_json(root: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let mut fields = Fields::open(root, problems)?;
        match fields.take_node("mcpServers") {
            Some(node) => {
                let mut servers = server::decode_all(node, fields.problems);
                for (_, server) in &mut servers {
                    if let Transport::Stdio(stdio) = &server.transport {
                        server.known = Known::find(stdio, &Packages::new());
                    }
                }
                Some(Self { servers, ..Self::default() })
            }
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

    /// The names in every `${keyring:NAME}`.
    pub fn secret_names(&self) -> BTreeSet<String> {
        self.servers.iter().flat_map(|(_, server)| server.templates()).flat_map(Template::secret_names).collect()
    }

    /// What `${…}` in the file cannot be replaced right now; a server with such a value cannot start.
    pub fn unexpandable(&self, secrets: &Secrets) -> Vec<Problem> {
        let enabled = self.servers.iter().filter(|(_, server)| server.enabled);
        let templates = enabled.flat_map(|(name, server)| server.templates().map(move |template| (name, template)));
        let problems = templates.filter_map(|(name, template)| {
            let error = template.expand(Given { project: Some(Path::new("/")), secrets }).err()?;
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

impl Decode for Daemon {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let idle_timeout = fields.take("idle_timeout").unwrap_or(Self::default().idle_timeout);
        let max_frame = fields.take("max_frame").unwrap_or(Self::default().max_frame);
        let question_timeout = fields.take("question_timeout").unwrap_or(Self::default().question_timeout);
        let env_vars = fields.take("env_vars").unwrap_or_default();
        let upgrade = fields.take("upgrade").unwrap_or(Upgrade::Idle);
        let discover = fields.take("discover").unwrap_or(Discover::Background);
        fields.finish();
        Some(Self { idle_timeout, max_frame, question_timeout, env_vars, upgrade, discover })
    }
}

impl Decode for Discover {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        one_of(node, &[("background", Self::Background), ("never", Self::Never)], problems)
    }
}

impl Decode for Upgrade {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        one_of(node, &[("idle", Self::Idle), ("never", Self::Never)], problems)
    }
}

fn decode_profiles(node: Node, servers: &Servers, problems: &mut Problems<'_>) -> BTreeMap<String, Profile> {
    let Some(mut fields) = Fields::open(node, problems) else { return BTreeMap::new() };
    let members = fields.rest();
    let problems = fields.problems;
    let profile = |member: node::Member, problems: &mut Problems<'_>| {
        let mut fields = Fields::open(member.node, problems)?;
        let Some(list) = fields.take_node("servers") else {
            fields.problems.add(member.at.start, "the profile has no `servers`".to_owned());
            return None;
        };
        fields.finish();
        let at = list.at.start;
        let names = Vec::<String>::decode(list, problems)?;
        let known = |name: &String| servers.iter().map(|(known, _)| known).find(|known| known.as_str() == name);
        let named = names.iter().filter_map(|name| {
            let found = known(name);
            if found.is_none() {
                let near = crate::names::nearest(name, servers.iter().map(|(known, _)| known.as_str()));
                let hint = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
                problems.add(at, format!("no server is named `{name}`{hint}"));
            }
            found.cloned()
        });
        Some((member.name, Profile { servers: named.collect() }))
    };
    members.into_iter().filter_map(|member| profile(member, problems)).collect()
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
share = "some"
env = { A = "${env:}", B = 1 }
cwd = "${project}"

[server.c]

[profiles.work]
servers = ["god"]
"#;
        let found = problems(Config::from_toml(text));
        let expected = [
            "3: `32 bananas` is not a size",
            "5: server name `a__b` has `__`",
            "5: the server has no `command` and no `url`",
            "6: unknown key `comand`: did you mean `command`?",
            "9: `command` is empty",
            "10: expected a list, found a string",
            "11: `medieval` is not one of",
            "12: `some` is not one of \"auto\", \"all\", \"project\", \"session\"",
            "13: `${env:}` is not known",
            "13: expected a string, found a number",
            "16: unknown key `server`: did you mean `servers`?",
            "19: no server is named `god`: did you mean `good`?",
        ];
        for (index, start) in expected.iter().enumerate() {
            assert!(found.get(index).is_some_and(|line| line.starts_with(start)), "{index}: {start} in {found:#?}");
        }
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
