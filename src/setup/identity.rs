//! Whether two entries are the same server. Pure.

use std::collections::BTreeSet;
use std::path::Path;

use secrecy::ExposeSecret;
use toml_edit::Table;

use crate::config::{Config, Secrets, ServerConfig, Transport};
use crate::names::ServerName;
use crate::setup::entry::decoded;
use crate::setup::preset::Preset;

/// What a server is, however its entry is written: the command and what it is given, or the URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity(Vec<String>);

/// The secrets that the vault has: their names, and the values that the configuration names, where they can be read.
#[derive(Debug, Default)]
pub struct Kept {
    pub names: BTreeSet<String>,
    pub values: Secrets,
}

/// The servers that a configuration has, to find them again.
#[derive(Debug)]
pub struct Known {
    servers: Vec<(ServerName, Identity, Vec<String>)>,
    values: Secrets,
}

impl Known {
    pub fn of(config: &Config, kept: &Kept) -> Self {
        let servers = config.servers.iter();
        let servers = servers.map(|(name, server)| (name.clone(), Identity::of(server), headers(server))).collect();
        Self { servers, values: kept.values.clone() }
    }

    /// The server that an entry would be again: word for word, with its secrets in the keyring, or as its preset has it.
    pub fn find(&self, table: &Table, folder: Option<&Path>) -> Option<&ServerName> {
        let server = decoded(table).ok()?;
        let mut entries = vec![Identity::of(&server)];
        if let Some(preset) = Preset::find(&server, folder).filter(|preset| preset.fixed.is_none()) {
            let mut table = table.clone();
            preset.apply(&mut table);
            entries.extend(decoded(&table).ok().map(|server| Identity::of(&server)));
        }
        let own = headers(&server);
        let is_it = |known: &Identity, headers: &[String]| {
            // Another header may be another account.
            let same_account = own.is_empty() || headers.is_empty() || self.stands_for(headers, &own);
            same_account && entries.iter().any(|entry| self.stands_for(&known.0, &entry.0))
        };
        self.servers.iter().find(|(_, known, headers)| is_it(known, headers)).map(|(name, ..)| name)
    }

    /// Whether the words are the same, with each `${keyring:…}` of ours replaced; one that cannot be read may be any secret.
    fn stands_for(&self, ours: &[String], theirs: &[String]) -> bool {
        let is = |ours: &String, theirs: &String| {
            let mut ours = ours.clone();
            for (name, value) in &self.values {
                ours = ours.replace(&format!("${{keyring:{name}}}"), value.expose_secret());
            }
            match ours.split_once("${keyring:") {
                Some((start, rest)) => {
                    let end = rest.split_once('}').map(|(_, end)| end).unwrap_or_default();
                    theirs.len() >= start.len() + end.len() && theirs.starts_with(start) && theirs.ends_with(end)
                }
                None => ours == *theirs,
            }
        };
        ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| is(ours, theirs))
    }
}

/// The headers of a server over HTTP, in one spelling.
fn headers(server: &ServerConfig) -> Vec<String> {
    match &server.transport {
        Transport::Stdio(_) => Vec::new(),
        Transport::Http(http) => http.headers.iter().map(|(name, value)| format!("{name}: {}", value.text())).collect(),
    }
}

impl Identity {
    pub(super) fn of(server: &ServerConfig) -> Self {
        match &server.transport {
            Transport::Stdio(stdio) => {
                let words = std::iter::once(stdio.command.text()).chain(stdio.args.iter().map(|word| word.text()));
                let mut all = plain(words.map(str::to_owned).collect());
                all.extend(stdio.env.iter().map(|(name, value)| format!("{name}={}", value.text())));
                all.extend(stdio.env_file.iter().chain(&stdio.cwd).map(|path| format!("in {}", path.text())));
                Self(all)
            }
            Transport::Http(http) => Self(vec![http.url.text().trim_end_matches('/').to_owned(), http.account.clone()]),
        }
    }
}

/// A command without what makes no other server of it: how it is asked not to ask, and that the newest is wanted.
fn plain(mut words: Vec<String>) -> Vec<String> {
    let is = |word: Option<&String>, name: &str| word.is_some_and(|word| word.eq_ignore_ascii_case(name));
    if is(words.first(), "cmd") && is(words.get(1), "/c") {
        words.drain(..2);
    }
    if words.first().is_some_and(|word| matches!(word.as_str(), "npx" | "npx.cmd")) {
        words[0] = "npx".to_owned();
        words.retain(|word| !matches!(word.as_str(), "-y" | "--yes"));
        if let Some(package) = words.iter_mut().skip(1).find(|word| !word.starts_with('-'))
            && let Some(name) = package.strip_suffix("@latest")
        {
            *package = name.to_owned();
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_known_again() {
        let config = "[servers.a]\ncommand = \"x\"\nargs = [\"--token\", \"${keyring:a}\"]\n[servers.b]\ncommand = \"npx\"\nargs = [\"@modelcontextprotocol/server-filesystem\", \"${project}\"]\nshare = \"project\"";
        let config = Config::from_toml(config).expect("valid");
        for (entry, expected) in [
            ("command = \"x\"\nargs = [\"--token\", \"hush\"]", Some("a")),
            ("command = \"x\"\nargs = [\"--other\", \"hush\"]", None),
            ("command = \"npx\"\nargs = [\"-y\", \"@modelcontextprotocol/server-filesystem\", \".\"]", Some("b")),
        ] {
            let table = entry.parse::<toml_edit::DocumentMut>().expect("valid").as_table().clone();
            let known = Known::of(&config, &Kept::default());
            assert_eq!(known.find(&table, None).map(ServerName::as_str), expected, "{entry}");
            // With the secret at hand, another account is another server.
            let values = Secrets::from([("a".to_owned(), "other".into())]);
            let known = Known::of(&config, &Kept { values, ..Kept::default() });
            assert_eq!(
                known.find(&table, None).map(ServerName::as_str),
                expected.filter(|name| *name != "a"),
                "{entry}"
            );
        }
    }

    #[test]
    fn the_same_server_in_other_words() {
        let of = |entry: &str| {
            let config = Config::from_toml(&format!("[servers.x]\n{entry}")).expect("valid");
            Identity::of(&config.servers[0].1)
        };
        for (one, other, same) in [
            (
                "command = \"npx\"\nargs = [\"-y\", \"a@latest\"]",
                "command = \"cmd\"\nargs = [\"/c\", \"npx\", \"a\"]",
                true,
            ),
            ("command = \"npx\"\nargs = [\"a@1\"]", "command = \"npx\"\nargs = [\"a@2\"]", false),
            ("command = \"a\"\nenv = { K = \"1\" }", "command = \"a\"", false),
            ("url = \"https://h/mcp/\"", "url = \"https://h/mcp\"\nheaders = { A = \"b\" }", true),
            ("url = \"https://h/mcp\"\naccount = \"w\"", "url = \"https://h/mcp\"", false),
            ("command = \"a\"\ncwd = \"/x\"", "command = \"a\"\ncwd = \"/y\"", false),
        ] {
            assert_eq!(of(one) == of(other), same, "{one} / {other}");
        }
    }
}
