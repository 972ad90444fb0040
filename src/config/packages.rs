//! What is known of published servers: `config/packages.toml`, and what a person adds to it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::config::decode::{Decode, Fields, one_of};
use crate::config::node::Node;
use crate::config::problems::Problems;
use crate::config::share::Share;
use crate::config::transport::Stdio;
use schemars::JsonSchema;
use serde::Deserialize;

/// `[packages."NAME"]`: what is known of a published server, wherever it is used.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Package {
    /// How far a process of it can be shared: by "all" agents, those of one "project", or only within a "session".
    pub share: Share,
    /// The capabilities of a client that it looks at; found out where this is left out.
    #[serde(default)]
    pub clients: Option<Vec<String>>,
    /// What is proposed for an entry that is taken over or added.
    #[serde(default)]
    pub preset: Option<Preset>,
    /// Why, for the next reader.
    #[serde(default)]
    pub why: Option<String>,
}

/// What is proposed for an entry of a package that must not be shared blindly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename_all = "lowercase")]
pub enum Preset {
    /// Its `share`, written down.
    Share,
    /// That, and `${project}` in the place of the folder in its arguments.
    Folder,
}

pub type Packages = BTreeMap<String, Package>;

/// A package that a server's command names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub name: String,
    pub package: Package,
}

/// Programs that run another one: where its name stands in their arguments.
const LAUNCHERS: [(&str, &[&str]); 13] = [
    ("npx", &[]),
    ("bunx", &[]),
    ("pnpx", &[]),
    ("uvx", &[]),
    ("node", &[]),
    ("bun", &["x", "run"]),
    ("deno", &["run"]),
    ("npm", &["exec", "x"]),
    ("pnpm", &["dlx", "exec"]),
    ("yarn", &["dlx", "exec"]),
    ("pipx", &["run"]),
    ("uv", &["tool", "run"]),
    ("docker", &["run", "container"]),
];
/// Their flags that are followed by a value.
const WITH_VALUE: [&str; 29] = [
    "--package",
    "-p",
    "--with",
    "--python",
    "--directory",
    "--project",
    "--index",
    "--index-url",
    "--env",
    "-e",
    "--env-file",
    "--volume",
    "-v",
    "--mount",
    "--name",
    "--network",
    "--net",
    "--user",
    "-u",
    "--workdir",
    "-w",
    "--publish",
    "--label",
    "-l",
    "--platform",
    "--pull",
    "--memory",
    "-m",
    "--entrypoint",
];

impl Known {
    /// The package that a command starts, if it is in `own` or in the table that comes with trunkline.
    pub(super) fn find(stdio: &Stdio, own: &Packages) -> Option<Self> {
        let words: Vec<&str> = stdio.args.iter().map(|word| word.text()).collect();
        let names = names(stdio.command.text(), &words);
        let found = names.iter().find_map(|name| Some((name, own.get(name)?)));
        let found = found.or_else(|| names.iter().find_map(|name| Some((name, table().get(name)?))));
        found.map(|(name, package)| Self { name: name.clone(), package: package.clone() })
    }
}

fn table() -> &'static Packages {
    static TABLE: OnceLock<Packages> = OnceLock::new();
    // A test reads it to its end.
    TABLE.get_or_init(|| toml::from_str(include_str!("../../config/packages.toml")).unwrap_or_default())
}

/// What the program that a command starts may be called in the table.
fn names(command: &str, words: &[&str]) -> Vec<String> {
    let program = base(command);
    if program.starts_with("python") || program == "py" {
        let module = words.iter().position(|word| *word == "-m").and_then(|at| words.get(at + 1));
        return module
            .map(|module| module.split('.').next().unwrap_or_default().replace('_', "-"))
            .into_iter()
            .collect();
    }
    let Some((_, verbs)) =
        LAUNCHERS.iter().find(|(name, _)| *name == program || program == "podman" && *name == "docker")
    else {
        return [of_path(command), Some(program)].into_iter().flatten().collect();
    };
    let mut rest = words.iter().copied().peekable();
    while let Some(word) = rest.next() {
        match word.split_once('=') {
            Some(("--from" | "--package", named)) => return vec![bare(named)],
            Some((flag, _)) if flag.starts_with('-') => {}
            _ if word == "--from"
                || (word == "--package" || word == "-p") && matches!(program.as_str(), "npx" | "npm") =>
            {
                return rest.next().map(bare).into_iter().collect();
            }
            _ if WITH_VALUE.contains(&word) => drop(rest.next()),
            _ if word.starts_with('-') || verbs.contains(&word) => {}
            _ => return [of_path(word), Some(bare(word)), Some(base(word))].into_iter().flatten().collect(),
        }
    }
    Vec::new()
}

/// The last part of a path, without what Windows and Node add to a program's name.
fn base(path: &str) -> String {
    let last = path.rsplit(['/', '\\']).next().unwrap_or_default();
    let ends = [".exe", ".cmd", ".bat", ".js", ".mjs", ".cjs"];
    ends.iter().find_map(|end| last.strip_suffix(end)).unwrap_or(last).to_owned()
}

/// The package that a file below `node_modules` belongs to.
fn of_path(path: &str) -> Option<String> {
    let path = path.replace('\\', "/");
    let (_, below) = path.rsplit_once("node_modules/")?;
    let mut parts = below.split('/').filter(|part| *part != ".bin");
    let first = parts.next()?;
    let name = if first.starts_with('@') { format!("{first}/{}", parts.next()?) } else { first.to_owned() };
    (!name.is_empty()).then_some(name)
}

/// A package's name without its version, extras, tag or digest.
fn bare(word: &str) -> String {
    let (scope, rest) = match word.strip_prefix('@') {
        Some(rest) => ("@", rest),
        None => ("", word),
    };
    let image = rest.contains('/') && scope.is_empty();
    let end = rest.find(['@', '=', '[', '<', '>', '~']).unwrap_or(rest.len());
    let name = &rest[..end];
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if image && !tag.contains('/') => name,
        Some(_) | None => name,
    };
    format!("{scope}{name}")
}

pub(super) fn decode_all(node: Node, problems: &mut Problems<'_>) -> Packages {
    let Some(mut fields) = Fields::open(node, problems) else { return Packages::new() };
    let members = fields.rest();
    let problems = fields.problems;
    let decoded = members.into_iter().filter_map(|member| Some((member.name, Package::decode(member.node, problems)?)));
    decoded.collect()
}

impl Decode for Package {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let (at, share) = (fields.at(), fields.take_node("share"));
        let package = Self {
            share: Share::All,
            clients: fields.take("clients"),
            preset: fields.take("preset"),
            why: fields.take("why"),
        };
        fields.finish();
        let Some(share) = share else {
            problems.add(at, "the package has no `share`: \"all\", \"project\" or \"session\"".to_owned());
            return None;
        };
        let all = [("all", Share::All), ("project", Share::Project), ("session", Share::Session)];
        Some(Self { share: one_of(share, &all, problems)?, ..package })
    }
}

impl Decode for Preset {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        one_of(node, &[("share", Self::Share), ("folder", Self::Folder)], problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_and_says_why() {
        let read = toml::from_str::<Packages>(include_str!("../../config/packages.toml"));
        assert!(read.is_ok(), "{read:?}");
        assert!(table().len() >= 100, "{}", table().len());
        for (name, package) in table() {
            assert!(package.why.as_ref().is_some_and(|why| why.len() > 10), "{name}");
        }
    }

    #[test]
    fn a_command_names_its_package() {
        for (line, expected) in [
            ("npx -y @playwright/mcp@latest --headless", "@playwright/mcp"),
            ("npx --yes @modelcontextprotocol/server-memory", "@modelcontextprotocol/server-memory"),
            ("npx -p @playwright/mcp mcp-server-playwright", "@playwright/mcp"),
            ("npx --package=tavily-mcp@0.2 tavily", "tavily-mcp"),
            (
                "/usr/bin/node /x/node_modules/@modelcontextprotocol/server-memory/dist/index.js",
                "@modelcontextprotocol/server-memory",
            ),
            ("node C:\\x\\node_modules\\tavily-mcp\\build\\index.js", "tavily-mcp"),
            ("uvx mcp-server-time", "mcp-server-time"),
            ("uvx mcp-server-time@2026.1.2 --local-timezone=UTC", "mcp-server-time"),
            ("uvx mcp-server-git==1.0", "mcp-server-git"),
            ("uvx --from git+https://x/y serena", ""),
            ("uvx --from basic-memory[cli] basic-memory mcp", "basic-memory"),
            ("uv tool run mcp-server-time", "mcp-server-time"),
            ("uv --directory /x run mcp-server-time", "mcp-server-time"),
            ("python3 -m mcp_server_time --local-timezone UTC", "mcp-server-time"),
            ("pipx run mcp-server-fetch", "mcp-server-fetch"),
            ("docker run -i --rm -e TOKEN --name x mcp/fetch:latest", "mcp/fetch"),
            ("docker run -i --rm ghcr.io/github/github-mcp-server@sha256:aa", "ghcr.io/github/github-mcp-server"),
            ("/home/a/.local/bin/mcp-server-time", "mcp-server-time"),
            ("npx.cmd chrome-devtools-mcp", "chrome-devtools-mcp"),
            ("npx my-wrapper @playwright/mcp", ""),
            ("sh -c mcp-server-time", ""),
        ] {
            let mut words = line.split(' ');
            let command = words.next().unwrap_or_default();
            let words: Vec<_> = words.collect();
            let found = names(command, &words).into_iter().find(|name| table().contains_key(name));
            assert_eq!(found.unwrap_or_default(), expected, "{line}");
        }
    }
}
