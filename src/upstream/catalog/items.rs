//! The pages of a list, read as far as sharing them needs.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::envelope::{Envelope, quoted, text};
use crate::lists::ListKind;

/// One tool, prompt, resource or template.
#[derive(Debug, Clone)]
pub struct Item {
    pub raw: Box<str>,
    /// Its name, or its URI: what agents call it by.
    pub key: String,
    /// Where that stands in `raw`, quotes and all.
    pub at: Range<usize>,
}

pub type List = Arc<Vec<Item>>;

impl Item {
    /// The item under another name or URI.
    pub fn renamed(&self, key: &str) -> String {
        format!("{}{}{}", &self.raw[..self.at.start], quoted(key), &self.raw[self.at.end..])
    }
}

type Members<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

/// Adds the items of one page, a raw result.
pub fn read_items(result: &str, kind: ListKind, all: &mut Vec<Item>) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Keys<'a> {
        #[serde(borrow)]
        name: Option<&'a RawValue>,
        #[serde(borrow)]
        uri: Option<&'a RawValue>,
        #[serde(borrow, rename = "uriTemplate")]
        template: Option<&'a RawValue>,
    }
    let page: Members<'_> = serde_json::from_str(result)?;
    let listed: Vec<&RawValue> =
        page.get(kind.member()).map_or(Ok(Vec::new()), |raw| serde_json::from_str(raw.get()))?;
    for raw in listed {
        let raw = raw.get();
        let Ok(keys) = serde_json::from_str::<Keys<'_>>(raw) else { continue };
        let key = match kind {
            ListKind::Tools | ListKind::Prompts => keys.name,
            ListKind::Resources => keys.uri,
            ListKind::Templates => keys.template,
        };
        let Some((key, name)) = key.and_then(|key| Some((key.get(), text(key.get())?))) else { continue };
        let start = key.as_ptr() as usize - raw.as_ptr() as usize;
        all.push(Item { raw: raw.into(), key: name.into_owned(), at: start..start + key.len() });
    }
    Ok(())
}

/// The raw cursor of the page after this one.
pub fn next_cursor(result: &str) -> Option<String> {
    let page: Members<'_> = serde_json::from_str(result).ok()?;
    // Many write an empty one, or none at all, where there is no other page.
    let cursor = page.get("nextCursor").map(|raw| raw.get())?;
    (cursor.starts_with('"') && cursor != "\"\"").then(|| cursor.to_owned())
}

/// Where `ttlMs` stands in a result, or in the result of a whole frame.
fn ttl_at(words: &str) -> Option<Range<usize>> {
    let members: Members<'_> = serde_json::from_str(words).ok()?;
    let inner: Members<'_>;
    let raw = match (members.get("ttlMs"), members.get("result")) {
        (Some(raw), _) => raw.get(),
        (None, Some(result)) => {
            inner = serde_json::from_str(result.get()).ok()?;
            inner.get("ttlMs")?.get()
        }
        (None, None) => return None,
    };
    let start = raw.as_ptr() as usize - words.as_ptr() as usize;
    Some(start..start + raw.len())
}

pub(super) fn ttl(words: &str) -> Option<u64> {
    words[ttl_at(words)?].parse().ok()
}

/// The words with another `ttlMs`.
pub(super) fn with_ttl(words: &str, ttl: u64) -> String {
    match ttl_at(words) {
        Some(at) => format!("{}{ttl}{}", &words[..at.start], &words[at.end..]),
        None => words.to_owned(),
    }
}

/// A frame that answers a list request, without the items whose `key` the function `keep` refuses; `None` if it keeps all.
/// `member` is what the list is called in the result.
pub fn filtered(frame: &str, member: &str, key: &str, keep: impl Fn(&str) -> bool) -> Option<String> {
    let envelope = Envelope::parse(frame.as_bytes()).ok()?;
    let page: Members<'_> = serde_json::from_str(envelope.result?).ok()?;
    let array = page.get(member)?.get();
    let listed: Vec<&RawValue> = serde_json::from_str(array).ok()?;
    let is_kept = |raw: &&str| {
        let members: Members<'_> = serde_json::from_str(raw).unwrap_or_default();
        members.get(key).and_then(|name| text(name.get())).is_none_or(|name| keep(&name))
    };
    let kept: Vec<&str> = listed.iter().map(|raw| raw.get()).filter(is_kept).collect();
    if kept.len() == listed.len() {
        return None;
    }
    let start = array.as_ptr() as usize - frame.as_ptr() as usize;
    Some(format!("{}[{}]{}", &frame[..start], kept.join(","), &frame[start + array.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_untouched() {
        let frame = r#"{"id":7,"result":{"x":1E5,"tools":[ {"name":"a","y": 1}, {"name":"b"} ,{"odd":1}],"z":{}}}"#;
        let without = filtered(frame, "tools", "name", |name| name != "b");
        assert_eq!(
            without.as_deref(),
            Some(r#"{"id":7,"result":{"x":1E5,"tools":[{"name":"a","y": 1},{"odd":1}],"z":{}}}"#)
        );
        assert_eq!(filtered(frame, "tools", "name", |_| true), None);
    }
}
