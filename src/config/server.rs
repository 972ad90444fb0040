//! One server's table: its settings, their defaults, and what must hold between them.

use std::time::Duration;

use schemars::JsonSchema;

use super::decode::{Decode, Fields, Problems, one_of};
use super::filter::Filter;
use super::node::Node;
use super::packages::Known;
use super::transport::{Stdio, Transport};
use super::values::{Limit, Span, Template};
use crate::era::Era;
use crate::names::ServerName;

/// The servers in the order of the file.
pub type Servers = Vec<(ServerName, Server)>;

/// `[servers.NAME]`: a server that is started by a command, or reached at a URL.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Server {
    #[schemars(flatten)]
    pub transport: Transport,
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
    /// Who shares a process of this server: found out ("auto"), every agent, those with the same project folder, or nobody.
    #[schemars(with = "Option<Share>")]
    pub share: Share,
    /// The package that its command starts, if anything is known of that.
    #[schemars(skip)]
    pub known: Option<Known>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    /// As few processes as are right, by what is known of the server and what it has shown.
    Auto,
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
        self.transport.templates().into_iter()
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
        // Kept apart, so that every other setting is looked at too.
        let transport = Transport::take(&mut fields);
        let disabled = fields.take("disabled").unwrap_or(false);
        let start = fields.take("start").unwrap_or(Start::Lazy);
        // One that is up before any agent is there can only be everybody's.
        let by_default = if start == Start::Eager { Share::All } else { Share::Auto };
        let server = Self {
            transport: Transport::Stdio(Stdio::default()),
            enabled: fields.take("enabled").unwrap_or(!disabled),
            era: fields.take("era").unwrap_or(EraChoice::Auto),
            startup_timeout: fields.take("startup_timeout").unwrap_or(Span(Duration::from_secs(60))),
            call_timeout: fields.take("call_timeout").unwrap_or(Limit(None)),
            start,
            share: fields.take("share").unwrap_or(by_default),
            known: None,
            tools: fields.take("tools").unwrap_or_default(),
            max_instances: fields.take("max_instances").unwrap_or(32),
            max_calls: fields.take("max_calls").unwrap_or(1024),
        };
        fields.finish();
        let server = Self { transport: transport?, ..server };
        if server.share != Share::All && server.start == Start::Eager {
            let message = "`start = \"eager\"` needs `share = \"all\"`: before an agent is there, nobody knows for which project or session";
            problems.add_at_line(server.transport.main().line, message.to_owned());
        }
        if let Transport::Http(_) = server.transport {
            for template in server.templates().filter(|template| template.names_project()) {
                let message = "`${project}` is of no use here: a server with a `url` has one login and one address for all projects";
                problems.add_at_line(template.line, message.to_owned());
            }
        } else if server.share == Share::All {
            for template in server.templates().filter(|template| template.names_project()) {
                let message = "`${project}` needs `share = \"project\"`, `\"session\"` or `\"auto\"`: agents of several projects share one process with \"all\"";
                problems.add_at_line(template.line, message.to_owned());
            }
        }
        Some(server)
    }
}

impl Decode for EraChoice {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        one_of(node, &[("auto", Self::Auto), ("legacy", Self::Legacy), ("modern", Self::Modern)], problems)
    }
}

impl Decode for Share {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let all = [("auto", Self::Auto), ("all", Self::All), ("project", Self::Project), ("session", Self::Session)];
        one_of(node, &all, problems)
    }
}

impl Decode for Start {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        one_of(node, &[("lazy", Self::Lazy), ("eager", Self::Eager)], problems)
    }
}
