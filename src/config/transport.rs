//! How a server is reached: by a command that is started, or by a URL.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::decode::{Decode, Fields, Problems};
use super::node::{Node, Value};
use super::oauth::OAuth;
use super::values::Template;

/// A server's `command` or `url`, and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub enum Transport {
    Stdio(Stdio),
    Http(Http),
}

/// A server that is started by a command and speaks MCP on its standard input and output.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
pub struct Stdio {
    /// The program: a path, or a name to look up in PATH. `${env:NAME}`, `${file:PATH}`, `${keyring:NAME}` and `${project}`
    /// are replaced at start.
    #[schemars(with = "String")]
    pub command: Template,
    /// Its arguments; `${…}` is replaced.
    #[schemars(default, with = "Vec<String>")]
    pub args: Vec<Template>,
    /// Environment variables to set; `${…}` in the values is replaced.
    #[schemars(default, with = "BTreeMap<String, String>")]
    pub env: BTreeMap<String, Template>,
    /// Environment variables of yours to pass on, besides those that every server gets: names, or patterns with `*` and `?`, which
    /// leave out what looks like a secret.
    #[schemars(default)]
    pub env_vars: Vec<String>,
    /// The folder it is started in; if not set the one that the agent works in where a process belongs to one project or agent,
    /// else the home folder.
    /// `${…}` is replaced.
    #[schemars(with = "Option<String>")]
    pub cwd: Option<Template>,
}

/// A server that speaks MCP over HTTP (Streamable HTTP, or the deprecated HTTP+SSE).
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
pub struct Http {
    /// The MCP endpoint, `https:` or `http:`; `${…}` is replaced.
    #[schemars(with = "String")]
    pub url: Template,
    /// HTTP headers to send with each request; `${…}` in the values is replaced. `Authorization` here takes the place of OAuth.
    #[schemars(default, with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<String, Template>,
    /// Whose login to use: entries with the same URL and another account have logins of their own.
    #[schemars(with = "Option<String>")]
    pub account: String,
    /// How to log in, where the server does not tell.
    #[schemars(default)]
    pub oauth: OAuth,
}

impl Http {
    /// What `account` is where nothing else is said.
    pub const ACCOUNT: &str = "default";

    /// Whether its entry says how to authenticate, so that OAuth has no say.
    pub fn has_own_authorization(&self) -> bool {
        self.headers.keys().any(|name| name.eq_ignore_ascii_case("authorization"))
    }
}

/// Headers that the protocol itself sets.
const RESERVED: [&str; 13] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Names of the keys that belong to one kind of server only.
const OF_STDIO: [&str; 4] = ["args", "env", "env_vars", "cwd"];
const OF_HTTP: [&str; 3] = ["headers", "account", "oauth"];

impl Transport {
    /// Every setting in which `${…}` is replaced.
    pub fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Stdio(stdio) => {
                std::iter::once(&stdio.command).chain(&stdio.args).chain(stdio.env.values()).chain(&stdio.cwd).collect()
            }
            Self::Http(http) => {
                let secrets = http.oauth.client_secret.iter().chain(&http.oauth.private_key);
                std::iter::once(&http.url).chain(http.headers.values()).chain(secrets).collect()
            }
        }
    }

    /// The setting that the server cannot be without.
    pub fn main(&self) -> &Template {
        match self {
            Self::Stdio(stdio) => &stdio.command,
            Self::Http(http) => &http.url,
        }
    }

    /// Takes what belongs to the transport out of a server's table.
    pub(super) fn take(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let at = fields.at();
        let kind: Option<String> = fields.take("type");
        let (command, url) = (fields.take_node("command"), fields.take_node("url"));
        let known = ["stdio", "http", "streamable-http", "sse"];
        if let Some(kind) = kind.filter(|kind| !known.contains(&kind.as_str())) {
            fields.problems.add(at, format!("`type` is `{kind}`, and can be \"stdio\", \"http\" or \"sse\""));
        }
        match (command, url) {
            (Some(_), Some(url)) => {
                let message =
                    "the server has a `command` and a `url`: it is started by the one or reached at the other";
                fields.problems.add(url.at.start, message.to_owned());
                None
            }
            (None, None) => {
                fields.problems.add(at, "the server has no `command` and no `url`".to_owned());
                // Taken all the same, so that only what is unknown is called so.
                OF_STDIO.into_iter().chain(OF_HTTP).for_each(|key| drop(fields.take_node(key)));
                None
            }
            (Some(command), None) => {
                refuse(fields, &OF_HTTP, "it belongs to servers with a `url`");
                let command = decode_command(command, fields.problems);
                let stdio = Stdio {
                    command: Template::default(),
                    args: fields.take("args").unwrap_or_default(),
                    env: fields.take("env").unwrap_or_default(),
                    env_vars: fields.take("env_vars").unwrap_or_default(),
                    cwd: fields.take("cwd"),
                };
                Some(Self::Stdio(Stdio { command: command?, ..stdio }))
            }
            (None, Some(url)) => {
                refuse(fields, &OF_STDIO, "it belongs to servers with a `command`");
                let url = decode_url(url, fields.problems);
                let http = Http {
                    url: Template::default(),
                    headers: decode_headers(fields),
                    account: fields.take("account").unwrap_or_else(|| Http::ACCOUNT.to_owned()),
                    oauth: fields.take("oauth").unwrap_or_default(),
                };
                Some(Self::Http(Http { url: url?, ..http }))
            }
        }
    }
}

fn refuse(fields: &mut Fields<'_, '_>, keys: &[&'static str], why: &str) {
    for key in keys {
        if let Some(node) = fields.take_node(key) {
            fields.problems.add(node.at.start, format!("`{key}` is of no use here: {why}"));
        }
    }
}

fn decode_command(node: Node, problems: &mut Problems<'_>) -> Option<Template> {
    if matches!(&node.value, Value::String(text) if text.trim().is_empty()) {
        problems.add(node.at.start, "`command` is empty: name the program that is the server".to_owned());
    }
    Template::decode(node, problems)
}

fn decode_url(node: Node, problems: &mut Problems<'_>) -> Option<Template> {
    let at = node.at.start;
    let url = Template::decode(node, problems)?;
    // One with `${…}` in it is looked at when the server starts.
    if !url.text().contains("${")
        && let Err(reason) = check_url(url.text())
    {
        problems.add(at, reason);
        return None;
    }
    Some(url)
}

/// The endpoint that a text names, or what is wrong with it.
pub fn check_url(text: &str) -> Result<url::Url, String> {
    let url = url::Url::parse(text).map_err(|error| format!("`url` is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`url` has the scheme `{}`: only `https` and `http` are spoken", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("`url` holds a user name or password: put them into `headers`".to_owned());
    }
    if url.fragment().is_some() {
        return Err("`url` has a part behind `#`, which is never sent".to_owned());
    }
    Ok(url)
}

fn decode_headers(fields: &mut Fields<'_, '_>) -> BTreeMap<String, Template> {
    let Some(node) = fields.take_node("headers") else { return BTreeMap::new() };
    let at = node.at.start;
    let headers = BTreeMap::<String, Template>::decode(node, fields.problems).unwrap_or_default();
    for name in headers.keys() {
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            fields.problems.add(at, format!("`{name}` is no name of an HTTP header"));
        }
        let lower = name.to_ascii_lowercase();
        if RESERVED.contains(&lower.as_str()) || lower.starts_with("mcp-param-") {
            fields.problems.add(at, format!("the header `{name}` is set by the protocol itself: take it out"));
        }
    }
    headers
}
