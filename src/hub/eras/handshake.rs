//! What a server says of itself: `server/discover` in the modern era, `initialize` in the legacy one.

use super::object::{Object, put_first, put_last, without};
use crate::envelope::{Envelope, quoted, spliced, text};
use crate::era::{self, LEGACY_ALL, MODERN};

const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// The extension of the modern era that has tasks.
pub(in crate::hub) const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// The result of `server/discover` of a server that answered `initialize` with this frame.
pub(in crate::hub) fn discover_result(frame: &str) -> Option<String> {
    let envelope = Envelope::parse(frame.as_bytes()).ok()?;
    let Object(members) = serde_json::from_str(envelope.result?).ok()?;
    let find = |name: &str| members.iter().find(|(key, _)| key == name).map(|(_, raw)| raw.get());
    let capabilities = find("capabilities").unwrap_or("{}");
    // Tasks of the legacy era are not those of the modern one.
    let capabilities = without_tasks(capabilities);
    let info = format!(r#""{SERVER_INFO}":{}"#, find("serverInfo").unwrap_or("{}"));
    let meta = put_first(find("_meta").unwrap_or("{}"), &info);
    let rest = members.iter().filter(|(key, _)| {
        !matches!(
            &**key,
            "protocolVersion" | "capabilities" | "serverInfo" | "_meta" | "ttlMs" | "cacheScope" | "resultType"
        )
    });
    let rest: String = rest.map(|(key, raw)| format!(",{}:{raw}", quoted(key))).collect();
    Some(format!(
        r#"{{"resultType":"complete","supportedVersions":{},"capabilities":{capabilities}{rest},"ttlMs":0,"cacheScope":"private","_meta":{meta}}}"#,
        supported()
    ))
}

/// Every revision that trunkline serves an agent in, as a raw list.
pub(in crate::hub) fn supported() -> String {
    let all: Vec<_> = std::iter::once(MODERN).chain(era::LEGACY_ALL).map(quoted).collect();
    format!("[{}]", all.join(","))
}

/// The result of `initialize`, for an agent that speaks `version`, of a server that answered `server/discover` with this frame.
pub(in crate::hub) fn initialize_result(frame: &str, version: &str, server: &str) -> Option<String> {
    let envelope = Envelope::parse(frame.as_bytes()).ok()?;
    let Object(members) = serde_json::from_str(envelope.result?).ok()?;
    let find = |name: &str| members.iter().find(|(key, _)| key == name).map(|(_, raw)| raw.get());
    let Object(meta) = find("_meta").and_then(|meta| serde_json::from_str(meta).ok()).unwrap_or(Object(Vec::new()));
    let info = meta.iter().find(|(key, _)| key == SERVER_INFO).map(|(_, raw)| raw.get().to_owned());
    let info = info.unwrap_or_else(|| format!(r#"{{"name":{},"version":"unknown"}}"#, quoted(server)));
    let rest = members.iter().filter(|(key, _)| {
        !matches!(&**key, "supportedVersions" | "capabilities" | "serverInfo" | "ttlMs" | "cacheScope" | "resultType")
    });
    let rest: String = rest.map(|(key, raw)| format!(",{}:{raw}", quoted(key))).collect();
    let capabilities = without_tasks(find("capabilities").unwrap_or("{}"));
    Some(format!(r#"{{"protocolVersion":"{version}","capabilities":{capabilities},"serverInfo":{info}{rest}}}"#))
}

/// Capabilities, raw, without tasks: those of one era are not those of the other, so that across nobody offers any.
pub(in crate::hub) fn without_tasks(capabilities: &str) -> String {
    let rest = without(capabilities, &["tasks"]).unwrap_or_else(|| capabilities.to_owned());
    let Ok(Object(members)) = serde_json::from_str(&rest) else { return rest };
    let extensions = members.iter().find(|(key, _)| key == "extensions").map(|(_, raw)| raw.get());
    match extensions.and_then(|all| Some((all, without(all, &[EXTENSION])?))) {
        Some((all, left)) => rest.replacen(all, &left, 1),
        None => rest,
    }
}

/// A modern client's capabilities, raw, with tasks.
pub(in crate::hub) fn with_tasks(capabilities: &str) -> String {
    let Ok(Object(members)) = serde_json::from_str(capabilities) else { return capabilities.to_owned() };
    let own = members.iter().find(|(key, _)| key == "extensions").map(|(_, raw)| raw.get());
    let extensions = put_last(own.unwrap_or("{}"), &format!(r#""{EXTENSION}":{{}}"#));
    let mut all: Vec<_> =
        members.iter().map(|(key, raw)| (&**key, raw.get())).filter(|(key, _)| *key != "extensions").collect();
    all.push(("extensions", &extensions));
    let all: Vec<_> = all.into_iter().map(|(key, raw)| format!("{}:{raw}", quoted(key))).collect();
    format!("{{{}}}", all.join(","))
}

/// An answer to `initialize` under another id, in a revision that its agent asked for: processes are shared by agents that
/// ask for several, and a server answers none with a newer one than it knows.
pub(in crate::hub) fn greeting(frame: &str, id: &str, version: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Greeting<'a> {
        #[serde(borrow, rename = "protocolVersion")]
        version: Option<&'a serde_json::value::RawValue>,
    }
    let envelope = Envelope::parse(frame.as_bytes()).ok()?;
    let mut edits = vec![envelope.edit(envelope.id, id)];
    let own = quoted(version);
    let said: Option<Greeting<'_>> = envelope.result.and_then(|result| serde_json::from_str(result).ok());
    if let Some(raw) = said.and_then(|said| said.version).map(serde_json::value::RawValue::get)
        && LEGACY_ALL.contains(&version)
        && text(raw).is_some_and(|said| LEGACY_ALL.contains(&&*said) && *version < *said)
    {
        edits.push(envelope.edit(raw, &own));
    }
    Some(spliced(frame, edits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_era_hears_what_the_other_was_told() {
        let legacy = r#"{"jsonrpc":"2.0","id":1,"result":{"x-odd":[1E5],"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},"tasks":{},"x":{},"extensions":{"a":{},"io.modelcontextprotocol/tasks":{}}},"serverInfo":{"name":"a","version":"1"},"instructions":"Do."}}"#;
        let modern = discover_result(legacy).expect("translated");
        assert_eq!(
            modern,
            r#"{"resultType":"complete","supportedVersions":["2026-07-28","2025-11-25","2025-06-18","2025-03-26","2024-11-05"],"capabilities":{"tools":{"listChanged":true},"x":{},"extensions":{"a":{}}},"x-odd":[1E5],"instructions":"Do.","ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"a","version":"1"}}}"#
        );
        let frame = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{modern}}}"#);
        assert_eq!(
            initialize_result(&frame, "2025-06-18", "s").expect("translated"),
            r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":true},"x":{},"extensions":{"a":{}}},"serverInfo":{"name":"a","version":"1"},"x-odd":[1E5],"instructions":"Do.","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"a","version":"1"}}}"#
        );
        let bare = r#"{"id":1,"result":{"capabilities":{}}}"#;
        assert!(initialize_result(bare, "2025-06-18", "s").is_some_and(|result| result.contains(r#""name":"s""#)));
    }

    #[test]
    fn a_greeting_is_in_the_revision_that_was_asked_for() {
        let frame = |version: &str| format!(r#"{{"id":1,"result":{{"protocolVersion":"{version}","x":1}}}}"#);
        for (said, asked, expected) in [
            ("2025-11-25", "2025-06-18", "2025-06-18"),
            ("2025-11-25", "2025-11-25", "2025-11-25"),
            ("2024-11-05", "2025-06-18", "2024-11-05"),
            ("2025-11-25", "1999-01-01", "2025-11-25"),
        ] {
            let greeting = greeting(&frame(said), "7", asked).unwrap_or_default();
            assert_eq!(greeting, frame(expected).replace("\"id\":1", "\"id\":7"), "{said} {asked}");
        }
    }
}
