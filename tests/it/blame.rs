//! One agent's mistake, and one fault of trunkline's, are nobody else's.

use serde_json::Value;

use crate::support::{Agent, Daemon, error_of, eventually, kill, own_server, text_of};

fn echoes(agent: &mut Agent, id: u64) -> bool {
    text_of(&agent.call(&id.to_string(), "echo", "{}")).contains("echo")
}

#[test]
fn a_call_that_ends_the_server_is_refused_to_its_agent_alone() {
    let daemon = Daemon::start(&own_server("t", &["--tool=exit"]));
    let (mut bad, mut good) = (daemon.agent("t"), daemon.agent("t"));
    let mut refused = String::new();
    for id in 10..18 {
        assert!(echoes(&mut good, id), "round {id}");
        refused = error_of(&bad.call(&id.to_string(), "exit", r#"{"code":1}"#));
        if refused.contains("not sent again") {
            break;
        }
        eventually("it is back", || daemon.server("t")["state"] == "ready");
    }
    assert!(refused.contains("`exit`") && refused.contains("3 times"), "{refused}");
    assert!(echoes(&mut bad, 30), "its other calls go on");
    assert!(echoes(&mut good, 31));
    let starts = daemon.server("t")["starts"].clone();
    let mut all = daemon.agent_of_all();
    let error = error_of(&all.call("40", "t__exit", r#"{"code":1}"#));
    assert!(error.contains("stopped before it answered"), "another agent may try: {error}");
    eventually("it is back", || daemon.server("t")["state"] == "ready" && daemon.server("t")["starts"] != starts);
    daemon.run(&["restart", "t"]);
    let again = error_of(&bad.call("41", "exit", r#"{"code":1}"#));
    assert!(again.contains("stopped before it answered"), "a restart by hand allows it once more: {again}");
}

#[test]
fn one_end_counts_once_however_many_calls_it_ends() {
    let daemon = Daemon::start(&own_server("t", &["--tool=hold", "--tool=exit"]));
    let mut agent = daemon.agent("t");
    for id in 10..14 {
        agent.send_call(&id.to_string(), "hold", r#"{"key":"k"}"#);
    }
    agent.send_call("14", "exit", r#"{"code":1}"#);
    for _ in 10..15 {
        assert!(error_of(&agent.line()).contains("stopped before it answered"));
    }
    eventually("it is back", || daemon.server("t")["state"] == "ready");
    agent.send_call("20", "hold", r#"{"key":"k"}"#);
    assert!(agent.call("21", "release", r#"{"key":"k"}"#).contains("result"), "neither is blamed");
}

#[test]
fn there_are_never_more_processes_than_may_be() {
    let server = own_server("t", &[]).replace("[servers.t]\n", "[servers.t]\nshare = \"session\"\nmax_instances = 2\n");
    let daemon = Daemon::start(&server);
    let mut first: Vec<_> = (0..2).map(|_| daemon.agent("t")).collect();
    let pids: Vec<_> = first.iter_mut().map(Agent::server_pid).collect();
    for pid in pids {
        kill(pid);
    }
    let count = || daemon.server("t")["instances"].as_array().map_or(0, Vec::len);
    eventually("both are gone", || count() == 0);
    // Two others take the places before the pauses are over.
    let mut second: Vec<_> = (0..2).map(|_| daemon.attach("t")).collect();
    second.iter_mut().for_each(|agent| drop(agent.greet("{}")));
    let answers: Vec<_> = second.iter_mut().map(|agent| agent.call("2", "echo", "{}")).collect();
    let served = answers.iter().filter(|answer| answer.contains("result")).count();
    for _ in 0..400 {
        assert!(count() <= 2);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    drop(second);
    for (id, agent) in first.iter_mut().enumerate() {
        eventually("those that were first come back", || {
            agent.call(&(10 + id).to_string(), "echo", "{}").contains("result")
        });
    }
    assert!(served <= 2);
}

#[test]
fn a_fault_ends_one_session_or_one_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = crate::support::undisturbed(&format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n{}{}",
        own_server("t", &[]),
        own_server("other", &[])
    ));
    std::fs::write(folder.path().join("config.toml"), config).expect("written");
    let daemon = Daemon::start_with(folder, &[("TRUNKLINE_TEST_FAULT", "x-fault")]);
    let (mut bad, mut good, mut other) = (daemon.agent("t"), daemon.agent("t"), daemon.agent("other"));
    // In the task of an agent.
    bad.send(r#"{"jsonrpc":"2.0","id":7,"method":"x-fault"}"#);
    let last = bad.line();
    assert!(last.contains("a fault in trunkline") && last.contains("-32603"), "{last}");
    assert_eq!(bad.next(), None, "its connection is closed");
    assert!(echoes(&mut good, 2) && echoes(&mut other, 2));
    eventually("it has left", || daemon.status()["sessions"].as_array().is_some_and(|all| all.len() == 2));
    // Over HTTP.
    let endpoint = daemon.endpoint(Some("t"));
    let session = crate::support::http::begin(&endpoint);
    let headers = [("Mcp-Session-Id", session.as_str())];
    let answer = crate::support::http::post(&endpoint, &headers, r#"{"jsonrpc":"2.0","id":7,"method":"x-fault"}"#);
    assert_eq!(answer.status, 500, "{answer:?}");
    let ping = r#"{"jsonrpc":"2.0","id":8,"method":"ping"}"#;
    assert!(crate::support::http::post(&endpoint, &headers, ping).body.contains("result"));
    // In the task of a server.
    let frame = r#"{"jsonrpc":"2.0","method":"notifications/x-fault"}"#;
    let raw = serde_json::json!({ "frames": [frame] }).to_string();
    let error = error_of(&good.call("9", "raw", &raw));
    assert!(error.contains("a fault in trunkline"), "{error}");
    assert!(echoes(&mut other, 3), "the other server has not noticed");
    assert!(echoes(&mut good, 10), "and this one is back");
    assert!(daemon.log().contains("src/fault.rs"), "the log names the place: {}", daemon.log());
}

#[test]
fn a_storm_of_log_messages_ends_nobody() {
    let daemon = Daemon::start(&format!("[daemon]\nmax_frame = \"64KiB\"\n{}", own_server("t", &[])));
    let mut agent = daemon.agent("t");
    agent.pause();
    let text = "x".repeat(4_000);
    let message =
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"error","data":"{text}"}}}}"#);
    let answer = r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[{"type":"text","text":"done"}]}}"#;
    for id in 2..102 {
        let mut frames = vec![message.as_str(); 12];
        frames.push(answer);
        agent.send_call(&id.to_string(), "raw", &serde_json::json!({ "frames": frames }).to_string());
        if id == 60 {
            agent.resume();
        }
    }
    let (mut answers, mut told) = (0, 0);
    while answers < 100 {
        let line: Value = serde_json::from_str(&agent.line()).expect("JSON");
        answers += u32::from(line["result"].is_object());
        let data = line["params"]["data"].as_str().unwrap_or_default();
        told += u32::from(data.contains("log messages are left out here"));
    }
    assert!(told > 0, "what was left out is counted");
}
