//! What trunkline routes by is what real servers read: the same messages, put to the SDKs of Python and TypeScript. `fuzz` does
//! the same with readers as Go's, C#'s and pydantic's documentation describe them.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use trunkline::envelope::{Envelope, Kind};

use crate::fuzz::{inputs, seed};
use crate::support::peers;
use crate::targets;

const MESSAGES: usize = 3_000;

/// A message as a server gets it, and what trunkline takes it for: method, id, name, uri, task, and whose cancellation it is.
fn messages() -> Vec<(String, [Value; 6])> {
    let config = Config { rng_seed: seed(0), ..Config::default() };
    let (mut runner, strategy) = (TestRunner::new(config), inputs("readings"));
    let mut all = Vec::new();
    while all.len() < MESSAGES {
        let input = strategy.new_tree(&mut runner).expect("an input").current();
        let Ok(envelope) = Envelope::from_agent(&input) else { continue };
        let value = |raw: Option<&str>| raw.map_or(Value::Null, |raw| serde_json::from_str(raw).unwrap_or_default());
        // A server gets ids of trunkline's own, which are whole numbers that every reader can hold.
        let is_plain = |raw: &str| raw.starts_with('"') || raw.parse::<i32>().is_ok();
        let numbers = [Some(envelope.id), envelope.params.request_id];
        if envelope.kind == Kind::Response || !numbers.into_iter().flatten().all(|id| id.is_empty() || is_plain(id)) {
            continue;
        }
        let params = &envelope.params;
        let seen = [
            envelope.method.to_string().into(),
            value(Some(envelope.id).filter(|id| !id.is_empty())),
            value(params.name),
            value(params.uri),
            value(params.task_id),
            value(params.request_id),
        ];
        all.push((targets::line(&input), seen));
    }
    all
}

fn compare(whose: &str, mut reader: Command) {
    let messages = messages();
    let mut child = reader.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the reader starts");
    let mut input = child.stdin.take().expect("piped");
    let text: String = messages.iter().map(|(line, _)| line.as_str()).collect();
    let writing = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writing.join().expect("no panic").expect("written");
    let read: Vec<Option<Vec<Value>>> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{whose}: {error}: {line}")))
        .collect();
    assert_eq!(read.len(), messages.len(), "{whose} reads as many messages as were sent");
    let mut taken = 0;
    for ((line, ours), theirs) in messages.iter().zip(&read) {
        // A reader may refuse more.
        let Some(theirs) = theirs else { continue };
        taken += 1;
        assert_eq!(theirs[..2], ours[..2], "{whose}: {line}");
        for (theirs, ours) in theirs.iter().zip(ours).skip(2) {
            assert!(theirs.is_null() || theirs == ours, "{whose} reads {theirs} and not {ours}: {line}");
        }
    }
    assert!(taken > MESSAGES / 10, "{whose} took {taken} of {MESSAGES}");
}

#[test]
fn the_python_sdk_reads_what_trunkline_reads() {
    let mut reader = Command::new(peers::python());
    reader.arg(peers::script("read.py"));
    compare("the Python SDK", reader);
}

#[test]
fn the_typescript_sdk_reads_what_trunkline_reads() {
    let mut reader = Command::new("node");
    let script: PathBuf = peers::script("read.mjs");
    reader.arg(script);
    compare("the TypeScript SDK", reader);
}
