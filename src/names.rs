//! Names as agents see them: one server's own, and the `server__name` form of the all-servers view.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// Between a server's name and its tool's, prompt's or resource's.
const SEPARATOR: &str = "__";
/// Longest tool or prompt name that agents commonly accept.
pub const MAX_QUALIFIED: usize = 64;
/// Longest name that is made for a server.
const MADE: usize = 40;
/// Scheme of a resource URI that says which server it belongs to.
const SCHEME: &str = "trunkline://";

/// The name of a configured server: ASCII letters, digits, `-` and single `_`, so that it can stand before `__`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ServerName(Arc<str>);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadName {
    #[error("a server name must not be empty")]
    Empty,
    #[error(
        "server name `{0}` has a character other than ASCII letters, digits, `-` and `_`: agents refuse it in tool names"
    )]
    Character(String),
    #[error("server name `{0}` has `__` in it or `_` at its end: `__` separates server and tool")]
    Separator(String),
    #[error("server name `{0}` leaves no room for a tool in the {MAX_QUALIFIED} characters that agents accept")]
    Long(String),
}

impl ServerName {
    pub fn parse(name: &str) -> Result<Self, BadName> {
        if name.is_empty() {
            return Err(BadName::Empty);
        }
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
            return Err(BadName::Character(name.into()));
        }
        if name.contains(SEPARATOR) || name.ends_with('_') {
            return Err(BadName::Separator(name.into()));
        }
        if name.len() + SEPARATOR.len() >= MAX_QUALIFIED {
            return Err(BadName::Long(name.into()));
        }
        Ok(Self(name.into()))
    }

    /// A name that is made of any text, if `is_free` tells that no other text has a claim on it; otherwise with a mark of the
    /// text, so that the same text has the same name whatever stands beside it.
    pub fn safe(text: &str, is_free: impl Fn(&Self) -> bool) -> Self {
        let mut name = String::new();
        for letter in text.chars() {
            match letter {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '-' => name.push(letter),
                _ if name.ends_with('_') || name.is_empty() => {}
                _ => name.push('_'),
            }
        }
        let cut = name.len() > MADE;
        name.truncate(MADE);
        let name = name.trim_matches(['_', '-']);
        let plain = Self(name.into());
        if !name.is_empty() && !cut && is_free(&plain) {
            return plain;
        }
        // FNV-1a: the same with every version.
        let mark = text.bytes().fold(0x811c_9dc5_u32, |mark, byte| (mark ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let name = if name.is_empty() { "server" } else { name };
        Self(format!("{name}_{mark:08x}").into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `name` as the all-servers view shows it.
    pub fn qualify(&self, name: &str) -> String {
        format!("{self}{SEPARATOR}{name}")
    }

    /// A URI that names this server, for one that another server offers too.
    pub fn qualify_uri(&self, uri: &str) -> String {
        format!("{SCHEME}{self}/{uri}")
    }
}

/// Takes `server__name` apart. A server's name has no `__`, so the first one is the border.
pub fn split(qualified: &str) -> Option<(&str, &str)> {
    qualified.split_once(SEPARATOR)
}

/// Takes a URI made by [`ServerName::qualify_uri`] apart.
pub fn split_uri(uri: &str) -> Option<(&str, &str)> {
    uri.strip_prefix(SCHEME)?.split_once('/')
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for ServerName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The longest name that is compared with others: the work grows with the product of the lengths, and a slip is short.
const MOST_COMPARED: usize = 64;

/// The known name nearest to `wanted`, when one is near enough to be a slip.
pub fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if wanted.len() > MOST_COMPARED {
        return None;
    }
    known
        .into_iter()
        .filter(|name| name.len() <= MOST_COMPARED)
        .map(|name| (strsim::damerau_levenshtein(wanted, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len().min(wanted.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Whether a URI is one that somebody is subscribed to, or lies under it: a longer name is another resource.
pub fn lies_under(uri: &str, subscribed: &str) -> bool {
    const ENDS: [char; 4] = ['/', '?', '#', ':'];
    uri.strip_prefix(subscribed)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(&ENDS[..3]) || subscribed.ends_with(ENDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_under_a_uri_begins_with_all_of_its_words() {
        for (uri, subscribed, expected) in [
            ("x://doc/1", "x://doc/1", true),
            ("x://doc/1/a", "x://doc/1", true),
            ("x://doc/1?v=2", "x://doc/1", true),
            ("x://doc/1#top", "x://doc/1", true),
            ("x://doc/12", "x://doc/1", false),
            ("x://doc/1.bak", "x://doc/1", false),
            ("x://doc/1", "x://doc/", true),
            ("x://doc", "x:", true),
            ("x://doc", "x://doc/1", false),
        ] {
            assert_eq!(lies_under(uri, subscribed), expected, "{uri} under {subscribed}");
        }
    }

    #[test]
    fn names_round_trip() {
        for bad in ["", "a b", "a.b", "a__b", "a_", "ü", &"x".repeat(62)] {
            assert!(ServerName::parse(bad).is_err(), "{bad}");
        }
        for (text, expected) in [
            ("github.com/o/playwright", "github_com_o_playwright"),
            ("EDT MCP Server", "EDT_MCP_Server"),
            (" _x__y_ ", "x_y"),
            ("天気", "server_de4aced2"),
            ("погода", "server_3a1e4bbd"),
            ("a.b", "a_b_108bf50c"),
        ] {
            let name = ServerName::safe(text, |name| name.as_str() != "a_b");
            assert_eq!(name.as_str(), expected);
            assert_eq!(ServerName::parse(name.as_str()).as_ref(), Ok(&name));
        }
        let long = ServerName::safe(&"x".repeat(70), |_| true);
        assert!(long.as_str().len() < MAX_QUALIFIED - 4 && long != ServerName::safe(&"x".repeat(71), |_| true));
        let server = ServerName::parse("a_b").expect("valid");
        for tool in ["t", "_t", "__t", "t__u"] {
            assert_eq!(split(&server.qualify(tool)), Some(("a_b", tool)));
        }
        let uri = "demo://r/1?x=/y#z";
        assert_eq!(split_uri(&server.qualify_uri(uri)), Some(("a_b", uri)));
        assert_eq!(nearest("comand", ["command", "args"]), Some("command"));
        assert_eq!(nearest("zzz", ["command", "args"]), None);
        let long = "x".repeat(1 << 20);
        assert_eq!(nearest(&long, [long.as_str()]), None, "which would take minutes");
        assert_eq!(nearest("x", [long.as_str(), "y"]), Some("y"));
    }
}
