//! How a server is reached: by a command that is started, or by a URL.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::container;
use crate::config::decode::{Decode, Fields};
use crate::config::node::{Node, Value};
use crate::config::oauth::OAuth;
use crate::config::problems::Problems;
use crate::config::values::{Given, Secrets, Template, at_home};
use schemars::JsonSchema;

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
    /// The program: a path, or a name to look up in PATH. A relative path counts from the folder of the configuration file if the
    /// program is there, else from the folder that the server works in. `${env:NAME}`, `${env:NAME:-DEFAULT}`, `${file:PATH}`,
    /// `${keyring:NAME}` and `${project}` are replaced at start.
    #[schemars(with = "String")]
    pub command: Template,
    /// Its arguments; `${…}` is replaced. One that begins with `./`, `../` or `~/` is a path, as `command` is.
    #[schemars(default, with = "Vec<String>")]
    pub args: Vec<Template>,
    /// Environment variables to set; `${…}` in the values is replaced.
    #[schemars(default, with = "BTreeMap<String, String>")]
    pub env: BTreeMap<String, Template>,
    /// Environment variables of yours to pass on, besides those that every server gets: names, or patterns with `*` and `?`, which
    /// leave out what looks like a secret.
    #[schemars(default)]
    pub env_vars: Vec<String>,
    /// A file of variables to set, as `NAME=value` lines, read when a process starts; what `env` sets comes first. A relative path
    /// counts from the folder of the configuration file. `${…}` is replaced in its path, and not in the file.
    #[schemars(with = "Option<String>")]
    pub env_file: Option<Template>,
    /// The folder it is started in; if not set the one that the agent works in where a process belongs to one project or agent,
    /// else the home folder.
    /// `${…}` is replaced. A relative one counts from the folder of the configuration file.
    #[schemars(with = "Option<String>")]
    pub cwd: Option<Template>,
    /// The folder of the configuration file, from where relative paths count.
    #[schemars(skip)]
    pub base: Option<PathBuf>,
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

impl Stdio {
    /// A command or an argument as the process gets it. `~` is the home folder. A relative path counts from the folder of the
    /// configuration file if something is there, and else from the folder that the process works in.
    pub fn placed(&self, word: &str) -> PathBuf {
        let path = at_home(word);
        let relative = ["./", "../", ".\\", "..\\"].iter().any(|start| word.starts_with(start));
        let beside = self.base.as_ref().filter(|_| relative).map(|base| base.join(&path));
        beside.filter(|beside| beside.exists()).unwrap_or(path)
    }

    /// The program: of a path with several parts, as [`Self::placed`] has it.
    pub fn program(&self, command: &str) -> PathBuf {
        let path = at_home(command);
        let beside = self.base.as_ref().filter(|_| path.components().count() > 1).map(|base| base.join(&path));
        beside.filter(|beside| beside.exists()).unwrap_or(path)
    }

    /// A folder or file that the configuration names, once expanded.
    pub fn folder(&self, cwd: &str) -> PathBuf {
        let path = at_home(cwd);
        self.base.as_ref().map(|base| base.join(&path)).unwrap_or(path)
    }

    /// What a person should know of its command before it is started.
    pub(super) fn remarks(&self, secrets: &Secrets) -> Vec<String> {
        let given = Given { project: None, secrets };
        let mut remarks = Vec::new();
        if let Ok(command) = self.command.expand(given)
            && find_program(&self.program(&command), std::env::var_os("PATH")).is_none()
        {
            // The value of a reference may be a secret.
            let (text, program) = (self.command.text(), self.program(&command));
            let several = program.components().count() > 1;
            let place = if several { "there is no such program" } else { "no such program in the daemon's PATH" };
            let hint = match text.split_once(' ') {
                Some((first, _)) => format!(": name `{first}` in `command`, and the rest in `args`"),
                None => ": give the full path".to_owned(),
            };
            remarks.push(format!("`{text}`: {place}{hint}"));
        }
        if let Some(cwd) = self.cwd.as_ref().and_then(|cwd| cwd.expand(given).ok())
            && !self.folder(&cwd).is_dir()
        {
            remarks.push(format!("the folder {} that it is to work in is not there", self.folder(&cwd).display()));
        }
        if let Some(file) = self.env_file.as_ref().and_then(|file| file.expand(given).ok())
            && !self.folder(&file).is_file()
        {
            remarks.push(format!("the file {} with its variables is not there", self.folder(&file).display()));
        }
        let words: Vec<&str> = self.args.iter().map(|word| word.text()).collect();
        remarks.extend(container::remark(self.command.text(), &words));
        remarks
    }
}

/// Where the system finds a program, in the folders of `path` if it is a name alone.
pub fn find_program(program: &Path, path: Option<OsString>) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.exists().then(|| program.to_owned());
    }
    let folders: Vec<_> = std::env::split_paths(&path?).collect();
    let ends: &[&str] = if cfg!(windows) { &["", ".exe", ".cmd", ".bat"] } else { &[""] };
    let mut places = folders
        .iter()
        .flat_map(|folder| ends.iter().map(move |end| folder.join(format!("{}{end}", program.display()))));
    places.find(|place| place.is_file())
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
const OF_STDIO: [&str; 5] = ["args", "env", "env_vars", "env_file", "cwd"];
const OF_HTTP: [&str; 3] = ["headers", "account", "oauth"];

impl Transport {
    /// Every setting in which `${…}` is replaced.
    pub fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Stdio(stdio) => std::iter::once(&stdio.command)
                .chain(&stdio.args)
                .chain(stdio.env.values())
                .chain(&stdio.env_file)
                .chain(&stdio.cwd)
                .collect(),
            Self::Http(http) => {
                let secrets = http.oauth.client_secret.iter().chain(&http.oauth.private_key);
                std::iter::once(&http.url).chain(http.headers.values()).chain(secrets).collect()
            }
        }
    }

    /// Says from where relative paths count.
    pub(super) fn set_base(&mut self, folder: &Path) {
        match self {
            Self::Stdio(stdio) => {
                stdio.base = Some(folder.to_owned());
                let words = std::iter::once(&mut stdio.command).chain(&mut stdio.args);
                words
                    .chain(stdio.env.values_mut())
                    .chain(&mut stdio.env_file)
                    .chain(&mut stdio.cwd)
                    .for_each(|template| template.set_base(folder));
            }
            Self::Http(http) => {
                let secrets = http.oauth.client_secret.iter_mut().chain(&mut http.oauth.private_key);
                let all = std::iter::once(&mut http.url).chain(http.headers.values_mut()).chain(secrets);
                all.for_each(|template| template.set_base(folder));
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
        let (command, url) = (fields.take_node("command"), fields.take_node("url"));
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
                let command = fields.problems.under("command", |problems| decode_command(command, problems));
                let stdio = Stdio {
                    command: Template::default(),
                    args: fields.take("args").unwrap_or_default(),
                    env: fields.take("env").unwrap_or_default(),
                    env_vars: fields.take("env_vars").unwrap_or_default(),
                    env_file: fields.take("env_file"),
                    cwd: fields.take("cwd"),
                    base: None,
                };
                Some(Self::Stdio(Stdio { command: command?, ..stdio }))
            }
            (None, Some(url)) => {
                refuse(fields, &OF_STDIO, "it belongs to servers with a `command`");
                let url = fields.problems.under("url", |problems| decode_url(url, problems));
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

/// Whether the protocol itself sets a header.
pub(super) fn is_reserved(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    RESERVED.contains(&lower.as_str()) || lower.starts_with("mcp-param-")
}

fn decode_headers(fields: &mut Fields<'_, '_>) -> BTreeMap<String, Template> {
    let Some(node) = fields.take_node("headers") else { return BTreeMap::new() };
    let at = node.at.start;
    let headers = fields
        .problems
        .under("headers", |problems| BTreeMap::<String, Template>::decode(node, problems))
        .unwrap_or_default();
    for name in headers.keys() {
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            fields.problems.add(at, format!("`{name}` is no name of an HTTP header"));
        }
        if is_reserved(name) {
            fields.problems.add(at, format!("the header `{name}` is set by the protocol itself: take it out"));
        }
    }
    headers
}
