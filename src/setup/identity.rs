//! Whether two entries are the same server. Pure.

use crate::config::{ServerConfig, Transport};

/// What a server is, however its entry is written: the command and what it is given, or the URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity(Vec<String>);

impl Identity {
    pub fn of(server: &ServerConfig) -> Self {
        match &server.transport {
            Transport::Stdio(stdio) => {
                let words = std::iter::once(stdio.command.text()).chain(stdio.args.iter().map(|word| word.text()));
                let mut all = plain(words.map(str::to_owned).collect());
                all.extend(stdio.env.iter().map(|(name, value)| format!("{name}={}", value.text())));
                all.extend(stdio.env_file.iter().chain(&stdio.cwd).map(|path| format!("in {}", path.text())));
                Self(all)
            }
            Transport::Http(http) => {
                Self(vec![http.url.text().trim_end_matches('/').to_owned(), http.account.clone()])
            }
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
    use crate::config::Config;

    #[test]
    fn the_same_server_in_other_words() {
        let of = |entry: &str| {
            let config = Config::from_toml(&format!("[servers.x]\n{entry}")).expect("valid");
            Identity::of(&config.servers[0].1)
        };
        for (one, other, same) in [
            ("command = \"npx\"\nargs = [\"-y\", \"a@latest\"]", "command = \"cmd\"\nargs = [\"/c\", \"npx\", \"a\"]", true),
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
