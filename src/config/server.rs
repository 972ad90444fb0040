//! One server's table: its settings, their defaults, and what must hold between them.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;

use super::decode::{Decode, Fields, Problems, one_of};
use super::filter::Filter;
use super::node::{Node, Value};
use super::values::{Limit, Span, Template};
use crate::era::Era;
use crate::names::ServerName;

/// The servers in the order of the file.
pub type Servers = Vec<(ServerName, Server)>;

/// `[servers.NAME]`: a server that is started by a command and speaks MCP on its standard input and output.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Server {
    /// The program: a path, or a name to look up in PATH. `${env:NAME}`, `${file:PATH}` and `${project}` are replaced at start.
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
    /// The folder it is started in; if not set the project's where processes are shared by project, else the home folder.
    /// `${…}` is replaced.
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
    /// How long a call may take, not counting the time that a question to the user is open; "never" by default.
    #[schemars(with = "Option<String>")]
    pub call_timeout: Limit,
    /// "lazy" starts it with the first request for it, "eager" with the daemon.
    #[schemars(with = "Option<Start>")]
    pub start: Start,
    /// Who shares a process of this server: every agent, those with the same project folder, or nobody.
    #[schemars(with = "Option<Share>")]
    pub share: Share,
    /// Which of its tools agents see.
    #[schemars(default)]
    pub tools: Filter,
    /// How many processes of this server may run at once.
    #[schemars(with = "Option<usize>")]
    pub max_instances: usize,
    /// How many calls may be in flight on one process.
    #[schemars(with = "Option<usize>")]
    pub max_calls: usize,
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
    Project,
    Session,
}

/// When a server starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum Start {
    Lazy,
    Eager,
}

impl Server {
    /// Every setting in which `${…}` is replaced.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        std::iter::once(&self.command).chain(&self.args).chain(self.env.values()).chain(&self.cwd)
    }
}

pub(super) fn decode_all(node: Node, problems: &mut Problems<'_>) -> Servers {
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

impl Decode for Server {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let command = decode_command(&mut fields);
        let disabled = fields.take("disabled").unwrap_or(false);
        let server = Self {
            // Kept apart, so that every other setting is looked at too.
            command: Template::default(),
            args: fields.take("args").unwrap_or_default(),
            env: fields.take("env").unwrap_or_default(),
            env_vars: fields.take("env_vars").unwrap_or_default(),
            cwd: fields.take("cwd"),
            enabled: fields.take("enabled").unwrap_or(!disabled),
            era: fields.take("era").unwrap_or(EraChoice::Auto),
            startup_timeout: fields.take("startup_timeout").unwrap_or(Span(Duration::from_secs(60))),
            call_timeout: fields.take("call_timeout").unwrap_or(Limit(None)),
            start: fields.take("start").unwrap_or(Start::Lazy),
            share: fields.take("share").unwrap_or(Share::All),
            tools: fields.take("tools").unwrap_or_default(),
            max_instances: fields.take("max_instances").unwrap_or(32),
            max_calls: fields.take("max_calls").unwrap_or(1024),
        };
        for key in ["account", "headers", "oauth"] {
            fields.not_yet(key, "it belongs to servers with a `url`");
        }
        fields.finish();
        let server = Self { command: command?, ..server };
        if server.share != Share::All && server.start == Start::Eager {
            let message = "`start = \"eager\"` needs `share = \"all\"`: before an agent is there, nobody knows for which project or session";
            problems.add_at_line(server.command.line, message.to_owned());
        }
        if server.share == Share::All {
            for template in server.templates().filter(|template| template.names_project()) {
                let message = "`${project}` needs `share = \"project\"` or `\"session\"`: agents of several projects share one process with \"all\"";
                problems.add_at_line(template.line, message.to_owned());
            }
        }
        Some(server)
    }
}

fn decode_command(fields: &mut Fields<'_, '_>) -> Option<Template> {
    let at = fields.at();
    let remote = fields.take_node("url");
    let transport: Option<String> = fields.take("type");
    if let Some(node) = &remote {
        let message = "`url` is not in this version of trunkline yet: only servers with a `command`";
        fields.problems.add(node.at.start, message.to_owned());
    } else if let Some(other) = transport.filter(|transport| transport != "stdio") {
        fields.problems.add(at, format!("`type` is `{other}`, and only `stdio` is in this version of trunkline"));
    }
    let Some(node) = fields.take_node("command") else {
        if remote.is_none() {
            fields.problems.add(at, "the server has no `command`".to_owned());
        }
        return None;
    };
    if matches!(&node.value, Value::String(text) if text.trim().is_empty()) {
        let message = "`command` is empty: name the program that is the server";
        fields.problems.add(node.at.start, message.to_owned());
    }
    Template::decode(node, fields.problems)
}

impl Decode for EraChoice {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        one_of(node, &[("auto", Self::Auto), ("legacy", Self::Legacy), ("modern", Self::Modern)], problems)
    }
}

impl Decode for Share {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        one_of(node, &[("all", Self::All), ("project", Self::Project), ("session", Self::Session)], problems)
    }
}

impl Decode for Start {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        one_of(node, &[("lazy", Self::Lazy), ("eager", Self::Eager)], problems)
    }
}
