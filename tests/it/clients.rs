//! Published clients, directly and through the shim: they cannot tell the two apart.

use std::process::Command;

use crate::support::{Daemon, command, peers};

const EVERYTHING: &str = r#"[{"name":"echo","arguments":{"message":"hi"}},{"name":"trigger-long-running-operation","arguments":{"duration":0.2,"steps":5}},{"name":"get-structured-content","arguments":{"location":"Chicago"}}]"#;
const TIME: &str =
    r#"[{"name":"convert_time","arguments":{"source_timezone":"UTC","time":"12:00","target_timezone":"Asia/Tokyo"}}]"#;

fn daemon() -> Daemon {
    Daemon::start(&format!(
        "{}{}",
        peers::entry("everything", &peers::server("everything", &[]), ""),
        peers::entry("time", &peers::server("time", &[]), "")
    ))
}

/// Runs a client on a server's command line, and on the shim's.
fn same(client: &[&str], daemon: &Daemon, server: &str, calls: &str) {
    let run = |words: &[String]| {
        let mut client_command = Command::new(client[0]);
        // The shim finds its daemon by the environment.
        for (name, value) in command(daemon.folder()).get_envs() {
            client_command.env(name, value.unwrap_or_default());
        }
        let output =
            client_command.args(&client[1..]).args(words).env("PEER_CALLS", calls).output().expect("the client starts");
        assert!(output.status.success(), "{client:?} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let direct = run(&peers::server(server, &[]));
    let through = run(&[env!("CARGO_BIN_EXE_trunkline").to_owned(), "connect".to_owned(), server.to_owned()]);
    assert!(direct.len() > 500, "{direct}");
    assert_eq!(through, direct, "{client:?} on {server}");
}

#[test]
fn typescript() {
    let script = peers::folder().join("client.mjs").display().to_string();
    let daemon = daemon();
    same(&["node", &script, "legacy"], &daemon, "everything", EVERYTHING);
    same(&["node", &script, "auto"], &daemon, "everything", EVERYTHING);
    same(&["node", &script, "legacy"], &daemon, "time", TIME);
    same(&["node", &script, "auto"], &daemon, "time", TIME);
}

#[test]
fn python() {
    let script = peers::folder().join("client.py").display().to_string();
    let python = peers::python().display().to_string();
    let daemon = daemon();
    same(&[&python, &script], &daemon, "time", TIME);
    same(&[&python, &script], &daemon, "everything", EVERYTHING);
}

#[test]
fn inspector() {
    let inspector = peers::inspector().display().to_string();
    let daemon = daemon();
    for method in
        [&["tools/list"][..], &["prompts/list"], &["tools/call", "--tool-name", "echo", "--tool-arg", "message=hi"]]
    {
        let run = |target: &[String]| {
            let mut client = Command::new(&inspector);
            client.arg("--cli");
            for (name, value) in command(daemon.folder()).get_envs() {
                let Some(value) = value else { continue };
                let pair = format!("{}={}", name.to_string_lossy(), value.to_string_lossy());
                client.env(name, value).arg("-e").arg(pair);
            }
            let output = client.args(target).arg("--method").args(method).output().expect("the inspector starts");
            assert!(output.status.success(), "{target:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let direct = run(&peers::server("everything", &[]));
        let through = run(&[env!("CARGO_BIN_EXE_trunkline").to_owned(), "connect".to_owned(), "everything".to_owned()]);
        assert_eq!(through, direct, "{method:?}");
    }
}
