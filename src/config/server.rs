//! One server's table: its settings, their defaults, and what must hold between them.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;

use crate::config::decode::{Decode, Fields, one_of};
use crate::config::filter::Filter;
use crate::config::node::Node;
use crate::config::packages::Known;
use crate::config::problems::Problems;
use crate::config::record::ServerRecord;
use crate::config::share::Share;
use crate::config::transport::{Stdio, Transport};
use crate::config::values::{Limit, Span, Template};
use crate::era::Era;
use crate::names::ServerName;

/// The servers in the order of the file.
pub type Servers = Vec<(ServerName, ServerConfig)>;

/// `[servers.NAME]`: a server that is started by a command, or reached at a URL.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "Server", deny_unknown_fields)]
pub struct ServerConfig {
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
    /// What is kept of its calls, where `[record]` says something else of all.
    #[schemars(default)]
    pub record: ServerRecord,
    /// How the file names it, where that cannot be its name here.
    #[schemars(skip)]
    pub written: Option<String>,
    /// Why its entry cannot be used, in words that name the lines.
    #[schemars(skip)]
    pub wrong: Option<String>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            transport: Transport::Stdio(Stdio::default()),
            enabled: true,
            era: EraChoice::Auto,
            startup_timeout: Span(Duration::from_secs(60)),
            call_timeout: Limit(None),
            start: Start::Lazy,
            share: Share::Auto,
            known: None,
            tools: Filter::default(),
            max_instances: 32,
            max_calls: 1024,
            record: ServerRecord::default(),
            written: None,
            wrong: None,
        }
    }
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

/// When a server starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum Start {
    Lazy,
    Eager,
}

impl ServerConfig {
    /// Every setting in which `${…}` is replaced.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.transport.templates().into_iter()
    }

    /// What a person should know of the state that its package keeps.
    pub(super) fn state_remark(&self) -> Option<String> {
        let known = self.known.as_ref().filter(|known| known.package.share == Share::Session)?;
        let name = &known.name;
        Some(match self.share {
            Share::Auto | Share::Session => {
                format!(
                    "`{name}` keeps a state for each session: every agent gets a process of its own, as with `share = \"session\"`"
                )
            }
            Share::All | Share::Project => {
                format!(
                    "`{name}` keeps a state for each session, and agents share it by the order of `share`: \"session\" keeps them apart"
                )
            }
        })
    }

    /// Whether agents may have it: it is not switched off, and its entry is right.
    pub fn is_usable(&self) -> bool {
        self.enabled && self.wrong.is_none()
    }
}

/// Every server of a table; one whose entry has problems is there, and cannot be used.
pub(super) fn decode_all(node: Node, names: Names, problems: &mut Problems<'_>) -> Servers {
    let Some(mut fields) = Fields::open(node, problems) else { return Vec::new() };
    let members = fields.rest();
    let problems = fields.problems;
    let mut servers = Servers::new();
    // How many have a claim on a name: it is the one's whose it is, and of several others nobody's.
    let mut claims: BTreeMap<ServerName, usize> = BTreeMap::new();
    for member in &members {
        let (name, weight) = match ServerName::parse(&member.name) {
            Ok(name) => (name, 2),
            Err(_) => (ServerName::safe(&member.name, |_| true), 1),
        };
        *claims.entry(name).or_default() += weight;
    }
    for member in members {
        let before = problems.count();
        let (name, written) = match (ServerName::parse(&member.name), names) {
            (Ok(name), _) => (name, None),
            (Err(error), names) => {
                let name = ServerName::safe(&member.name, |name| claims.get(name).is_none_or(|claims| *claims < 2));
                match names {
                    Names::Ours => problems.add(member.at.start, error.to_string()),
                    Names::Any => problems.note(
                        member.at.start,
                        format!(
                            "the server `{}` is called `{name}` here: tools cannot have its name in theirs",
                            member.name
                        ),
                    ),
                }
                (name, Some(member.name.clone()))
            }
        };
        let server = problems.under(&member.name, |problems| ServerConfig::decode(member.node, problems));
        let reasons: Vec<_> = problems
            .since(before)
            .iter()
            .map(|problem| format!("line {}: {}", problem.line, problem.message))
            .collect();
        let wrong = (!reasons.is_empty() || server.is_none()).then(|| reasons.join("; "));
        servers.push((name, ServerConfig { written, wrong, ..server.unwrap_or_default() }));
    }
    servers
}

/// What servers may be called in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// Names that can stand before a tool's.
    Ours,
    /// Any text, of which such a name is made.
    Any,
}

impl Decode for ServerConfig {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        // Kept apart, so that every other setting is looked at too.
        let transport = Transport::take(&mut fields);
        let start = fields.take("start").unwrap_or(Start::Lazy);
        // One that is up before any agent is there can only be everybody's.
        let by_default = if start == Start::Eager { Share::All } else { Share::Auto };
        let or = Self::default();
        let server = Self {
            enabled: fields.take("enabled").unwrap_or(true),
            era: fields.take("era").unwrap_or(or.era),
            startup_timeout: fields.take("startup_timeout").unwrap_or(or.startup_timeout),
            call_timeout: fields.take("call_timeout").unwrap_or(or.call_timeout),
            start,
            share: fields.take("share").unwrap_or(by_default),
            tools: fields.take("tools").unwrap_or_default(),
            max_instances: fields.take("max_instances").unwrap_or(or.max_instances),
            max_calls: fields.take("max_calls").unwrap_or(or.max_calls),
            record: fields.take("record").unwrap_or_default(),
            ..or
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
