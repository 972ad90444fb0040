//! Logins that Codex keeps, taken over.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::keyring::{Keyring, Lock};
use crate::support::{AuthServer, Daemon, command, text_of};

fn take_over(daemon: &Daemon) -> Output {
    let home = daemon.folder().join("codex");
    let mut run = command(daemon.folder());
    run.args(["login", "guarded", "--from", "codex"]).env("CODEX_HOME", home).output().expect("the program starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn sub(daemon: &Daemon) -> Value {
    serde_json::from_str::<Value>(&text_of(&daemon.agent("guarded").call("1", "whoami", "{}"))).expect("JSON")["sub"]
        .take()
}

#[test]
fn from_its_file_and_refreshed_from_then_on() {
    let server = AuthServer::start();
    let (client, tokens) = server.login_of_another();
    let daemon = Daemon::start(&server.entry("guarded", ""));
    let none = take_over(&daemon);
    assert!(!none.status.success() && said(&none).contains("Codex keeps no login for it"), "{}", said(&none));
    let entry = |url: &str| {
        json!({
            "server_name": "other name", "server_url": url, "client_id": client, "access_token": "long gone",
            "expires_at": 1_000, "refresh_token": tokens["refresh_token"], "scopes": ["mcp"],
        })
    };
    fs::create_dir(daemon.folder().join("codex")).expect("made");
    let file = daemon.folder().join("codex/.credentials.json");
    fs::write(&file, "{\"canary\": 1}").expect("written");
    let broken = take_over(&daemon);
    assert!(said(&broken).contains("not as Codex writes it") && !said(&broken).contains("canary"), "{}", said(&broken));
    let entries = json!({ "a": entry("https://other.example/mcp"), "b": entry(&server.mcp) });
    fs::write(&file, entries.to_string()).expect("written");
    let taken = take_over(&daemon);
    assert!(taken.status.success() && said(&taken).contains("Codex still has this login"), "{}", said(&taken));
    assert_eq!(sub(&daemon), "tester");
    assert_eq!(server.grants("refresh_token").len(), 1, "with the refresh token that was taken over");
}

#[test]
fn from_the_keyring() {
    let (server, keyring) = (AuthServer::start(), Keyring::start(Lock::Unlocked));
    let (client, tokens) = server.login_of_another();
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("config.toml"), server.entry("guarded", "")).expect("written");
    let bus = ("DBUS_SESSION_BUS_ADDRESS", keyring.address.as_str());
    let daemon = Daemon::start_with(folder, &[bus]);
    // Under the name that Codex would give it, with the attributes that its library sets.
    let named = r#"import sys, hashlib, json
key = json.dumps({"type": "http", "url": sys.argv[1], "headers": {}}, separators=(",", ":"))
print("guarded|" + hashlib.sha256(key.encode()).hexdigest()[:16])"#;
    let account = Command::new("python3").args(["-c", named, &server.mcp]).output().expect("python3 starts").stdout;
    let account = String::from_utf8(account).expect("text").trim().to_owned();
    let mut store = Command::new("secret-tool");
    store.args(["store", "--label=x", "service", "Codex MCP Credentials", "username", &account]);
    store.args(["target", "default", "application", "rust-keyring"]);
    let mut store = store.env(bus.0, bus.1).stdin(Stdio::piped()).spawn().expect("secret-tool starts: run `tests/run`");
    let entry = json!({
        "server_name": "guarded", "url": server.mcp, "client_id": client, "token_response": tokens,
    });
    write!(store.stdin.take().expect("piped"), "{entry}").expect("sent");
    assert!(store.wait().expect("waited").success());
    let taken = take_over(&daemon);
    assert!(taken.status.success(), "{}", said(&taken));
    assert_eq!(sub(&daemon), "tester");
}
