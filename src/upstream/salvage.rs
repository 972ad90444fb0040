//! Finds the messages in what a server writes that is not one message: bytes that are no UTF-8, a byte-order mark, a batch,
//! text around a message. Pure, and linear in the length of the text.

use crate::shown::printable;
use std::borrow::Cow;

use memchr::memmem;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::envelope::{Envelope, Kind};
use crate::method::Method;
use crate::upstream::quirks::Quirk;

/// How many beginnings of a message are looked at in one line.
const TRIES: usize = 16;

/// What is in a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Salvaged {
    /// Messages, each of which can be read.
    pub messages: Vec<String>,
    /// Messages behind text on their line: a server may write down so what it was sent.
    pub behind_text: Vec<String>,
    /// What is none, without control characters; empty if there is nothing else.
    pub noise: String,
    pub quirks: Vec<Quirk>,
    /// A message that could not be read.
    pub lost: Option<Lost>,
}

/// What can be told of a message that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lost {
    /// Raw.
    pub id: Option<String>,
    /// It looks like an answer, and not like a notification or a request.
    pub is_answer: bool,
}

/// Looks for messages in `line`, which as a whole is none.
pub(super) fn salvage(line: &[u8]) -> Salvaged {
    let mut found = Salvaged::default();
    let text = String::from_utf8_lossy(line);
    if let Cow::Owned(_) = &text {
        found.quirks.push(Quirk::NotUtf8);
    }
    let marked = text.trim_start();
    let text = marked.trim_start_matches('\u{feff}').trim();
    if text.len() < marked.trim_end().len() {
        found.quirks.push(Quirk::ByteOrderMark);
    }
    let finite = without_infinities(text);
    if finite.is_some() {
        found.quirks.push(Quirk::NotANumber);
    }
    let text = finite.as_deref().unwrap_or(text);
    if Envelope::parse(text.as_bytes()).is_ok() {
        found.messages.push(text.to_owned());
    } else if let Some(messages) = batch(text) {
        found.quirks.push(Quirk::Batch);
        found.messages = messages;
    } else {
        found.dig(text);
    }
    found
}

/// A text with null for what some writers of JSON write for numbers that are none; nothing if it has none of them.
fn without_infinities(text: &str) -> Option<String> {
    const WORDS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];
    if !text.starts_with(['{', '['])
        || !WORDS[1..].iter().any(|word| memmem::find(text.as_bytes(), word.as_bytes()).is_some())
    {
        return None;
    }
    let (bytes, mut out, mut from, mut at) = (text.as_bytes(), String::new(), 0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_string(bytes, at)?,
            b'-' | b'I' | b'N' => match WORDS.iter().find(|word| text[at..].starts_with(**word)) {
                Some(word) => {
                    out.push_str(&text[from..at]);
                    out.push_str("null");
                    at += word.len();
                    from = at;
                }
                None => at += 1,
            },
            _ => at += 1,
        }
    }
    (from > 0).then(|| out + &text[from..])
}

/// The messages of a batch (JSON-RPC 2.0 section 6), if a text is one.
fn batch(text: &str) -> Option<Vec<String>> {
    if !text.starts_with('[') {
        return None;
    }
    let all: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    let whole = !all.is_empty() && all.iter().all(|message| Envelope::parse(message.get().as_bytes()).is_ok());
    whole.then(|| all.into_iter().map(|message| message.get().to_owned()).collect())
}

impl Salvaged {
    fn dig(&mut self, text: &str) {
        let (mut noise, mut from, mut at) = (String::new(), 0, 0);
        let mut declined = false;
        for _ in 0..TRIES {
            // Without this word there is no message ahead.
            if memmem::find(&text.as_bytes()[at..], br#""jsonrpc""#).is_none() {
                break;
            }
            let Some(start) = memchr::memchr(b'{', &text.as_bytes()[at..]).map(|start| at + start) else { break };
            let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<&RawValue>();
            match values.next() {
                Some(Ok(value)) => {
                    let end = start + value.get().len();
                    // As the only thing on its line it would have been read.
                    if is_message(value.get()) {
                        noise.push_str(&text[from..start]);
                        let found = if noise.trim().is_empty() { &mut self.messages } else { &mut self.behind_text };
                        found.push(value.get().to_owned());
                        from = end;
                    } else {
                        declined |=
                            Envelope::parse(value.get().as_bytes()).is_ok() && value.get().contains("\"jsonrpc\"");
                    }
                    at = end;
                }
                Some(Err(_)) | None => at = start + 1,
            }
        }
        noise.push_str(&text[from..]);
        self.noise = printable(&noise);
        if self.messages.is_empty() && self.behind_text.is_empty() {
            // What is whole, and not the server's, is no loss.
            self.lost = if declined { None } else { fragment(text) };
        } else {
            // What cannot be seen is text too.
            self.quirks.push(if noise.trim().is_empty() { Quirk::SeveralOnALine } else { Quirk::TextBeside });
        }
    }
}

fn is_message(text: &str) -> bool {
    Envelope::parse(text.as_bytes()).is_ok_and(|envelope| {
        let is_its = match envelope.kind {
            Kind::Response => true,
            // Anything else may be what the server has read, written down by it.
            Kind::Request | Kind::Notification => envelope.method.is_some_and(Method::is_servers),
        };
        is_its && text.contains("\"jsonrpc\"")
    })
}

/// What is left of a message that begins a line, and cannot be read to its end. Nothing if it does not look like one.
fn fragment(text: &str) -> Option<Lost> {
    if !text.starts_with('{') {
        return None;
    }
    let (Members { id, has_method, has_answer, is_rpc }, last) = (members(text), last_id(text));
    let whole = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    // A log in JSON may have an id too.
    if !is_rpc && (whole || last.is_none()) {
        return None;
    }
    // A whole message without a method can be nothing else.
    Some(Lost { id: id.or(last), is_answer: has_answer || whole && !has_method })
}

/// The same of a message of which only the beginning and the end are known.
pub(super) fn lost_between(head: &[u8], tail: &[u8]) -> Lost {
    let Members { id, has_method, has_answer, is_rpc: _ } = members(&String::from_utf8_lossy(head));
    let id = id.or_else(|| last_id(&String::from_utf8_lossy(tail)));
    Lost { id, is_answer: has_answer || !has_method }
}

#[derive(Default)]
struct Members {
    id: Option<String>,
    has_method: bool,
    has_answer: bool,
    is_rpc: bool,
}

/// The members of the outermost object, as far as they can be told.
fn members(text: &str) -> Members {
    let bytes = text.as_bytes();
    let (mut found, mut depth, mut at) = (Members::default(), 0usize, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let Some(end) = end_of_string(bytes, at) else { break };
                let rest = text[end..].trim_start();
                if depth == 1 && rest.starts_with(':') {
                    match &text[at..end] {
                        r#""id""# => found.id = found.id.or_else(|| value(rest[1..].trim_start())),
                        r#""method""# => found.has_method = true,
                        r#""jsonrpc""# => found.is_rpc = true,
                        r#""result""# | r#""error""# => found.has_answer = true,
                        _ => {}
                    }
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Behind the end of the string that begins at `at`.
fn end_of_string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        match bytes[at] {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// A whole number or a string at the beginning of a text, raw.
fn value(text: &str) -> Option<String> {
    let end = match text.as_bytes().first()? {
        b'"' => end_of_string(text.as_bytes(), 0)?,
        _ => text.find(|letter: char| !letter.is_ascii_digit())?,
    };
    (end > 0).then(|| text[..end].to_owned())
}

/// The id among the members that close a message, the last ones of the outermost object, since one brace alone follows them.
fn last_id(text: &str) -> Option<String> {
    let mut rest = text.trim_end().strip_suffix('}')?.trim_end();
    // Behind it may stand `jsonrpc`.
    for _ in 0..2 {
        let at = rest.rfind([',', '{'])?;
        let member: serde_json::Map<String, Value> = serde_json::from_str(&format!("{{{}}}", &rest[at + 1..])).ok()?;
        match (member.get("id"), member.get("jsonrpc")) {
            (Some(id @ Value::Number(_)), _) => return Some(id.to_string()),
            (Some(Value::String(id)), _) => return Some(crate::envelope::quoted(id)),
            (None, Some(Value::String(version))) if version == "2.0" => rest = rest[..at].trim_end(),
            (_, _) => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"a":[1,{"b":"}"}]}}"#;

    #[test]
    fn messages_are_found_where_that_is_certain() {
        let asked = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#;
        for (line, messages, noise) in [
            (format!("\u{feff}{ANSWER}"), 1, ""),
            (format!("[{ANSWER}, {ANSWER}]"), 2, ""),
            (format!("{ANSWER}{ANSWER}"), 2, ""),
            (format!("progress 10%\r{ANSWER}"), 1, "progress 10%"),
            (format!("\x1b]0;title\x07\x1b[31m{ANSWER} done"), 1, "done"),
            (format!("{{\"level\":\"info\"}} {ANSWER}"), 1, "{\"level\":\"info\"}"),
            (format!("{{not json {ANSWER}"), 1, "{not json"),
            (format!("received {asked}"), 0, ""),
            (format!("received {}", asked.replace("tools/call", "notifications/initialized")), 0, ""),
            ("listening on 1337".to_owned(), 0, "listening on 1337"),
            (r#"{"level":"info","msg":"x"}"#.to_owned(), 0, r#"{"level":"info","msg":"x"}"#),
            ("Content-Length: 52".to_owned(), 0, "Content-Length: 52"),
        ] {
            let found = salvage(line.as_bytes());
            let all: Vec<_> = found.messages.iter().chain(&found.behind_text).collect();
            assert_eq!(all.len(), messages, "{line}: {found:?}");
            assert!(all.iter().all(|message| *message == ANSWER), "{line}");
            assert!(
                found.noise.starts_with(noise) && found.noise.is_empty() == (noise.is_empty() && messages > 0),
                "{line}: {found:?}"
            );
            assert!(all.is_empty() || found.lost.is_none());
        }
    }

    #[test]
    fn what_is_not_utf_8_is_replaced_and_all_else_stays() {
        let behind = salvage(format!("received {ANSWER}").as_bytes());
        assert!(behind.messages.is_empty() && behind.behind_text == [ANSWER] && behind.lost.is_none());
        assert_eq!(salvage(format!("{ANSWER} sent").as_bytes()).messages, [ANSWER]);
        let found = salvage(b"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"t\":\"a\xff\xfeb\xe2\x82\"}}");
        assert_eq!(
            found.messages,
            ["{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"t\":\"a\u{fffd}\u{fffd}b\u{fffd}\"}}"]
        );
        assert_eq!(found.quirks, [Quirk::NotUtf8]);
    }

    #[test]
    fn what_is_lost_says_whose_it_was() {
        let lost = |text: &str| salvage(text.as_bytes()).lost.map(|lost| (lost.id, lost.is_answer));
        let id = |id: &str| Some(id.to_owned());
        assert_eq!(lost(r#"{"jsonrpc":"2.0","id":7,"result":{"x":nan}}"#), Some((id("7"), true)));
        assert_eq!(lost(r#"{"result":{"id":3,"x":nan},"jsonrpc":"2.0","id":7}"#), Some((id("7"), true)));
        assert_eq!(lost(r#"{"jsonrpc":"2.0","id":"7","result":{"x":"#), Some((id("\"7\""), true)));
        assert_eq!(
            lost(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"x":nan}}"#),
            Some((None, false))
        );
        let found = salvage(br#"{"jsonrpc":"2.0","id":7,"result":{"NaN":[NaN,-Infinity,Infinity,"NaN"]}}"#);
        assert_eq!(found.messages, [r#"{"jsonrpc":"2.0","id":7,"result":{"NaN":[null,null,null,"NaN"]}}"#]);
        assert_eq!(found.quirks, [Quirk::NotANumber]);
        assert_eq!(lost(r#"{"jsonrpc":"2.0","result":{"text":"\"id\":3, "#), Some((None, true)));
        assert_eq!(lost(r#"{"jsonrpc":"2.0","id":3}"#), Some((id("3"), true)));
        assert_eq!(lost(r#"{"jsonrpc":"2.0","id":[3],"result":{}}"#), Some((None, true)));
        assert_eq!(lost("{oh no}"), None);
        assert_eq!(lost(r#"{"level":"info","msg":"connected","id":"abc"}"#), None, "a log");
        assert_eq!(lost(r#"{"level":30,"msg":"x","id":7}"#), None);
        assert_eq!(lost(r#"-> {"jsonrpc":"2.0","id":7,"result":{"con…"#), None, "somebody wrote it down");
        assert_eq!(lost(&format!("{{\"level\":\"info\",\"msg\":\"{}\"", "é".repeat(3000))), None);
        assert_eq!(lost("listening"), None);
        let large = format!("{{\"result\":{{\"t\":\"{}\"}},\"jsonrpc\":\"2.0\",\"id\":12}}", "x".repeat(9000));
        assert_eq!(lost_between(&large.as_bytes()[..4000], &large.as_bytes()[8000..]).id, id("12"));
        for (text, id) in [
            (r#"{"a":{"id":3}}"#, None),
            (r#""x"},"id" : 3 , "jsonrpc":"2.0"}"#, Some("3")),
            (r#""x"},"jsonrpc":"2.0","id":"3"}"#, Some("\"3\"")),
            (r#""x","id":3,"other":1}"#, None),
            (r#"\"id\":3}"#, None),
        ] {
            assert_eq!(last_id(text).as_deref(), id, "{text}");
        }
    }

    #[test]
    fn long_lines_take_no_time_to_speak_of() {
        for text in ["{".repeat(4 << 20), "{\"jsonrpc\"".repeat(400_000), "\"".repeat(4 << 20), "[".repeat(1 << 20)] {
            drop(salvage(text.as_bytes()));
        }
    }
}
