//! The targets of `fuzz/`, each for a while: inputs put together from words that mean something, from the corpus, and from noise.
//!
//! `TRUNKLINE_FUZZ=600` has each go on for ten minutes instead of two seconds. A finding is made small before it is shown; put it
//! into the corpus.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::support::{Daemon, eventually, own_server, text_of};
use crate::targets;

/// Words of messages, lists and configurations, in spellings that readers take for each other.
const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\n",
    "\r",
    "\r\n",
    " ",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "null",
    "true",
    "0",
    "1",
    "-1e5",
    "1.0",
    "\"a\"",
    "\"\\u0041\"",
    "\"jsonrpc\":\"2.0\",",
    "\"id\":1,",
    "\"id\":\"1\",",
    "\"ID\":2,",
    "\"\\u0049d\":2,",
    "\"method\":\"tools/call\",",
    "\"method\":\"notifications/cancelled\",",
    "\"Method\":\"ping\",",
    "\"method\":\"ping\",",
    "\"params\":{",
    "\"Params\":{",
    "\"param\u{17f}\":{",
    "\"name\":\"echo\",",
    "\"Name\":\"deny\",",
    "\"na_me\":\"deny\",",
    "\"uri\":\"x://y\",",
    "\"taskId\":\"t\",",
    "\"task_id\":\"t\",",
    "\"TaskID\":null,",
    "\"requestId\":1,",
    "\"request_id\":2,",
    "\"progressToken\":1,",
    "\"progress_token\":2,",
    "\"progressTo\u{212a}en\":2,",
    "\"_meta\":{",
    "\"meta\":{",
    "\"arguments\":{}",
    "\"result\":{}",
    "\"error\":{\"code\":1,\"message\":\"\"}",
    "\"tools\":[",
    "\"prompts\":[",
    "\"nextCursor\":\"2\",",
    "\"inputSchema\":{\"properties\":{\"a\":{\"x-mcp-header\":\"A\",\"type\":\"string\"}}}",
    "[servers.a]\n",
    "[daemon]\n",
    "command = \"x\"\n",
    "max_frame = \"1MiB\"\n",
    "max_memory = \"8MiB\"\n",
    "url = \"http://h\"\n",
    "\"mcpServers\":{",
    "\"command\":\"x\"",
    "env = { A = \"${env:B}\" }\n",
    "share = \"all\"\n",
    "__",
    "trunkline://a/b",
];

/// A message: its envelope is whole, and what stands in it is anything.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let word = (0..WORDS.len()).prop_map(|at| WORDS[at].to_owned());
    let members = vec(word, 0..8).prop_map(|words| words.concat());
    (members.clone(), members.clone(), members).prop_map(|(before, params, after)| {
        format!("{{{before}\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/call\",\"params\":{{{params}\"x\":1}},{after}\"z\":0}}")
            .into_bytes()
    })
}

fn soup() -> impl Strategy<Value = Vec<u8>> {
    let word = (0..WORDS.len()).prop_map(|at| WORDS[at].as_bytes().to_vec());
    let noise = vec(any::<u8>(), 1..6);
    vec(prop_oneof![8 => word, 1 => noise], 0..24).prop_map(|parts| parts.concat())
}

/// One from the corpus, with some words put into it and some bytes taken out.
fn mutated(corpus: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), 0..4_usize, 0..WORDS.len());
    (0..corpus.len(), vec(edit, 0..4)).prop_map(move |(at, edits)| {
        let mut bytes = corpus[at].clone();
        for (place, taken, word) in edits {
            let from = place.index(bytes.len() + 1);
            let to = (from + taken).min(bytes.len());
            bytes.splice(from..to, WORDS[word].bytes());
        }
        bytes
    })
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    files.map(|file| fs::read(file.expect("a file").path()).expect("read")).collect()
}

pub(crate) fn inputs(target: &str) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![2 => message(), 2 => soup(), 3 => mutated(corpus(target))]
}

/// Where inputs begin: at the same place each time, so that a run tells of the change and not of luck; elsewhere with
/// `TRUNKLINE_FUZZ_SEED`.
pub(crate) fn seed(round: u64) -> RngSeed {
    let from = std::env::var("TRUNKLINE_FUZZ_SEED").ok().and_then(|seed| seed.parse::<u64>().ok()).unwrap_or(0);
    RngSeed::Fixed(from.wrapping_add(round))
}

/// When a target has been tried for long enough.
pub(crate) fn end() -> Instant {
    let seconds = std::env::var("TRUNKLINE_FUZZ").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(2);
    Instant::now() + Duration::from_secs(seconds)
}

fn run(target: &str) {
    let until = end();
    let (_, check) = targets::ALL.into_iter().find(|(name, _)| *name == target).expect("a target");
    corpus(target).iter().for_each(|input| check(input));
    for round in 0.. {
        if Instant::now() > until {
            return;
        }
        let config = Config { cases: 256, rng_seed: seed(round), failure_persistence: None, ..Config::default() };
        let tried = TestRunner::new(config).run(&inputs(target), |input| {
            check(&input);
            Ok(())
        });
        if let Err(finding) = tried {
            panic!("{target}: {finding}");
        }
    }
}

#[test]
fn frames() {
    run("frames");
}

#[test]
fn envelopes() {
    run("envelopes");
}

#[test]
fn readings() {
    run("readings");
}

#[test]
fn configuration() {
    run("configuration");
}

#[test]
fn lists() {
    run("lists");
}

/// Parts of requests over HTTP.
const HEADS: &[&str] = &[
    "GET ",
    "POST ",
    "DELETE ",
    "OPTIONS ",
    "/mcp",
    "/mcp/t",
    "/mcp/%74",
    "/metrics",
    "http://evil/mcp",
    "*",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    "Host: 127.0.0.1\r\n",
    "Host: evil\r\n",
    "Origin: http://evil\r\n",
    "Content-Type: application/json\r\n",
    "Accept: text/event-stream\r\n",
    "Content-Length: 10\r\n",
    "Content-Length: 99999999999999999999\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Expect: 100-continue\r\n",
    "Mcp-Session-Id: x\r\n",
    "MCP-Protocol-Version: 2026-07-28\r\n",
    "Last-Event-ID: 1-2-3\r\n",
    "\r\n",
    "5\r\n{\"id\"\r\n0\r\n\r\n",
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
];

#[test]
fn whatever_comes_through_its_doors_the_daemon_stands() {
    let daemon = Daemon::start(&format!("[http]\nlisten = \"127.0.0.1:0\"\n{}", own_server("t", &[])));
    let endpoint = daemon.endpoint(None);
    let bearer = format!("Authorization: Bearer {}\r\n", endpoint.token);
    let attach = b"{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"daemon.attach\",\"params\":{\"server\":\"t\"}}\n";
    let (until, mut tried) = (end(), 0_u32);
    let config = Config { rng_seed: seed(0), ..Config::default() };
    let (mut runner, frames) = (TestRunner::new(config), vec(inputs("envelopes"), 1..6));
    while Instant::now() < until {
        let frames = frames.new_tree(&mut runner).expect("an input").current().join(&b"\n"[..]);
        let mut agent = UnixStream::connect(daemon.socket()).expect("connected");
        if tried % 2 == 0 {
            agent.write_all(attach).expect("sent");
        }
        // Who says too much nonsense is cut off.
        drop(agent.write_all(&frames).and_then(|()| agent.shutdown(std::net::Shutdown::Write)));
        let mut head: String = (0..fastrand::usize(1..8)).map(|_| HEADS[fastrand::usize(..HEADS.len())]).collect();
        if tried % 3 == 0 {
            head = format!("POST /mcp/t HTTP/1.1\r\nHost: {}\r\n{bearer}{head}", endpoint.authority);
        }
        let mut client = TcpStream::connect(&endpoint.authority).expect("connected");
        drop(client.write_all(head.as_bytes()).and_then(|()| client.write_all(&frames)));
        drop(client.shutdown(std::net::Shutdown::Write));
        client.set_read_timeout(Some(Duration::from_millis(50))).expect("set");
        let _answer = client.read(&mut [0; 1024]);
        tried += 1;
    }
    assert!(tried > 5, "{tried}");
    assert!(text_of(&daemon.agent("t").call("1", "echo", "{}")).contains("echo"));
    assert!(!daemon.log().contains("a fault in trunkline"), "{}", daemon.log());
    eventually("all have left", || daemon.status()["sessions"].as_array().is_some_and(Vec::is_empty));
}
