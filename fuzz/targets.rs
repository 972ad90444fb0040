//! What must hold for every input. `tests/it/fuzz.rs` runs each of these in every test run; `cargo fuzz` runs them where there is
//! a nightly toolchain (`fuzz/README.md`).

use serde_json::{Map, Value};
use trunkline::config::Config;
use trunkline::envelope::{Envelope, Kind, splice, text};
use trunkline::lists::ListKind;
use trunkline::mcp_headers;
use trunkline::names::{ServerName, split, split_uri};
use trunkline::upstream::catalog::{Catalogs, filtered, next_cursor, read_items};
use trunkline::wire::{Account, Frames, Outbox};

/// Takes any input, and panics where something does not hold.
pub(crate) type Target = fn(&[u8]);

/// Every target by its name.
pub(crate) const ALL: [(&str, Target); 5] = [
    ("frames", frames),
    ("envelopes", envelopes),
    ("readings", readings),
    ("configuration", configuration),
    ("lists", lists),
];

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(work)
}

/// Bytes are the same frames however they arrive, and none is longer than the cap.
pub(crate) fn frames(data: &[u8]) {
    const CAP: usize = 64;
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    let read = |pieces: usize| {
        block_on(async {
            let (mut near, far) = tokio::io::duplex(pieces);
            let sent = rest.to_vec();
            let sending = tokio::spawn(async move {
                let _gone = tokio::io::AsyncWriteExt::write_all(&mut near, &sent).await;
            });
            let mut frames = Frames::new(far, CAP, Account::alone(usize::MAX));
            let mut all = Vec::new();
            while let Ok(Some(frame)) = frames.next().await {
                assert!(frame.len() <= CAP && !frame.contains(&b'\n'));
                all.push(frame.to_vec());
            }
            drop(frames);
            sending.await.expect("sent");
            all
        })
    };
    assert_eq!(read(1 + usize::from(*first)), read(4096));
}

/// What is taken can be written under another id, and is then one line with the same meaning to every reader of lines.
pub(crate) fn envelopes(data: &[u8]) {
    let Ok(envelope) = Envelope::from_agent(data) else { return };
    // A number may be larger than this reader can hold.
    let Ok(before) = serde_json::from_str::<Value>(envelope.frame) else { return };
    let mut under = Vec::new();
    let mut edits = Vec::new();
    // An error need not have one.
    if envelope.kind != Kind::Notification && before.get("id").is_some() {
        edits.push(envelope.edit(envelope.id, "987654321"));
    }
    splice(envelope.frame, &mut edits, &mut under);
    let written = line(&under);
    assert_eq!(written.lines().count(), 1, "{written:?}");
    assert!(!written.trim_end_matches('\n').contains(['\r', '\n', '\u{85}', '\u{2028}', '\u{2029}']), "{written:?}");
    let again = Envelope::parse(written.trim_end_matches('\n').as_bytes()).expect("it stays a message");
    assert_eq!((again.kind, &again.method), (envelope.kind, &envelope.method));
    let mut after: Value = serde_json::from_str(&written).expect("JSON");
    if !edits.is_empty() {
        assert_eq!(after["id"], 987_654_321);
        after["id"] = before["id"].clone();
    }
    assert_eq!(before, after, "nothing but the id is another");
}

/// A message as it leaves.
pub(crate) fn line(frame: &[u8]) -> String {
    block_on(async {
        let outbox = Outbox::new(Account::alone(usize::MAX));
        outbox.push(frame.len(), |out| out.extend_from_slice(frame)).expect("taken");
        outbox.close();
        let mut written = Vec::new();
        outbox.write_to(&mut written).await.expect("written");
        String::from_utf8(written).expect("text")
    })
}

/// What trunkline routes by is what readers see who ignore case (Go's `encoding/json`, C#'s web defaults), who take the last of
/// several, or who know members by other spellings (pydantic).
pub(crate) fn readings(data: &[u8]) {
    let Ok(envelope) = Envelope::from_agent(data) else { return };
    let Ok(Value::Object(members)) = serde_json::from_str(envelope.frame) else { return };
    let params = members.get("params").and_then(Value::as_object).cloned().unwrap_or_default();
    let own = |raw: Option<&str>| raw.map(|raw| serde_json::from_str::<Value>(raw).expect("JSON"));
    if envelope.kind != Kind::Response {
        assert_eq!(
            loose(&members, "method"),
            Some(Value::from(envelope.method_name.to_string())),
            "{}",
            envelope.frame
        );
    }
    if envelope.kind != Kind::Notification {
        assert_eq!(loose(&members, "id").unwrap_or_default(), own(Some(envelope.id)).unwrap_or_default());
    }
    let read = &envelope.params;
    for (name, raw) in [
        ("name", read.name),
        ("uri", read.uri),
        ("taskId", read.task_id),
        ("requestId", read.request_id),
        ("progressToken", read.progress_token),
        ("cursor", read.cursor),
        ("_meta", read.meta_raw),
        ("arguments", read.arguments),
    ] {
        // To none of them, null is another value than none.
        let (theirs, ours) = (loose(&params, name).unwrap_or_default(), own(raw).unwrap_or_default());
        assert_eq!(theirs, ours, "`{name}` in {}", envelope.frame);
    }
    if let Some(Value::Object(meta)) = params.get("_meta") {
        let ours = own(read.meta.progress_token).unwrap_or_default();
        assert_eq!(loose(meta, "progressToken").unwrap_or_default(), ours, "{}", envelope.frame);
    }
    if let Some(name) = read.name.and_then(text) {
        let (server, tool) = split(&name).unwrap_or(("", &name));
        assert!(name.ends_with(tool) && name.starts_with(server));
    }
}

/// The last member that is `name` to somebody.
fn loose(members: &Map<String, Value>, name: &str) -> Option<Value> {
    let folded = |text: &str| -> String {
        text.chars()
            .filter(|letter| !matches!(letter, '_' | '-'))
            .map(|letter| match letter {
                '\u{17f}' => 's',
                '\u{212a}' => 'k',
                letter => letter.to_ascii_lowercase(),
            })
            .collect()
    };
    members
        .iter()
        .filter(|(_, value)| !value.is_null())
        .find_map(|(key, value)| (folded(key) == folded(name)).then(|| value.clone()))
}

/// Any text is a configuration, or has problems that have a place.
pub(crate) fn configuration(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for config in [Config::from_toml(&text), Config::from_json(&text)] {
        match config {
            Ok(config) => assert!(config.daemon.max_memory.0 >= config.daemon.max_frame.0),
            Err(problems) => assert!(!problems.is_empty()),
        }
    }
    if let Ok(name) = ServerName::parse(&text) {
        let qualified = name.qualify_uri("test://x");
        assert_eq!(split_uri(&qualified), Some((name.as_str(), "test://x")));
    }
}

/// What a server lists, and what a daemon finds on disk, is read or refused.
pub(crate) fn lists(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for kind in ListKind::ALL {
        let mut items = Vec::new();
        let _read = read_items(&text, kind, &mut items);
        for item in items {
            assert!(serde_json::from_str::<Value>(&item.renamed("other")).is_ok(), "{item:?}");
        }
        if let Some(kept) = filtered(&text, kind.member(), "name", |name| name.len() % 2 == 0) {
            assert!(serde_json::from_str::<Value>(&kept).is_ok(), "{kept}");
        }
    }
    let _cursor = next_cursor(&text);
    let _wrong = mcp_headers::read(&text, &mut mcp_headers::Annotated::new());
    if let Ok(mut catalogs) = serde_json::from_slice::<Catalogs>(data) {
        let _lists = ListKind::ALL.map(|kind| catalogs.lists(kind).len());
    }
}
