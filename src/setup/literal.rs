//! Secrets that stand in an entry as they are, found by their keys and by their shapes. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

use secrecy::{ExposeSecret, SecretString};
use toml_edit::{Item, Table, Value};

use crate::environment::looks_secret;

/// A secret in an entry.
#[derive(Debug, Clone)]
pub struct Literal {
    /// Where it stands: `env.GITHUB_TOKEN`, `args`.
    pub place: String,
    /// What it is called in the keyring.
    pub name: String,
    pub value: SecretString,
}

/// What tokens of well-known services begin with, by their documentation.
const SHAPES: [&str; 48] = [
    "AIza",
    "AKIA",
    "ATATT",
    "BSA",
    "SG.",
    "bb_live_",
    "ctx7sk-",
    "dapi",
    "dckr_pat_",
    "dop_v1_",
    "eyJ",
    "fc-",
    "figd_",
    "figoh_",
    "fm_",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "gsk_",
    "hf_",
    "lin_api_",
    "mcp_",
    "npm_",
    "ntn_",
    "pat-",
    "phx_",
    "pplx-",
    "pypi-",
    "r8_",
    "rk_live_",
    "rk_test_",
    "sb_secret_",
    "sbp_",
    "secret_",
    "shpat_",
    "sk-",
    "sk_live_",
    "sk_test_",
    "sntrys_",
    "sntryu_",
    "tvly-",
    "xapp-",
    "xoxb-",
    "xoxp-",
    "ya29.",
];
/// A token is at least so long, and a value under a key that promises a secret.
const SHORTEST: (usize, usize) = (20, 8);
/// What stands before a token in a header.
const SCHEMES: [&str; 5] = ["Bearer ", "bearer ", "Basic ", "token ", "Bot "];

/// The secrets of an entry; each becomes a `${keyring:NAME}` in it. `known` are the names of those that were found before.
pub(super) fn take(server: &str, table: &mut Table, known: &mut BTreeMap<String, String>) -> Vec<Literal> {
    let mut taken = Vec::new();
    let mut replace = |place: &str, key: Option<&str>, text: &str| {
        let range = secret_in(key, text)?;
        let value = text[range.clone()].to_owned();
        let name = match known.get(&value) {
            Some(name) => name.clone(),
            None => {
                let wanted = format!("{server}-{}", key.unwrap_or("token").trim_start_matches('-'));
                let good =
                    |letter: char| if letter.is_ascii_alphanumeric() || "-_.".contains(letter) { letter } else { '-' };
                let wanted: String = wanted.chars().map(good).collect();
                let free = |name: &String| !known.values().any(|taken| taken == name);
                let numbered = (2..).map(|number| format!("{wanted}-{number}"));
                let name = std::iter::once(wanted.clone()).chain(numbered).find(free)?;
                known.insert(value.clone(), name.clone());
                name
            }
        };
        let text = format!("{}${{keyring:{name}}}{}", &text[..range.start], &text[range.end..]);
        taken.push(Literal { place: place.to_owned(), name, value: value.into() });
        Some(text)
    };
    for (key, item) in table.iter_mut() {
        let Item::Value(value) = item else { continue };
        let key = key.get();
        match (key, value) {
            ("args", Value::Array(words)) => {
                let mut flag: Option<String> = None;
                for word in words.iter_mut() {
                    let Some(text) = word.as_str().map(str::to_owned) else { continue };
                    if let Some(text) = replace("args", flag.as_deref(), &text) {
                        *word = text.into();
                    }
                    flag = Some(text).filter(|text| text.starts_with("--") && !text.contains('='));
                }
            }
            ("env" | "headers" | "oauth", Value::InlineTable(members)) => {
                for (name, member) in members.iter_mut() {
                    let Some(text) = member.as_str().map(str::to_owned) else { continue };
                    if let Some(text) = replace(&format!("{key}.{}", name.get()), Some(name.get()), &text) {
                        *member = text.into();
                    }
                }
            }
            ("url" | "command", value) => {
                let Some(text) = value.as_str().map(str::to_owned) else { continue };
                if let Some(text) = replace(key, None, &text) {
                    *value = text.into();
                }
            }
            _ => {}
        }
    }
    taken
}

/// A line of somebody's file as it may be shown: what looks like a secret in it is not.
pub fn masked(line: &str) -> String {
    let mut out = line.to_owned();
    // The value behind a key, in quotes.
    let key = line.trim_start().trim_start_matches(['"', '\'']).split(['"', '\'', ' ', '=', ':']).next();
    let quotes: Vec<_> = line.match_indices(['"', '\'']).map(|(at, _)| at).collect();
    for pair in quotes.windows(2).rev() {
        let value = &line[pair[0] + 1..pair[1]];
        let before = line[..pair[0]].trim_end();
        let key = before
            .ends_with([':', '='])
            .then(|| before.trim_end_matches([':', '=', ' ', '"', '\'']).rsplit(['"', '\'', ' ', '{', ',']).next())
            .flatten()
            .or(key);
        let is_value = before.ends_with([':', '=', ',', '[']);
        if let Some(range) = secret_in(key.filter(|_| is_value), value).filter(|_| is_value) {
            out.replace_range(pair[0] + 1 + range.start..pair[0] + 1 + range.end, "…");
        }
    }
    match by_shape(&out) {
        Some(range) => {
            out.replace_range(range, "…");
            out
        }
        None => out,
    }
}

/// The part of a value that is a secret.
fn secret_in(key: Option<&str>, text: &str) -> Option<Range<usize>> {
    if text.contains("${") || is_placeholder(text) {
        return None;
    }
    let is_long = |range: &Range<usize>| range.len() >= SHORTEST.1 && !is_placeholder(&text[range.clone()]);
    // The name of a variable is none.
    let promises = |key: &str| {
        (looks_secret(key) && !key.to_ascii_lowercase().ends_with("env_var"))
            || key.eq_ignore_ascii_case("authorization")
            || key.contains("secret")
    };
    let behind_scheme = |from: usize| {
        let scheme = SCHEMES.iter().find(|scheme| text[from..].starts_with(**scheme)).map_or(0, |scheme| scheme.len());
        from + scheme..text.len()
    };
    let is_place = text.starts_with(['/', '~', '.', '$', '%']) || text.contains("://");
    if key.is_some_and(|key| promises(key.trim_start_matches('-'))) && !is_place {
        return Some(behind_scheme(0)).filter(is_long);
    }
    in_url(text).or_else(|| pair(text, &promises, &behind_scheme)).filter(is_long).or_else(|| by_shape(text))
}

/// The password of a URL, or a parameter that promises a secret.
fn in_url(text: &str) -> Option<Range<usize>> {
    let host = text.find("://")? + 3;
    let path = text[host..].find(['/', '?', ' ']).map_or(text.len(), |end| host + end);
    if let Some(at) = text[host..path].rfind('@')
        && let Some(colon) = text[host..host + at].find(':')
    {
        return Some(host + colon + 1..host + at);
    }
    let mut start = host + text[host..].find('?')? + 1;
    for parameter in text[start..].split('&') {
        let end = start + parameter.len();
        if let Some((name, _)) = parameter.split_once('=')
            && camel_secret(name)
        {
            return Some(start + name.len() + 1..end);
        }
        start = end + 1;
    }
    None
}

/// Whether the name of a parameter promises a secret, in whatever way it joins its words.
fn camel_secret(name: &str) -> bool {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && words.ends_with(|last: char| last.is_ascii_lowercase()) {
            words.push('_');
        }
        words.push(letter);
    }
    looks_secret(&words)
}

/// `NAME=value` and `Name: value` in one argument.
fn pair(text: &str, promises: &impl Fn(&str) -> bool, value: &impl Fn(usize) -> Range<usize>) -> Option<Range<usize>> {
    let border = text.find(['=', ':'])?;
    let name = text[..border].trim_start_matches('-');
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if !is_name || !promises(name) {
        return None;
    }
    let from = border + 1 + text[border + 1..].len() - text[border + 1..].trim_start().len();
    Some(value(from))
}

/// A token of a well-known service, wherever it stands.
fn by_shape(text: &str) -> Option<Range<usize>> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let mut start = 0;
    for word in text.split(|letter: char| !is_part(letter)) {
        let has_shape = SHAPES.iter().any(|shape| word.starts_with(shape));
        let looks_random = word.bytes().any(|byte| byte.is_ascii_digit()) && word.len() >= SHORTEST.0;
        let is_jwt = !word.starts_with("eyJ") || word.matches('.').count() == 2;
        if has_shape && looks_random && is_jwt && !is_placeholder(word) {
            return Some(start..start + word.len());
        }
        start += word.len() + text[start + word.len()..].chars().next().map_or(0, char::len_utf8);
    }
    None
}

/// What a README writes where a secret belongs.
fn is_placeholder(text: &str) -> bool {
    let lower = text.trim().to_ascii_lowercase();
    let says = [
        "your_",
        "your-",
        "your ",
        "<",
        "changeme",
        "replace",
        "example",
        "xxx",
        "***",
        "...",
        "todo",
        "placeholder",
        "insert",
    ];
    let braced = lower.starts_with('{') && lower.ends_with('}') && !lower.contains('"');
    braced
        || says.iter().any(|word| lower.starts_with(word))
        || lower.contains("your_")
        || lower.contains("your-")
        || lower.contains("xxxx")
}

impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        (&self.place, &self.name) == (&other.place, &other.name)
            && self.value.expose_secret() == other.value.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_part_is_secret() {
        for (key, text, expected) in [
            (
                Some("GITHUB_TOKEN"),
                "ghp_0123456789abcdefghij0123456789abcdef",
                "ghp_0123456789abcdefghij0123456789abcdef",
            ),
            (Some("GITHUB_TOKEN"), "${GITHUB_TOKEN}", ""),
            (Some("API_KEY"), "your_api_key_here", ""),
            (Some("API_KEY"), "<API_KEY>", ""),
            (Some("API_KEY"), "hunter22!", "hunter22!"),
            (Some("SSH_KEY"), "/home/a/.ssh/id", ""),
            (Some("Authorization"), "Bearer abcdef123456", "abcdef123456"),
            (Some("X-Team"), "core", ""),
            (Some("--api-key"), "abcdefgh1234", "abcdefgh1234"),
            (Some("--port"), "8080808080", ""),
            (None, "--token=abcdefgh1234", "abcdefgh1234"),
            (None, "GITHUB_TOKEN=abcdefgh1234", "abcdefgh1234"),
            (None, "Authorization: Bearer abcdefgh1234", "abcdefgh1234"),
            (None, "postgresql://u:pa55word@h:5432/db", "pa55word"),
            (None, "https://h/mcp?x=1&tavilyApiKey=tvly-abcdefgh", "tvly-abcdefgh"),
            (None, "https://h/mcp/sk-0123456789abcdefghij/x", "sk-0123456789abcdefghij"),
            (None, "{\"Authorization\": \"Bearer ntn_0123456789abcdefghij\"}", "ntn_0123456789abcdefghij"),
            (None, "@modelcontextprotocol/server-github", ""),
            (None, "sk-learn-mcp-server-for-everybody", ""),
            (None, "figma-developer-mcp", ""),
            (Some("MAX_TOKENS"), "4096", ""),
        ] {
            let found = secret_in(key, text).map(|range| text[range].to_owned());
            assert_eq!(found.unwrap_or_default(), expected, "{key:?} {text}");
        }
    }

    #[test]
    fn no_secret_of_a_line_is_shown() {
        for (line, expected) in [
            ("    \"API_KEY\": \"hunter22!\",", "    \"API_KEY\": \"…\","),
            ("env = { A = \"b\", T_TOKEN = \"abcdefgh12\" }", "env = { A = \"b\", T_TOKEN = \"…\" }"),
            (
                "  \"headers\": {\"Authorization\": \"Bearer abcdefgh12\"}",
                "  \"headers\": {\"Authorization\": \"Bearer …\"}",
            ),
            (
                "  \"args\": [\"-y\", \"postgresql://u:pa55word1@h/d\"]",
                "  \"args\": [\"-y\", \"postgresql://u:…@h/d\"]",
            ),
            ("  \"command\": \"npx\",", "  \"command\": \"npx\","),
            ("      TOKEN: ghp_0123456789abcdefghij0123456789abcdef", "      TOKEN: …"),
        ] {
            assert_eq!(masked(line), expected);
        }
    }

    #[test]
    fn the_same_secret_has_one_name() {
        let mut table: Table =
            "args = [\"--token\", \"abcdefgh1234\"]\nenv = { T_TOKEN = \"abcdefgh1234\", B_KEY = \"zzzzzzzz99\" }"
                .parse::<toml_edit::DocumentMut>()
                .expect("valid")
                .as_table()
                .clone();
        let taken = take("s", &mut table, &mut BTreeMap::new());
        let names: Vec<_> = taken.iter().map(|literal| (literal.place.as_str(), literal.name.as_str())).collect();
        assert_eq!(names, [("args", "s-token"), ("env.T_TOKEN", "s-token"), ("env.B_KEY", "s-B_KEY")]);
        let text = table.to_string();
        assert!(text.contains("${keyring:s-token}") && !text.contains("abcdefgh1234"), "{text}");
    }
}
