//! A shim outlives its daemon: crash, `kill -9`, restart, shutdown.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Agent, Daemon, error_of, eventually, own_server, text_of};

const LIST: &str = r#"{"jsonrpc":"2.0","id":"l","method":"tools/list"}"#;

fn kill_daemon(daemon: &Daemon) -> u64 {
    let pid = daemon.status()["pid"].as_u64().expect("a pid");
    kill_process(Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid"), Signal::KILL).expect("killed");
    pid
}

#[test]
fn an_agent_works_on_after_kill_9() {
    let daemon = Daemon::not_started(&own_server("t", &[]));
    let mut agent = daemon.shim(&["t"]);
    agent.greet("{}");
    agent.ask(r#"{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"a:b"}}"#);
    let list = agent.ask(LIST);
    agent.send_call("\"held\"", "hold", r#"{"key":"k"}"#);
    eventually("the call is in flight", || daemon.server("t")["instances"][0]["in_flight"] == 1);
    let first = kill_daemon(&daemon);
    let error = error_of(&agent.answer("\"held\""));
    assert!(error.contains("daemon ended") && error.contains("not repeated"), "{error}");
    // No handshake, no reconnect: the agent notices nothing else.
    assert!(text_of(&agent.call("3", "echo", "{}")).contains("echo"));
    assert_eq!(agent.ask(LIST), list);
    assert_ne!(daemon.status()["pid"], first);
    let seen = text_of(&agent.call("4", "seen", r#"{"what":"resources/subscribe"}"#));
    assert!(seen.contains("a:b"), "subscribed again: {seen}");
    let session = &daemon.status()["sessions"][0];
    assert_eq!((session["server"].as_str(), session["era"].as_str()), (Some("t"), Some("legacy")));
    agent.close_input();
    assert_eq!(agent.wait().code(), Some(0));
}

#[test]
fn after_a_shutdown_it_waits_until_the_agent_wants_something() {
    let daemon = Daemon::not_started(&own_server("t", &[]));
    let mut agent = daemon.shim(&["t"]);
    agent.greet("{}");
    assert!(daemon.run(&["shutdown"]).status.success());
    assert_eq!(daemon.run(&["status"]).status.code(), Some(3), "nobody starts what was shut down");
    assert!(text_of(&agent.call("2", "echo", "{}")).contains("echo"));
    assert!(daemon.run(&["status"]).status.success());
    assert!(daemon.run(&["shutdown"]).status.success());
    // An agent that leaves meanwhile leaves for good.
    agent.close_input();
    assert_eq!(agent.wait().code(), Some(0));
}

#[test]
fn what_is_in_flight_at_a_shutdown_is_finished() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut agent = daemon.shim(&["t"]);
    agent.greet("{}");
    agent.send_call("1", "sleep", r#"{"ms":1500}"#);
    eventually("the call is in flight", || daemon.server("t")["instances"][0]["in_flight"] == 1);
    assert!(daemon.run(&["shutdown"]).status.success());
    assert_eq!(text_of(&agent.answer("1")), "slept");
}

#[test]
fn news_of_the_next_daemon_reach_the_agent() {
    let daemon = Daemon::not_started(&own_server("t", &[]));
    let mut agents = [daemon.shim(&["t"]), daemon.shim(&[])];
    for agent in &mut agents {
        agent.greet("{}");
        agent.ask(LIST);
    }
    assert!(daemon.run(&["shutdown"]).status.success());
    fs::write(daemon.folder().join("config.toml"), own_server("t", &["--tool=fresh"])).expect("written");
    for agent in &mut agents {
        agent.send(r#"{"jsonrpc":"2.0","id":8,"method":"ping"}"#);
        agent.until(|line| line.contains("notifications/tools/list_changed"));
        eventually("the new list", || agent.ask(LIST).contains("fresh"));
    }
}

#[test]
fn without_a_daemon_it_says_why() {
    let daemon = Daemon::not_started(&own_server("t", &[]));
    let mut agent = daemon.shim(&["t"]);
    agent.greet("{}");
    let good = fs::read_to_string(daemon.folder().join("config.toml")).expect("read");
    fs::write(daemon.folder().join("config.toml"), "[servers.t\ncommand = 1\n").expect("written");
    kill_daemon(&daemon);
    eventually("the reason is told", || {
        error_of(&agent.call("2", "echo", "{}")).contains("config.toml:1: not valid TOML")
    });
    fs::write(daemon.folder().join("config.toml"), good).expect("written");
    eventually("it works again", || agent.call("3", "echo", "{}").contains("content"));
}

#[test]
fn twenty_agents_survive_a_restart() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut agents: Vec<Agent> = (0..20).map(|_| daemon.shim(&["t"])).collect();
    for agent in &mut agents {
        agent.greet("{}");
    }
    let daemon = Daemon::start_in(daemon.restart());
    for agent in &mut agents {
        assert!(text_of(&agent.call("2", "echo", "{}")).contains("echo"));
    }
    eventually("all are back", || daemon.status()["sessions"].as_array().map(Vec::len) == Some(20));
    assert_eq!(daemon.server("t")["starts"], 1);
}

/// The daemon takes no more of an agent that leaves its answers lying: the shim must read while it tells what was held.
#[test]
fn much_that_was_held_is_all_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let names = folder.path().join("names");
    let all: Vec<_> = (0..12_000).map(|number| format!("tool_with_a_name_{number}\n")).collect();
    fs::write(&names, all.concat()).expect("written");
    // While it starts, its list is known, and answered at once.
    let words = [format!("--tools-in={}", names.display()), "--slow=3000".to_owned()];
    let daemon = Daemon::not_started(&own_server("t", &words.each_ref().map(String::as_str)));
    let mut agent = daemon.shim(&["t"]);
    agent.greet("{}");
    let list = agent.ask(LIST);
    assert!(list.len() > 1_000_000 && daemon.run(&["shutdown"]).status.success());
    let pad = "x".repeat(100_000);
    for id in 1..=60 {
        agent.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list","params":{{"pad":"{pad}"}}}}"#));
    }
    let answers = agent.answers(60);
    assert!(answers.values().all(|answer| answer.contains("tool_with_a_name_11999")), "{:?}", answers.keys());
    assert!(agent.ask(r#"{"jsonrpc":"2.0","id":61,"method":"ping"}"#).contains("result"));
}
