//! Published clients on published servers, directly and through the daemon: they cannot tell the two apart.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Daemon, command, eventually, peers};

/// A server, and what to call of it.
struct Peer {
    name: &'static str,
    words: Vec<String>,
    tool: &'static str,
    arguments: Value,
}

/// The seven, working in `folder`.
fn servers(folder: &Path) -> Vec<Peer> {
    let place = folder.display().to_string();
    std::fs::write(folder.join("note.txt"), "hello\n").expect("written");
    let made = Command::new("git").args(["init", "-q", "-b", "main", &place]).status().expect("git starts");
    assert!(made.success());
    let peer = |name, arguments: &[&str], tool, call| Peer {
        name,
        words: peers::server(name, arguments),
        tool,
        arguments: call,
    };
    vec![
        peer("everything", &[], "echo", json!({ "message": "grüße \"x\"" })),
        peer("filesystem", &[&place], "read_text_file", json!({ "path": format!("{place}/note.txt") })),
        peer("memory", &[], "read_graph", json!({})),
        peer(
            "sequential-thinking",
            &[],
            "sequentialthinking",
            json!({ "thought": "one", "nextThoughtNeeded": false, "thoughtNumber": 1, "totalThoughts": 1 }),
        ),
        peer(
            "time",
            &[],
            "convert_time",
            json!({ "source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo" }),
        ),
        peer("git", &[], "git_status", json!({ "repo_path": place })),
        peer("fetch", &[], "fetch", json!({ "url": "http://127.0.0.1:9/" })),
    ]
}

/// How a client reaches a server.
enum Way<'a> {
    Command { words: &'a [String], environment: &'a [(String, String)] },
    Url { url: &'a str, token: &'a str },
}

/// Runs a client once; what it saw.
type Client = fn(&Way<'_>, &Peer, &Path) -> Value;

fn output(command: &mut Command) -> Value {
    let output = command.output().expect("the client starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Some exit with a status that says that a tool failed.
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{command:?}: {error}: {out}{err}"))
}

/// A client of our own on a published library, which does all by itself.
fn library(program: &[&str], way: &Way<'_>, peer: &Peer) -> Value {
    let mut client = Command::new(program[0]);
    client.args(&program[1..]);
    match way {
        Way::Command { words, environment } => {
            client.args(*words).envs(environment.iter().cloned());
        }
        Way::Url { url, token } => {
            client.arg(url).env("PEER_TOKEN", token);
        }
    }
    client.env("PEER_CALLS", json!([{ "name": peer.tool, "arguments": peer.arguments }]).to_string());
    output(&mut client)
}

fn same(client: Client, over_http: bool) {
    let folder: TempDir = tempfile::tempdir().expect("a folder");
    let peers = servers(folder.path());
    let entries: String = peers.iter().map(|peer| peers::entry(peer.name, &peer.words, "")).collect();
    let daemon = Daemon::start(&format!("[http]\nlisten = \"127.0.0.1:0\"\n{entries}"));
    let shim = command(daemon.folder());
    let environment = shim
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_string_lossy().into_owned(), value?.to_string_lossy().into_owned())));
    let environment: Vec<_> = environment.collect();
    for peer in &peers {
        let direct = client(&Way::Command { words: &peer.words, environment: &[] }, peer, folder.path());
        assert!(direct.to_string().len() > 300, "{}: {direct}", peer.name);
        let through = if over_http {
            let endpoint = daemon.endpoint(Some(peer.name));
            let url = format!("http://{}{}", endpoint.authority, endpoint.path);
            client(&Way::Url { url: &url, token: &endpoint.token }, peer, folder.path())
        } else {
            let words = [env!("CARGO_BIN_EXE_trunkline"), "connect", peer.name].map(str::to_owned);
            client(&Way::Command { words: &words, environment: &environment }, peer, folder.path())
        };
        assert_eq!(through, direct, "{}", peer.name);
    }
}

fn typescript(mode: &str, way: &Way<'_>, peer: &Peer) -> Value {
    let mut seen = library(&["node", &peers::folder().join("client.mjs").display().to_string(), mode], way, peer);
    if mode == "auto" {
        // In the modern era, which it speaks through trunkline, this client drops what only the legacy one has.
        for tool in seen["tools"].as_array_mut().into_iter().flatten() {
            tool.as_object_mut().map(|tool| tool.remove("execution"));
        }
    }
    seen
}

fn python(script: &str, way: &Way<'_>, peer: &Peer) -> Value {
    let (python, script) = (peers::python().display().to_string(), peers::folder().join(script).display().to_string());
    library(&[&python, &script], way, peer)
}

/// Records what a client does with a server through the daemon, and plays it back to the same client.
#[test]
fn a_recorded_session_is_replayed_to_the_typescript_client() {
    let folder: TempDir = tempfile::tempdir().expect("a folder");
    let peers = servers(folder.path());
    let entries: String = peers.iter().map(|peer| peers::entry(peer.name, &peer.words, "")).collect();
    let daemon = Daemon::start(&entries);
    let shim = command(daemon.folder());
    let environment: Vec<_> = shim
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_string_lossy().into_owned(), value?.to_string_lossy().into_owned())))
        .collect();
    for peer in peers.iter().filter(|peer| ["everything", "time"].contains(&peer.name)) {
        let words = |last: &[&str]| -> Vec<String> {
            std::iter::once(env!("CARGO_BIN_EXE_trunkline")).chain(last.iter().copied()).map(str::to_owned).collect()
        };
        let run = |words: &[String]| typescript("legacy", &Way::Command { words, environment: &environment }, peer);
        // It runs before the recording begins: what it said until then is in the recording all the same.
        let before = run(&words(&["connect", peer.name]));
        let place = folder.path().join(format!("{}.ndjson", peer.name)).display().to_string();
        let mut record = command(daemon.folder());
        let mut record = record.args(["record", peer.name, "-o", &place]).spawn().expect("starts");
        let written = || std::fs::read_to_string(&place).unwrap_or_default();
        eventually("the recording has begun", || written().contains("handshake"));
        let live = run(&words(&["connect", peer.name]));
        eventually("the call is in it", || written().contains(&format!("\"name\":\"{}\"", peer.tool)));
        let pid = i32::try_from(record.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signalled");
        assert!(record.wait().expect("waited").success());
        let replayed = run(&words(&["replay", &place]));
        assert_eq!((&replayed, &before), (&live, &live), "{}", peer.name);
    }
}

#[test]
fn the_typescript_client() {
    same(|way, peer, _| typescript("legacy", way, peer), false);
}

#[test]
fn the_typescript_client_that_prefers_the_modern_era() {
    same(|way, peer, _| typescript("auto", way, peer), false);
}

#[test]
fn the_typescript_client_over_http() {
    same(|way, peer, _| typescript("legacy", way, peer), true);
    same(|way, peer, _| typescript("auto", way, peer), true);
}

#[test]
fn the_python_client() {
    same(|way, peer, _| python("client.py", way, peer), false);
    same(|way, peer, _| python("client.py", way, peer), true);
}

#[test]
fn fastmcp() {
    same(|way, peer, _| python("fast.py", way, peer), false);
    same(|way, peer, _| python("fast.py", way, peer), true);
}

/// A client that is a program of its own, with options for a command and its environment.
fn stdio_only<'a>(way: &'a Way<'_>) -> (&'a [String], &'a [(String, String)]) {
    match way {
        Way::Command { words, environment } => (words, environment),
        Way::Url { .. } => panic!("this client is tried on a command only"),
    }
}

#[test]
fn inspector() {
    same(
        |way, peer, _| {
            let (words, environment) = stdio_only(way);
            let run = |method: &[String]| {
                let mut client = Command::new(peers::inspector());
                client.arg("--cli").envs(environment.iter().cloned());
                client.args(environment.iter().flat_map(|(name, value)| ["-e".to_owned(), format!("{name}={value}")]));
                output(client.args(words).arg("--method").args(method))
            };
            let mut call = vec!["tools/call".to_owned(), "--tool-name".to_owned(), peer.tool.to_owned()];
            for (name, value) in peer.arguments.as_object().into_iter().flatten() {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                call.extend(["--tool-arg".to_owned(), format!("{name}={value}")]);
            }
            json!([run(&["tools/list".to_owned()]), run(&call)])
        },
        false,
    );
}

#[test]
fn mcporter() {
    same(
        |way, peer, home| {
            let (words, environment) = stdio_only(way);
            let run = |what: &[&str]| {
                let mut client = Command::new(peers::program("mcporter"));
                client.env("HOME", home).arg(what[0]).args(["--stdio", &words[0]]);
                client.args(words[1..].iter().flat_map(|word| ["--stdio-arg", word]));
                client
                    .args(environment.iter().flat_map(|(name, value)| ["--env".to_owned(), format!("{name}={value}")]));
                output(client.args(["--name", "peer"]).args(&what[1..]))
            };
            let listed = run(&["list", "--json", "--schema"]);
            let arguments = peer.arguments.to_string();
            let called = run(&["call", "--tool", peer.tool, "--args", &arguments, "--output", "json"]);
            json!([listed["tools"], called])
        },
        false,
    );
}

#[test]
fn mcpc() {
    same(
        |way, peer, home| {
            let (words, environment) = stdio_only(way);
            let environment: serde_json::Map<_, _> =
                environment.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
            let servers =
                json!({ "mcpServers": { "peer": { "command": words[0], "args": words[1..], "env": environment } } });
            let file = home.join("servers.json");
            std::fs::write(&file, servers.to_string()).expect("written");
            let run = |words: &[&str]| {
                output(Command::new(peers::program("mcpc")).env("HOME", home).args(words).arg("--json"))
            };
            run(&["connect", &format!("{}:peer", file.display()), "@peer"]);
            let listed = run(&["@peer", "tools-list"]);
            let called = run(&["@peer", "tools-call", peer.tool, &peer.arguments.to_string()]);
            run(&["close", "@peer"]);
            json!([listed, called])
        },
        false,
    );
}
