//! JSON strings, raw and read.

use std::borrow::Cow;

/// The value of a raw JSON string, or `None` where the raw text is no string.
pub fn text(raw: &str) -> Option<Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(raw).ok().map(|text| text.0)
}

/// `value` as raw JSON string text.
pub fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}
