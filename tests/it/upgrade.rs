//! The program is replaced while agents are attached: they go on, and with the new one.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Agent, Daemon, command, eventually, own_server, text_of, undisturbed};

/// A program of the test's own, which it may replace.
fn copy(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    // Another process writes it: one that is forked meanwhile would keep the file busy.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_trunkline")).arg(&path).status().expect("cp runs");
    assert!(copied.success());
    path
}

/// As every package manager does.
fn replace(program: &Path) {
    let new = copy(program.parent().expect("a folder"), "new");
    fs::rename(new, program).expect("renamed");
}

fn by(program: &Path, folder: &Path) -> Command {
    let own = command(folder);
    let mut command = Command::new(program);
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?)))).stderr(Stdio::null());
    command.current_dir(folder);
    command
}

#[test]
fn a_shim_starts_what_stands_in_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::not_started(&own_server("t", &[]));
    let program = copy(folder.path(), "trunkline");
    let mut agent = Agent::process(by(&program, daemon.folder()).args(["connect", "t"]));
    agent.greet("{}");
    let first = daemon.status()["pid"].clone();
    for gone in [false, true] {
        if gone {
            // Not in its place, but in PATH: the shim was not told of another one.
            fs::remove_file(&program).expect("removed");
        } else {
            replace(&program);
        }
        assert!(daemon.run(&["shutdown"]).status.success());
        let answer = agent.call("2", "echo", "{}");
        if gone {
            assert!(answer.contains("is gone") || answer.contains("echo"), "{answer}");
        } else {
            assert!(answer.contains("echo"), "{answer}");
            assert_ne!(daemon.status()["pid"], first);
        }
    }
}

#[test]
fn a_daemon_gives_way_when_nothing_is_in_flight() {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::not_started(&own_server("t", &[]));
    let program = copy(folder.path(), "trunkline");
    let mut agent = Agent::process(by(&program, daemon.folder()).args(["connect", "t"]));
    agent.greet("{}");
    agent.send_call("1", "hold", r#"{"key":"k"}"#);
    eventually("the call is in flight", || daemon.server("t")["instances"][0]["in_flight"] == 1);
    let (pid, server) = (daemon.status()["pid"].clone(), daemon.server("t")["instances"][0]["pid"].clone());
    replace(&program);
    eventually("it says so", || {
        daemon.status()["replaced"].as_str().is_some_and(|words| words.contains("when nothing is in flight"))
    });
    assert_eq!(daemon.server("t")["instances"][0]["pid"], server, "a call is not cut");
    agent.send_call("2", "release", r#"{"key":"k"}"#);
    agent.answers(2);
    let log = || fs::read_to_string(daemon.folder().join("state/logs/daemon.log")).unwrap_or_default();
    eventually("the new one is up", || log().matches("trunkline is up").count() == 2);
    assert!(log().contains("giving way"), "{}", log());
    assert!(text_of(&agent.call("3", "echo", "{}")).contains("echo"), "the agent did not notice");
    let status = daemon.status();
    assert_eq!(
        (&status["pid"], &status["replaced"]),
        (&pid, &Value::Null),
        "whoever watches the process does not either"
    );
}

#[test]
fn it_does_not_where_that_is_not_wanted_or_the_new_one_does_not_run() {
    let folder = tempfile::tempdir().expect("a folder");
    for (upgrade, new, expected) in
        [("never", "", "trunkline shutdown"), ("idle", "#!/bin/sh\nexit 1\n", "does not run")]
    {
        let config = format!("[daemon]\nupgrade = {upgrade:?}\n{}", own_server("t", &[]));
        let daemon = Daemon::not_started(&config);
        let program = copy(folder.path(), upgrade);
        let mut agent = Agent::process(by(&program, daemon.folder()).args(["connect", "t"]));
        agent.greet("{}");
        let started = daemon.status()["uptime"].as_u64();
        if new.is_empty() {
            replace(&program);
        } else {
            let file = folder.path().join("broken");
            fs::write(&file, new).expect("written");
            fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("changed");
            fs::rename(&file, &program).expect("renamed");
        }
        eventually("it says what it does", || {
            daemon.status()["replaced"].as_str().is_some_and(|words| words.contains(expected))
        });
        assert!(daemon.status()["uptime"].as_u64() >= started, "the same one runs");
        assert!(text_of(&agent.call("3", "echo", "{}")).contains("echo"));
    }
}

/// What a shim of 0.1.0 says first, and what a daemon of 0.1.0 takes: this is a frozen copy, not to be changed.
const FROZEN: [&str; 4] = ["client", "cwd", "profile", "server"];
/// What a shim says besides: a daemon of 0.1.0 passes over what it does not know and takes for no slip of these.
const SINCE: [&str; 2] = ["folder", "host"];

#[test]
fn a_shim_of_before_is_understood() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut agent = Agent::socket(&daemon.socket());
    let reply = agent
        .ask(r#"{"jsonrpc":"2.0","id":0,"method":"daemon.attach","params":{"server":"t","cwd":"/","client":"a"}}"#);
    let reply: Value = serde_json::from_str(&reply).expect("JSON");
    assert!(reply["result"]["session"].is_u64() && reply["result"]["version"].is_string(), "{reply}");
    // One of later on may say more.
    let mut agent = Agent::socket(&daemon.socket());
    let reply = agent.ask(r#"{"jsonrpc":"2.0","id":0,"method":"daemon.attach","params":{"server":"t","later":1}}"#);
    assert!(reply.contains(r#""session":"#), "{reply}");
}

#[test]
fn a_daemon_of_before_is_understood() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("run")).expect("created");
    fs::set_permissions(folder.path().join("run"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .expect("changed");
    fs::write(folder.path().join("config.toml"), undisturbed("")).expect("written");
    let listener = UnixListener::bind(folder.path().join("run/trunkline.sock")).expect("bound");
    let before = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        let mut write = stream.try_clone().expect("cloned");
        let mut lines = BufReader::new(stream).lines();
        let attach: Value = serde_json::from_str(&lines.next().expect("a line").expect("read")).expect("JSON");
        let known = attach["params"]
            .as_object()
            .expect("an object")
            .keys()
            .all(|name| FROZEN.iter().chain(&SINCE).any(|known| known == name));
        assert!(attach["method"] == "daemon.attach" && known, "{attach}");
        writeln!(write, r#"{{"jsonrpc":"2.0","id":0,"result":{{"session":1,"version":"0.1.0"}}}}"#).expect("written");
        let first = lines.next().expect("a line").expect("read");
        assert!(first.contains("initialize"), "{first}");
        writeln!(write, r#"{{"jsonrpc":"2.0","id":1,"result":{{"protocolVersion":"2025-06-18"}}}}"#).expect("written");
    });
    let mut agent = Agent::process(command(folder.path()).arg("connect").current_dir(folder.path()));
    assert!(agent.ask(&crate::support::legacy("{}")).contains("2025-06-18"));
    before.join().expect("what a daemon of before takes");
}
