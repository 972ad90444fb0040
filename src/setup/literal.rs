//! Secrets that stand in an entry as they are, found by their keys and by their shapes. Pure.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use toml_edit::{Item, Table, Value};

use crate::setup::secret_part::{blanked, by_shape, secret_in};

/// A secret in an entry.
#[derive(Debug, Clone)]
pub struct Literal {
    /// Where it stands: `env.GITHUB_TOKEN`, `args`.
    pub place: String,
    /// What it is called in the keyring.
    pub name: String,
    pub value: SecretString,
}

/// How many secrets more are looked for in a text that has one.
const MOST_IN_ONE: usize = 4;
/// The secrets of an entry; each becomes a `${keyring:NAME}` in it. `known` are the names of those that were found before.
pub(super) fn take(server: &str, table: &mut Table, known: &mut BTreeMap<String, String>) -> Vec<Literal> {
    let mut taken = Vec::new();
    let mut replace_one = |place: &str, key: Option<&str>, text: &str| {
        let range = secret_in(key, &blanked(text))?;
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
    // A text may hold several.
    let mut replace = |place: &str, key: Option<&str>, text: &str| {
        let first = replace_one(place, key, text)?;
        Some((0..MOST_IN_ONE).fold(first, |text, _| replace_one(place, key, &text).unwrap_or(text)))
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
    fn several_in_one_text() {
        let mut table: Table = "url = \"https://u:pa55word1@h/${env:TEAM}/mcp?token=abcdefgh1&key=ijklmnop2\""
            .parse::<toml_edit::DocumentMut>()
            .expect("valid")
            .as_table()
            .clone();
        let taken = take("s", &mut table, &mut BTreeMap::new());
        assert_eq!(taken.len(), 3, "{table}");
        assert!(
            table.to_string().contains("https://u:${keyring:s-token}@h/${env:TEAM}/mcp?token=${keyring:s-token-2}"),
            "{table}"
        );
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
