//! Servers over HTTP that have lost a session: it is begun anew, once for all, and what was asked in the old one is void.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::support::mock::{Mock, greet, result, text};
use crate::support::{Daemon, eventually, id_of, text_of};

#[test]
fn a_session_that_the_server_lost_is_begun_once_for_all_who_wait() {
    lose_the_session(404, "");
}

/// As servers made after the TypeScript SDK's examples do, when they were started anew.
#[test]
fn a_bad_request_that_speaks_of_the_session_means_that_it_is_lost() {
    lose_the_session(
        400,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#,
    );
}

fn lose_the_session(status: u16, body: &'static str) {
    let sessions = Arc::new(AtomicUsize::new(0));
    let count = sessions.clone();
    let mock = Mock::start(move |request, reply| {
        if request.rpc() == "initialize" {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let session = format!("s{}", count.load(Ordering::Relaxed));
        if greet(request, reply, &session) {
            return;
        }
        let known = request.header("mcp-session-id") == Some(&session)
            && (session != "s1" || request.json()["params"]["name"] != "lose");
        match known {
            true if request.rpc() == "tools/call" => reply.json(&text(request, &session)),
            true => reply.json(&result(request, &json!({}))),
            false => reply.answer(status, "", body),
        }
    });
    let daemon = Daemon::start(&mock.entry(""));
    let mut agents: Vec<_> = (0..10).map(|_| daemon.agent("h")).collect();
    agents[0].ask(r#"{"jsonrpc":"2.0","id":"l","method":"logging/setLevel","params":{"level":"warning"}}"#);
    assert_eq!(text_of(&agents[0].call("0", "stay", "{}")), "s1");
    for agent in &mut agents {
        (1..=10).for_each(|id| agent.send_call(&id.to_string(), "lose", "{}"));
    }
    for agent in &agents {
        assert!(agent.answers(10).values().all(|answer| text_of(answer) == "s2"));
    }
    assert_eq!(sessions.load(Ordering::Relaxed), 2, "one for all hundred calls");
    eventually("the new session is told the level", || mock.of("logging/setLevel").len() == 2);
    let told = mock.of("logging/setLevel");
    // As before: one wants `warning`, and nine have set no level.
    assert_eq!(told[0].json()["params"], told[1].json()["params"]);
    assert_eq!(
        (told[1].header("mcp-session-id"), told[1].json()["params"]["level"].as_str()),
        (Some("s2"), Some("info"))
    );
    assert!(told[1].header("mcp-protocol-version").is_some_and(|version| version.starts_with("2025-")));
    daemon.restart();
    assert_eq!(
        mock.of("DELETE").last().and_then(|request| request.header("mcp-session-id")),
        Some("s2"),
        "ended in order"
    );
}

#[test]
fn what_a_lost_session_asked_is_void() {
    let (sessions, answered) = (Arc::new(AtomicUsize::new(1)), Arc::new(AtomicUsize::new(0)));
    let (current, may_begin) = (sessions.clone(), answered.clone());
    let mock = Mock::start(move |request, reply| {
        let session = format!("s{}", current.load(Ordering::Relaxed));
        if session == "s2" && request.rpc() == "initialize" {
            eventually("the void question was answered", || may_begin.load(Ordering::Relaxed) == 1);
        }
        if greet(request, reply, &session) {
            return;
        }
        if request.header("mcp-session-id") != Some(&session) {
            return reply.answer(404, "", "");
        }
        if request.json().get("method").is_none() {
            return reply.answer(202, "", "");
        }
        if request.rpc() != "tools/call" {
            return reply.json(&result(request, &json!({})));
        }
        reply.events();
        let question =
            json!({ "jsonrpc": "2.0", "id": 0, "method": "elicitation/create", "params": { "message": "m" } });
        reply.raw(&format!("data: {question}\n\n"));
        if session == "s2" {
            reply.wait_for_end();
        }
    });
    let daemon = Daemon::start(&mock.entry("share = \"all\"\n"));
    let (mut one, mut two) = (daemon.attach("h"), daemon.attach("h"));
    [&mut one, &mut two].into_iter().for_each(|agent| drop(agent.greet(r#"{"elicitation":{}}"#)));
    let answer = |question: &str, whose: &str| {
        let id = id_of(question).expect("an id");
        format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"accept","content":{{"of":"{whose}"}}}}}}"#)
    };
    one.send_call("1", "ask", "{}");
    let first = one.until(|line| line.contains("elicitation/create"));
    // The server forgets, and asks another agent under the same id.
    sessions.store(2, Ordering::Relaxed);
    two.send_call("1", "ask", "{}");
    let void = one.until(|line| line.contains("notifications/cancelled"));
    assert!(void.contains(&id_of(&first).expect("an id")), "{void}");
    // It answers all the same, before there is another session.
    one.send(&answer(&first, "one"));
    answered.store(1, Ordering::Relaxed);
    let second = two.until(|line| line.contains("elicitation/create"));
    one.ask(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#);
    two.send(&answer(&second, "two"));
    let answers = || mock.seen().into_iter().filter(|request| request.body.contains("accept")).collect::<Vec<_>>();
    eventually("the server has an answer", || !answers().is_empty());
    let bodies: Vec<_> = answers().iter().map(|request| request.json()["result"]["content"]["of"].clone()).collect();
    assert_eq!(bodies, ["two"]);
}
