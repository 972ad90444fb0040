//! What trunkline routes by is what real servers read: the same messages, put to the SDKs of Python, TypeScript and Rust, to Go's
//! decoder and to Java's. `fuzz` does the same with readers as C#'s and pydantic's documentation describe them.
//!
//! `TRUNKLINE_FUZZ=600` has them read two hundred times as many.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use trunkline::envelope::{Envelope, Kind};

use crate::fuzz::{end, inputs, seed};
use crate::support::peers;
use crate::targets;

/// How many messages each reader gets for two seconds of `TRUNKLINE_FUZZ`.
const MESSAGES: usize = 3_000;

/// A message as a server gets it, and what trunkline takes it for: method, id, name, uri, task, and whose cancellation it is.
fn messages(round: u64) -> Vec<(String, [Value; 6])> {
    let config = Config { rng_seed: seed(round), ..Config::default() };
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
            envelope.method_name.to_string().into(),
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

/// Puts messages to a reader, which says of each what it is to it, or null, for as long as inputs are tried.
fn compare(whose: &str, read: impl Fn(&str) -> Vec<Value>) {
    let until = end();
    for round in 0.. {
        compare_once(whose, &read, round);
        if Instant::now() > until {
            return;
        }
    }
}

fn compare_once(whose: &str, read: impl Fn(&str) -> Vec<Value>, round: u64) {
    let messages = messages(round);
    let read = read(&messages.iter().map(|(line, _)| line.as_str()).collect::<String>());
    assert_eq!(read.len(), messages.len(), "{whose} reads as many messages as were sent");
    let mut taken = 0;
    for ((line, ours), theirs) in messages.iter().zip(&read) {
        // A reader may refuse more.
        let Value::Array(theirs) = theirs else { continue };
        taken += 1;
        assert!(
            theirs.iter().zip(ours).take(2).all(|(theirs, ours)| is_same(theirs, ours)),
            "{whose} reads {theirs:?}: {line}"
        );
        for (theirs, ours) in theirs.iter().zip(ours).skip(2) {
            assert!(theirs.is_null() || is_same(theirs, ours), "{whose} reads {theirs} and not {ours}: {line}");
        }
    }
    assert!(taken > MESSAGES / 10, "{whose} took {taken} of {MESSAGES}");
}

/// Whether two values are one; to some readers, all numbers are of one kind.
fn is_same(one: &Value, other: &Value) -> bool {
    one == other || one.as_f64().is_some_and(|number| other.as_f64() == Some(number))
}

/// A reader in another process: lines in, lines out.
fn process(command: &mut Command, text: &str) -> Vec<Value> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the reader starts");
    let (mut input, text) = (child.stdin.take().expect("piped"), text.to_owned());
    let writing = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writing.join().expect("no panic").expect("written");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn the_python_sdk_reads_what_trunkline_reads() {
    let script = peers::script("read.py");
    compare("the Python SDK", |text| process(Command::new(peers::python()).arg(&script), text));
}

#[test]
fn the_typescript_sdk_reads_what_trunkline_reads() {
    let script = peers::script("read.mjs");
    compare("the TypeScript SDK", |text| process(Command::new("node").arg(&script), text));
}

#[test]
fn the_decoder_of_go_reads_what_trunkline_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let reader = folder.path().join("read");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&reader).arg(peers::script("read.go"));
    let built = build.env("GOCACHE", folder.path().join("cache")).env("GO111MODULE", "off").output();
    let built = built.expect("go starts: install it (tests/run; Debian: sudo apt-get install golang-go)");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    compare("Go's decoder", |text| process(&mut Command::new(&reader), text));
}

#[test]
fn jackson_reads_what_trunkline_reads() {
    let jars = ["databind", "core", "annotations"].map(|part| format!("/usr/share/java/jackson-{part}.jar")).join(":");
    let folder = tempfile::tempdir().expect("a folder");
    let mut build = Command::new("javac");
    build.args(["-cp", &jars, "-d"]).arg(folder.path()).arg(peers::script("Read.java"));
    let built = build.output().expect("javac starts: install it (tests/run; Debian: openjdk-17-jdk-headless)");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let path = format!("{jars}:{}", folder.path().display());
    compare("Java's reader", |text| process(Command::new("java").args(["-cp", &path, "Read"]), text));
}

#[test]
fn the_rust_sdk_reads_what_trunkline_reads() {
    compare("rmcp", |text| text.lines().map(by_rmcp).collect());
}

/// What a line is to a server on rmcp.
fn by_rmcp(line: &str) -> Value {
    let Ok(message) = serde_json::from_str::<rmcp::model::ClientJsonRpcMessage>(line) else { return Value::Null };
    let written = serde_json::to_value(message).unwrap_or_default();
    let params = &written["params"];
    let inside = ["name", "uri", "taskId", "requestId"].map(|name| params[name].clone());
    let text = |value: Value| if value.is_string() || value.is_number() { value } else { Value::Null };
    let seen = [written["method"].clone(), written["id"].clone()].into_iter().chain(inside.map(text));
    Value::Array(seen.collect())
}
