//! `connect`: starts a daemon when none runs, and is otherwise not there.

use crate::support::{Agent, Daemon, eventually, legacy, own_server, text_of};

#[test]
fn a_hundred_shims_start_one_daemon() {
    let daemon = Daemon::not_started(&own_server("t", &[]));
    let mut shims: Vec<Agent> = (0..100).map(|_| daemon.shim(&["t"])).collect();
    for shim in &mut shims {
        shim.send(&legacy("{}"));
    }
    for shim in &shims {
        assert!(shim.answer("1").contains("protocolVersion"));
    }
    let pids: std::collections::BTreeSet<_> = shims.iter_mut().map(Agent::server_pid).collect();
    assert_eq!(pids.len(), 1, "all share one server");
    let status = daemon.status();
    assert_eq!(status["sessions"].as_array().map(Vec::len), Some(100));
    let log = std::fs::read_to_string(daemon.folder().join("state/logs/daemon.log")).expect("a log");
    assert_eq!(log.matches("trunkline is up").count(), 1, "{log}");
    assert_eq!(log.matches("already running").count(), 0, "only one was ever started");
}

#[test]
fn it_attaches_with_its_folder_and_name_and_exits_0_when_its_input_closes() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut shim = daemon.shim(&["t", "--client", "me"]);
    shim.greet("{}");
    let session = daemon.status()["sessions"][0].clone();
    let folder = daemon.folder().canonicalize().expect("there");
    assert_eq!(
        (session["name"].clone(), session["cwd"].clone(), session["era"].clone()),
        ("me".into(), folder.display().to_string().into(), "legacy".into())
    );
    assert_eq!(session["pid"], shim.child_id());
    shim.send_call("2", "echo", "{}");
    shim.close_input();
    assert!(shim.answer("2").contains("content"), "what was asked is still answered");
    assert_eq!(shim.wait().code(), Some(0));
    eventually("the session is gone", || daemon.status()["sessions"] == serde_json::json!([]));
}

#[test]
fn a_shim_whose_agent_was_killed_cancels_its_calls_at_once() {
    let daemon = Daemon::start(&(own_server("t", &[]) + "share = \"all\"\n"));
    let mut watcher = daemon.agent("t");
    let mut shim = daemon.shim(&["t"]);
    shim.greet("{}");
    shim.send_call("2", "hold", r#"{"key":"k"}"#);
    eventually("it is in flight", || daemon.server("t")["instances"][0]["in_flight"] == 1);
    drop(shim);
    eventually("it is cancelled", || {
        text_of(&watcher.call("3", "seen", r#"{"what":"notifications/cancelled"}"#)).contains("the agent left")
    });
}

#[test]
fn what_cannot_work_is_said_in_one_line() {
    let daemon = Daemon::not_started("[servers.x\ncommand = 1\n");
    let broken = daemon.run(&["connect", "x"]);
    assert_eq!(broken.status.code(), Some(1));
    let words = String::from_utf8_lossy(&broken.stderr);
    assert!(words.contains("the daemon did not start") && words.contains("config.toml:1: not valid TOML"), "{words}");
    let daemon = Daemon::start(&own_server("t", &[]));
    let unknown = daemon.run(&["connect", "tt"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("did you mean `t`?"));
}
