//! JSON strings, raw and read.

use std::borrow::Cow;

/// The value of a raw JSON string, or `None` where the raw text is no string.
pub fn text(raw: &str) -> Option<Cow<'_, str>> {
    // Most have nothing in them that would have to be read.
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    if let Some(inner) = inner.filter(|inner| inner.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\')) {
        return Some(Cow::Borrowed(inner));
    }
    #[derive(serde::Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(raw).ok().map(|text| text.0)
}

/// `value` as raw JSON string text.
pub fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read() {
        for (raw, value) in [
            (r#""""#, Some("")),
            (r#""a b""#, Some("a b")),
            (r#""\u0061\n""#, Some("a\n")),
            (r#""\"""#, Some("\"")),
            ("\"ä\u{2028}\"", Some("ä\u{2028}")),
            (r#" "a" "#, Some("a")),
            (r#"""#, None),
            (r#""a"b""#, None),
            (r#""a\""#, None),
            ("\"a\tb\"", None),
            ("5", None),
            ("null", None),
            (r#"["a"]"#, None),
        ] {
            assert_eq!(text(raw).as_deref(), value, "{raw}");
        }
    }
}
