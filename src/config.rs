//! The configuration: which servers there are and how the daemon behaves.
//!
//! TOML, read strictly, or the JSON in which other tools keep their servers, read as they do; every problem is found at once.
//! A problem takes away the entry that it is in, and nothing else: only a file that cannot be read at all is none.
//! The keys and their meanings are documented on the fields here, which the JSON Schema is made from.

mod container;
mod daemon;
mod decode;
pub mod diff;
mod filter;
mod foreign;
mod http_listener;
mod import;
mod node;
mod oauth;
mod packages;
mod problems;
mod record;
mod server;
mod share;
mod transport;
mod values;
mod watch;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;

pub use container::behind_run;
pub use daemon::{Daemon, Discover, Upgrade};
use decode::{Decode, Fields};
pub use filter::Filter;
pub use http_listener::HttpListener;
pub use import::{Foreign, ForeignFile, Format, Tree};
use node::Node;
pub use oauth::{Algorithm, Grant, OAuth, Pkce, Resource};
pub use packages::{Known, Packages, Preset};
pub use problems::Problem;
use problems::Problems;
pub use record::{Record, ServerRecord};
use server::Names;
pub use server::{EraChoice, ServerConfig, Servers, Start};
pub use share::Share;
pub use transport::{Http, Stdio, Transport, check_url, find_program};
pub use values::{BadTemplate, Given, Limit, Secrets, Size, Span, Template};
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
    pub http: Option<HttpListener>,
    /// What is kept of the calls that were made.
    #[schemars(default)]
    pub record: Record,
    /// The MCP servers, by name: ASCII letters, digits, `-` and single `_`.
    #[schemars(default, with = "BTreeMap<String, ServerConfig>")]
    pub servers: Servers,
    /// Selections of servers, by name: `trunkline connect --profile NAME`.
    #[schemars(default)]
    pub profiles: BTreeMap<String, Profile>,
    /// What is known of published servers, besides what comes with trunkline, by the names of their packages.
    #[schemars(default)]
    pub packages: Packages,
    /// What is wrong with the file; the entries that it is in cannot be used.
    #[schemars(skip)]
    pub problems: Vec<Problem>,
    /// What a person should know of how it was read.
    #[schemars(skip)]
    pub notes: Vec<Problem>,
}

/// `[profiles.NAME]`: some of the servers, attached to together.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Profile {
    /// Their names.
    #[schemars(with = "Vec<String>")]
    pub servers: Vec<ServerName>,
}

/// What a look at a file has brought.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Examined {
    /// How many servers it has.
    pub servers: usize,
    pub problems: Vec<Problem>,
    pub notes: Vec<Problem>,
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

/// The lines of a file's problems or notes, each with its place.
pub fn located(path: &Path, problems: &[Problem]) -> Vec<String> {
    // A name in the file may hold what a terminal would obey.
    let shown = |text: &str| text.replace(char::is_control, "\u{fffd}");
    problems.iter().map(|problem| format!("{}:{}: {}", path.display(), problem.line, shown(&problem.message))).collect()
}

impl Config {
    /// Reads `path`: JSON if its name ends in `.json` or `.jsonc`, or if it begins with `{`; else TOML, which YAML is not.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let read = std::fs::read(path).and_then(text_of);
        let text = read.map_err(|error| LoadError::Read { path: path.to_owned(), error })?;
        let json = path.extension().is_some_and(|extension| extension == "json" || extension == "jsonc")
            || text.trim_start().starts_with('{');
        if !json && path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            let message = "this is YAML, and a configuration is TOML or JSON: `trunkline import --from FILE` takes the servers of an agent's file over";
            let problem = Problem { line: 1, message: message.to_owned() };
            return Err(LoadError::Problems { path: path.to_owned(), problems: vec![problem] });
        }
        let parsed = if json { Self::from_json(&text) } else { Self::from_toml(&text) };
        let mut config = parsed.map_err(|problems| LoadError::Problems { path: path.to_owned(), problems })?;
        config.set_base(path);
        Ok(config)
    }

    /// Says which file it is from: relative paths count from its folder.
    pub fn set_base(&mut self, path: &Path) {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        if let Some(folder) = path.parent() {
            self.servers.iter_mut().for_each(|(_, server)| server.transport.set_base(folder));
        }
    }

    pub fn from_toml(text: &str) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::new(text);
        let root = node::from_toml(text, &mut problems);
        if problems.count() > 0 {
            // What follows a syntax error may be anything: everything else is named too, and nothing of it is used.
            drop(Self::decode_toml(root, &mut problems));
            return Err(problems.into_found().0);
        }
        let config = Self::decode_toml(root, &mut problems);
        Ok(config.with(problems))
    }

    /// Reads the servers of a JSON file; what else other tools keep in theirs is not looked at.
    pub fn from_json(text: &str) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::new(text);
        let Some(root) = node::from_json(text, &mut problems) else { return Err(problems.into_found().0) };
        let config = Self::decode_json(root, &mut problems);
        Ok(config.with(problems))
    }

    fn with(mut self, problems: Problems<'_>) -> Self {
        (self.problems, self.notes) = problems.into_found();
        self
    }

    fn decode_toml(root: Node, problems: &mut Problems<'_>) -> Self {
        let Some(mut fields) = Fields::open(root, problems) else { return Self::default() };
        if let Some(at) = fields.position("mcp_servers") {
            let message = "this is a file of Codex: `trunkline import --from FILE` takes its servers over".to_owned();
            fields.problems.add(at, message);
            let ours = ["servers", "daemon", "http", "record", "packages"];
            if ours.iter().all(|table| fields.position(table).is_none()) {
                return Self::default();
            }
        }
        let daemon: Daemon = fields.take("daemon").unwrap_or_default();
        let servers = fields
            .take_node("servers")
            .map(|node| fields.problems.under("servers", |problems| server::decode_all(node, Names::Ours, problems)));
        let servers = servers.unwrap_or_default();
        let profiles = fields
            .take_node("profiles")
            .map(|node| fields.problems.under("profiles", |problems| decode_profiles(node, &servers, problems)));
        let http = fields.take("http");
        let record = fields.take("record").unwrap_or_default();
        let packages = fields
            .take_node("packages")
            .map(|node| fields.problems.under("packages", |problems| packages::decode_all(node, problems)));
        fields.finish();
        let (profiles, packages) = (profiles.unwrap_or_default(), packages.unwrap_or_default());
        Self { daemon, http, record, servers, profiles, packages, ..Self::default() }.completed()
    }

    fn decode_json(root: Node, problems: &mut Problems<'_>) -> Self {
        let Some((key, servers)) = foreign::servers(root, problems) else { return Self::default() };
        let servers = problems.under(key, |problems| server::decode_all(servers, Names::Any, problems));
        Self { servers, ..Self::default() }.completed()
    }

    /// With what follows for each server from the rest of the file.
    fn completed(mut self) -> Self {
        for (_, server) in &mut self.servers {
            if let Transport::Stdio(stdio) = &mut server.transport {
                // A server that gets another variable is another server: what changed is seen where servers are compared.
                stdio.env_vars.extend_from_slice(&self.daemon.env_vars);
                server.known = Known::find(stdio, &self.packages);
            }
        }
        self
    }

    /// The names in every `${keyring:NAME}`.
    pub fn secret_names(&self) -> BTreeSet<String> {
        self.servers.iter().flat_map(|(_, server)| server.templates()).flat_map(Template::secret_names).collect()
    }

    /// What is wrong with the file, and what a person should know of it, in this process's environment.
    pub fn examined(&self, secrets: &Secrets) -> Examined {
        let usable = || self.servers.iter().filter(|(_, server)| server.is_usable());
        let mut problems = self.problems.clone();
        problems.extend(self.unexpandable(secrets));
        let mut notes = self.notes.clone();
        for (name, server) in usable() {
            let Transport::Stdio(stdio) = &server.transport else { continue };
            let remarks = stdio.remarks(secrets).into_iter().chain(server.state_remark());
            let line = stdio.command.line;
            notes.extend(remarks.map(|remark| Problem { line, message: format!("server `{name}`: {remark}") }));
        }
        problems.sort_by_key(|problem| problem.line);
        notes.sort_by_key(|note| note.line);
        Examined { servers: self.servers.len(), problems, notes }
    }

    /// What `${…}` in the file cannot be replaced right now; a server with such a value cannot start.
    fn unexpandable(&self, secrets: &Secrets) -> Vec<Problem> {
        let usable = self.servers.iter().filter(|(_, server)| server.is_usable());
        let templates = usable.flat_map(|(name, server)| server.templates().map(move |template| (name, template)));
        let problems = templates.flat_map(|(name, template)| {
            let obstacles = template.obstacles(Given { project: Some(Path::new("/")), secrets });
            let problem = |error| Problem { line: template.line, message: format!("server `{name}`: {error}") };
            obstacles.into_iter().map(problem).collect::<Vec<_>>()
        });
        problems.collect()
    }

    /// The JSON Schema of the TOML form.
    pub fn schema() -> String {
        let schema = schemars::schema_for!(Config);
        format!("{:#}\n", schema.as_value())
    }
}

/// What a file says, whatever way an editor saved it in.
pub fn text_of(bytes: Vec<u8>) -> io::Result<String> {
    let no_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8");
    match bytes.as_slice() {
        [0xff, 0xfe, units @ ..] => of_utf16(units, u16::from_le_bytes),
        [0xfe, 0xff, units @ ..] => of_utf16(units, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, text @ ..] => String::from_utf8(text.to_vec()).map_err(no_text),
        _ => String::from_utf8(bytes).map_err(no_text),
    }
}

fn of_utf16(units: &[u8], read: fn([u8; 2]) -> u16) -> io::Result<String> {
    let units: Vec<_> = units.chunks_exact(2).map(|pair| read([pair[0], pair[1]])).collect();
    String::from_utf16(&units).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-16"))
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
    let decoded = members.into_iter().filter_map(|member| {
        let key = member.name.clone();
        problems.under(&key, |problems| profile(member, problems))
    });
    decoded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(parsed: Result<Config, Vec<Problem>>) -> Vec<String> {
        let problems = parsed.map_or_else(|problems| problems, |config| config.problems);
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
env = { A = "${env:}${x}", B = 1 }
cwd = "${project}"

[server.c]

[profiles.work]
servers = ["god"]
"#;
        let found = problems(Config::from_toml(text));
        let expected = [
            "3: daemon.max_frame: `32 bananas` is not a size",
            "5: servers: server name `a__b` has `__`",
            "5: servers.a__b: the server has no `command` and no `url`",
            "6: servers.a__b: unknown key `comand`: did you mean `command`?",
            "9: servers.good.command: `command` is empty",
            "10: servers.good.args: expected a list, found a string",
            "11: servers.good.era: `medieval` is not one of",
            "12: servers.good.share: `some` is not one of \"auto\", \"all\", \"project\", \"session\"",
            "13: servers.good.env.A: `${env:}` is not known",
            "13: servers.good.env.A: `${x}` is not known",
            "13: servers.good.env.B: expected a string, found a number",
            "16: unknown key `server`: did you mean `servers`?",
            "19: profiles.work: no server is named `god`: did you mean `good`?",
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
        let config = Config::from_json(twice).expect("valid");
        assert_eq!(config.servers[0].1.transport.main().text(), "y");
        assert_eq!(config.notes[0].message, "`a` is defined twice: the last one counts");
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
