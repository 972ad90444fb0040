//! What a server asks in mid-call goes to the agent whose call it is, or to nobody.

use serde_json::{Value, json};

use crate::support::{Agent, Daemon, Era, Face, Speaker, eventually, id_of, own_server, text_of};

const CAPABILITIES: &str = r#"{"roots":{},"sampling":{},"elicitation":{}}"#;

/// A server whose agents share a process whatever it asks.
fn shared() -> String {
    own_server("t", &[]) + "share = \"all\"\n"
}

fn agent(daemon: &Daemon, capabilities: &str) -> Agent {
    let mut agent = daemon.attach("t");
    agent.greet(capabilities);
    agent
}

#[test]
fn a_question_reaches_its_agent_and_the_answer_its_server() {
    let daemon = Daemon::start(&shared());
    let mut agents = [agent(&daemon, CAPABILITIES), agent(&daemon, CAPABILITIES)];
    for (round, method) in
        ["roots/list", "sampling/createMessage", "elicitation/create", "x/unknown"].into_iter().enumerate()
    {
        let asker = round % 2;
        agents[asker].send_call(
            "1",
            "ask",
            &json!({ "id": "q\"1", "method": method, "params": { "n": 1 } }).to_string(),
        );
        let question = agents[asker].line();
        assert!(question.contains(method), "{question}");
        let id = id_of(&question).expect("an id");
        let reply = format!(r#"{{"result":{{"n":12345678901234567890123}},"id":{id},"jsonrpc":"2.0"}}"#);
        // The other agent answers first, under the same id: not taken.
        agents[1 - asker].send(&reply.replace("12345", "666"));
        agents[1 - asker].call("5", "echo", "{}");
        agents[asker].send(&reply);
        assert_eq!(text_of(&agents[asker].answer("1")), reply.replace(&format!("\"id\":{id}"), r#""id":"q\"1""#));
    }
}

#[test]
fn with_two_callers_it_is_refused_never_guessed() {
    let daemon = Daemon::start(&shared());
    let (mut one, mut two) = (agent(&daemon, CAPABILITIES), agent(&daemon, CAPABILITIES));
    two.send_call("1", "hold", r#"{"key":"k"}"#);
    crate::support::eventually("the other call is in flight", || daemon.server("t")["instances"][0]["in_flight"] == 1);
    let answer: Value = serde_json::from_str(&text_of(&one.call(
        "1",
        "ask",
        r#"{"id":1,"method":"sampling/createMessage","params":{}}"#,
    )))
    .expect("JSON");
    assert!(
        answer["error"]["message"].as_str().is_some_and(|message| message.contains("cannot tell which agent")),
        "{answer}"
    );
    assert_eq!(daemon.server("t")["ambiguous_request"], "sampling/createMessage");
    // From now on a process carries one call at a time: what waits goes to another one, where there is no doubt.
    one.send_call("2", "ask", r#"{"id":2,"method":"sampling/createMessage","params":{}}"#);
    let question = one.line();
    assert!(question.contains("sampling/createMessage"), "{question}");
    let reply = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"mine":1}}}}"#, id_of(&question).expect("an id"));
    one.send(&reply);
    assert!(text_of(&one.answer("2")).contains(r#"{"mine":1}"#));
    assert_eq!(daemon.server("t")["instances"].as_array().map(Vec::len), Some(2));
    // The next daemon remembers.
    let folder = daemon.restart();
    let daemon = Daemon::start_in(folder);
    assert_eq!(daemon.server("t")["ambiguous_request"], "sampling/createMessage");
}

#[test]
fn a_question_while_nobody_calls_says_nothing_about_calls() {
    let daemon = Daemon::start(&shared());
    let mut agent = agent(&daemon, CAPABILITIES);
    let asks = r#"{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage"}"#;
    let frames = json!({ "frames": [r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}"#, asks] });
    agent.call("1", "raw", &frames.to_string());
    crate::support::eventually("the server is refused", || {
        text_of(&agent.call("2", "seen", r#"{"what":"cannot tell which agent"}"#)).contains("\"q\\\"")
    });
    assert_eq!(daemon.server("t")["ambiguous_request"], Value::Null);
}

#[test]
fn a_server_of_which_there_can_be_one_process_only_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = format!(
        "mkdir {0} || exit 1; {1}; rmdir {0}",
        folder.path().join("lock").display(),
        crate::support::test_server()
    );
    let daemon =
        Daemon::start(&format!("[servers.t]\ncommand = \"sh\"\nargs = [\"-c\", {script:?}]\nshare = \"all\"\n"));
    let (mut one, mut two) = (agent(&daemon, CAPABILITIES), agent(&daemon, CAPABILITIES));
    two.send_call("1", "hold", r#"{"key":"k"}"#);
    crate::support::eventually("the other call is in flight", || daemon.server("t")["instances"][0]["in_flight"] == 1);
    // Both are on their way before the server asks.
    let call = |id: u32, tool: &str, arguments: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
        )
    };
    let ask = call(1, "ask", r#"{"id":1,"method":"roots/list","params":{}}"#);
    one.send(&format!("{ask}\n{}", call(2, "release", r#"{"key":"k"}"#)));
    // Both are answered, in whatever order.
    for _ in 0..2 {
        one.until(|line| line.contains("result"));
    }
    assert_eq!(daemon.server("t")["ambiguous_request"], "roots/list");
    // From now on one call at a time; a second process cannot start, and that is nobody's failure.
    two.send_call("2", "sleep", r#"{"ms":1500}"#);
    crate::support::eventually("the call is in flight", || daemon.server("t")["instances"][0]["in_flight"] == 1);
    for round in 3..9 {
        one.send_call(&round.to_string(), "echo", "{}");
    }
    crate::support::eventually("a second one was tried", || daemon.log().contains("server not started"));
    // In whatever order: all wait for the first process.
    let mut answered: Vec<_> =
        (3..9).map(|_| one.until(|line| line.contains("result"))).map(|line| id_of(&line)).collect();
    answered.sort_unstable();
    assert_eq!(answered, (3..9).map(|round| Some(round.to_string())).collect::<Vec<_>>());
    assert_ne!(daemon.server("t")["state"], "broken");
}

#[test]
fn calls_that_wait_for_a_free_process_are_carried_one_by_one() {
    let daemon = Daemon::start(&format!("{}max_instances = 2\n", shared()));
    let mut agents: Vec<_> = (0..6).map(|_| agent(&daemon, CAPABILITIES)).collect();
    agents[0].send_call("1", "hold", r#"{"key":"k"}"#);
    crate::support::eventually("the call is in flight", || daemon.server("t")["instances"][0]["in_flight"] == 1);
    agents[1].call("1", "ask", r#"{"id":1,"method":"roots/list","params":{}}"#);
    // All ask at once; one process is held, so the others take turns on the second.
    for (number, agent) in agents.iter_mut().enumerate().skip(1) {
        let question = json!({ "id": number, "method": "roots/list", "params": { "n": number } });
        agent.send_call("7", "ask", &question.to_string());
    }
    std::thread::scope(|scope| {
        for (number, agent) in agents.iter_mut().enumerate().skip(1) {
            scope.spawn(move || {
                let question = agent.line();
                assert!(question.contains(&format!(r#""n":{number}"#)), "{question} for {number}");
                let id = id_of(&question).expect("an id");
                agent.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"roots":[{number}]}}}}"#));
                assert!(text_of(&agent.answer("7")).contains(&format!("[{number}]")));
            });
        }
    });
    assert_eq!(daemon.server("t")["instances"].as_array().map(Vec::len), Some(2));
    // A call that nobody waits for any more does not block its process for ever.
    let pids = || {
        let server = daemon.server("t");
        let pids: Vec<_> =
            server["instances"].as_array().expect("a list").iter().map(|instance| instance["pid"].clone()).collect();
        pids
    };
    let before = pids();
    agents[0].send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    agents[1].send_call("8", "hold", r#"{"key":"z"}"#);
    agents[2].call("8", "echo", "{}");
    assert_eq!(pids(), before, "it is free again, and not replaced");
}

#[test]
fn one_agents_roots_are_asked_for_at_any_time() {
    let daemon = Daemon::start(&shared());
    let mut one = agent(&daemon, CAPABILITIES);
    let asks = r#"{"jsonrpc":"2.0","id":"r","method":"roots/list"}"#;
    one.call("1", "raw", &json!({ "frames": [r#"{"jsonrpc":"2.0","id":$ID,"result":{}}"#, asks] }).to_string());
    let id = id_of(&one.until(|line| line.contains("roots/list"))).expect("an id");
    one.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"roots":[{{"uri":"file:///mine"}}]}}}}"#));
    crate::support::eventually("the server has them", || {
        text_of(&one.call("2", "seen", r#"{"what":"file:///mine"}"#)).contains("\\\"r\\\"")
    });
}

#[test]
fn an_agent_that_leaves_answers_nothing_and_the_server_learns_it() {
    let daemon = Daemon::start(&shared());
    let (mut leaves, mut stays) = (agent(&daemon, CAPABILITIES), agent(&daemon, CAPABILITIES));
    leaves.send_call("1", "ask", r#"{"id":"gone?","method":"elicitation/create","params":{}}"#);
    leaves.line();
    drop(leaves);
    crate::support::eventually("the server is told", || {
        text_of(&stays.call("2", "seen", r#"{"what":"the agent that was asked left"}"#)).contains("gone?")
    });
}

#[test]
fn agents_that_promise_other_things_do_not_share_a_process() {
    let daemon = Daemon::start(&shared());
    let (mut plain, mut sampling, mut same) = (
        agent(&daemon, "{}"),
        agent(&daemon, r#"{"sampling":{}, "x":{"n":1}}"#),
        agent(&daemon, r#"{ "x":{"n":1},"sampling":{} }"#),
    );
    let (first, second, third) = (plain.server_pid(), sampling.server_pid(), same.server_pid());
    assert!(first != second && second == third, "{first} {second} {third}");
    let promised = text_of(&same.call("1", "seen", r#"{"what":"\"initialize\""}"#));
    assert!(promised.contains(r#"\"capabilities\":{\"sampling\":{},\"x\":{\"n\":1}}"#), "{promised}");
}

#[test]
fn a_second_handshake_counts_from_then_on() {
    let daemon = Daemon::start(&shared());
    let mut one = agent(&daemon, "{}");
    let plain = one.server_pid();
    one.greet(CAPABILITIES);
    assert_ne!(one.server_pid(), plain, "what the server was promised is what the agent promised last");
}

#[test]
fn a_question_outside_of_any_call_is_refused() {
    let daemon = Daemon::start(&shared());
    let mut one = agent(&daemon, CAPABILITIES);
    let late = json!({ "jsonrpc": "2.0", "id": "late", "method": "elicitation/create" }).to_string();
    one.call("1", "raw", &json!({ "frames": [r#"{"jsonrpc":"2.0","id":$ID,"result":{}}"#, late] }).to_string());
    crate::support::eventually("the server is told", || {
        text_of(&one.call("2", "seen", r#"{"what":"cannot tell which agent"}"#)).contains("late")
    });
}

#[test]
fn a_server_that_pings_is_answered_by_the_daemon() {
    let daemon = Daemon::start(&shared());
    let mut one = agent(&daemon, "{}");
    let answer = text_of(&one.call("1", "ask", r#"{"id":"p","method":"ping","params":{}}"#));
    assert_eq!(answer, r#"{"jsonrpc":"2.0","id":"p","result":{}}"#);
}

#[test]
fn that_a_page_is_done_is_told_to_whom_was_asked_for_it() {
    let page = |id: &str| json!({ "mode": "url", "elicitationId": id, "url": "http://127.0.0.1/", "message": "m" });
    let raw = |frames: &[String]| json!({ "name": "raw", "arguments": { "frames": frames } });
    let answer = r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}"#.to_owned();
    let done = |id: &str| {
        json!({ "jsonrpc": "2.0", "method": "notifications/elicitation/complete", "params": { "elicitationId": id } })
            .to_string()
    };
    for face in [Face::Socket, Face::Shim, Face::Http] {
        let daemon =
            Daemon::start(&format!("[http]\nlisten = \"127.0.0.1:0\"\n{}share = \"all\"\n", own_server("jobs", &[])));
        let mut own = Speaker::attach(&daemon, Era::Legacy, face, "jobs");
        let mut other = Speaker::attach(&daemon, Era::Legacy, face, "jobs");
        // In mid-call, and by an error.
        let asks = json!({ "jsonrpc": "2.0", "id": "p", "method": "elicitation/create", "params": page("one") });
        own.ask("tools/call", raw(&[asks.to_string(), answer.clone()])).expect("an answer");
        let error =
            json!({ "code": -32042, "message": "first", "data": { "elicitations": [page("two"), page("three")] } });
        let refused = format!(r#"{{"jsonrpc":"2.0","id":$ID,"error":{error}}}"#);
        own.ask("tools/call", raw(std::slice::from_ref(&refused))).expect_err("an error");
        // One page may be wanted of several.
        let both = refused.replace("two", "both").replace("three", "two");
        for agent in [&mut own, &mut other] {
            agent.ask("tools/call", raw(std::slice::from_ref(&both))).expect_err("an error");
        }
        other.ask("tools/call", raw(&[done("one"), done("three"), done("both"), answer.clone()])).expect("an answer");
        let told = |agent: &Speaker| -> Vec<_> {
            agent
                .notices
                .iter()
                .map(|notice| notice["params"]["elicitationId"].as_str().unwrap_or("?").to_owned())
                .collect()
        };
        eventually("they are told", || {
            for agent in [&mut own, &mut other] {
                agent.ask("ping", json!({})).expect("an answer");
            }
            told(&own) == ["one", "three", "both"] && told(&other) == ["both"]
        });
    }
}
