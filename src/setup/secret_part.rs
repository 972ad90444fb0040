//! Which part of a text is a secret: by the key that it stands under, and by its shape. Pure.

use std::ops::Range;

use crate::environment::looks_secret;

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

/// A text of the same length in which nothing stands for a reference: that is no secret.
pub(super) fn blanked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((reference, behind)) = after.split_once('}') else { break };
        out.push_str(before);
        out.push_str(&"\0".repeat(reference.len() + 3));
        rest = behind;
    }
    out + rest
}

/// The part of a value that is a secret; what stands for a reference is blank in it.
pub(super) fn secret_in(key: Option<&str>, text: &str) -> Option<Range<usize>> {
    // A shell's variable, or a command of it.
    if is_placeholder(text) || text.starts_with('$') {
        return None;
    }
    let is_long = |range: &Range<usize>| {
        let value = &text[range.clone()];
        value.len() >= SHORTEST.1 && !value.contains('\0') && !value.starts_with('$') && !is_placeholder(value)
    };
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
    let own = key.filter(|key| promises(key.trim_start_matches('-')) && !is_a_place(text) && !is_a_word(key, text));
    let own = own.map(|_| behind_scheme(0)).filter(is_long);
    own.or_else(|| in_url(text))
        .filter(is_long)
        .or_else(|| pair(text, &promises, &behind_scheme))
        .filter(is_long)
        .or_else(|| by_shape(text))
}

/// Whether a value is a path or an address.
fn is_a_place(text: &str) -> bool {
    let drive = text.len() > 2 && text.as_bytes()[1] == b':' && matches!(text.as_bytes()[2], b'\\' | b'/');
    let file = text.contains(['/', '\\']) && text.rsplit(['/', '\\']).next().is_some_and(|last| last.contains('.'));
    drive || (file && !text.contains(' ')) || text.starts_with(['/', '~', '.', '%']) || text.contains("://")
}

/// Whether a value under a key that only has the word for a secret in it is a word of the settings itself: `AUTH_MODE=interactive`,
/// `SORT_KEY=created_at`.
fn is_a_word(key: &str, text: &str) -> bool {
    let upper = key.to_ascii_uppercase();
    let says_other = ["_MODE", "_TYPE", "_NAME", "_FILE", "_PATH", "_ID", "_URL", "_METHOD", "_PROVIDER", "_COLUMN"];
    let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-'));
    says_other.iter().any(|end| upper.ends_with(end))
        || (plain
            && ["SORT_KEY", "PRIMARY_KEY", "FOREIGN_KEY", "PARTITION_KEY", "CACHE_KEY", "AUTH"]
                .contains(&upper.as_str()))
}

/// The password of a URL, or a parameter that promises a secret.
fn in_url(text: &str) -> Option<Range<usize>> {
    let host = text.find("://")? + 3;
    let path = text[host..].find(['/', '?', ' ']).map_or(text.len(), |end| host + end);
    if let Some(at) = text[host..path].rfind('@')
        && let Some(colon) = text[host..host + at].find(':')
        && !text[host..host + at].contains('\0')
    {
        return Some(host + colon + 1..host + at);
    }
    let mut start = host + text[host..].find('?')? + 1;
    for parameter in text[start..].split('&') {
        let end = start + parameter.len();
        if let Some((name, value)) = parameter.split_once('=')
            && (camel_secret(name) || name.eq_ignore_ascii_case("authorization"))
            && !value.contains('\0')
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
    let range = value(from);
    // What a shell is told goes on behind it.
    let end = text[range.clone()].find(' ').map_or(range.end, |end| range.start + end);
    Some(range.start..end)
}

/// A token of a well-known service, wherever it stands.
pub(super) fn by_shape(text: &str) -> Option<Range<usize>> {
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
            (Some("GITHUB_TOKEN"), "$GITHUB_TOKEN", ""),
            (Some("AUTH_MODE"), "interactive", ""),
            (Some("SORT_KEY"), "created_at", ""),
            (Some("KEY_FILE"), "certs/server.key", ""),
            (Some("API_KEY"), "C:\\Users\\a\\key.json", ""),
            (None, "API_KEY=abcdefgh1234 npx foo", "abcdefgh1234"),
            (None, "https://h/?token=$(pass show tok)", ""),
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
}
