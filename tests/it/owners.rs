//! Whose things are: what one agent began, asked for or was asked stays its own, whoever has left, moved or come since.

use serde_json::{Value, json};

use crate::support::{Agent, Daemon, Era, Face, Speaker, eventually, id_of, own_server, text_of};

fn shared(words: &[&str]) -> Daemon {
    Daemon::start(&format!("{}share = \"all\"\n", own_server("t", words)))
}

/// The arguments of a call of `raw`, which has the server send these frames, and then its answer.
fn frames(frames: &[Value]) -> String {
    let answer = json!(r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}"#);
    let frames: Vec<_> = frames.iter().map(|frame| json!(frame.to_string())).chain([answer]).collect();
    json!({ "frames": frames }).to_string()
}

fn of_task(method: &str, task: &str) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": {
        "level": "error", "data": "x", "message": "m", "_meta": { "io.modelcontextprotocol/related-task": { "taskId": task } }
    } })
}

/// The frames with `what` in them that the server has got.
fn seen(agent: &mut Agent, what: &str) -> Vec<Value> {
    let found = text_of(&agent.call("\"seen\"", "seen", &json!({ "what": what }).to_string()));
    let found: Vec<String> = serde_json::from_str(&found).expect("JSON");
    found.iter().map(|frame| serde_json::from_str(frame).expect("JSON")).collect()
}

/// Calls `raw` and returns what comes before its answer.
fn hears(agent: &mut Agent, what: &[Value]) -> Vec<String> {
    agent.send_call("\"raw\"", "raw", &frames(what));
    let mut heard = Vec::new();
    loop {
        let line = agent.line();
        if id_of(&line).as_deref() == Some("\"raw\"") {
            return heard;
        }
        heard.push(line);
    }
}

/// Has the server ask this agent something, which shows what it is to be promised.
fn is_asked(agent: &mut Agent) {
    agent.send_call("3", "ask", r#"{"id":3,"method":"elicitation/create","params":{"message":"m"}}"#);
    let question = agent.line();
    let id = id_of(&question).expect("an id");
    agent.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"decline"}}}}"#));
    agent.answer("3");
}

#[test]
fn a_task_of_an_agent_that_left_before_it_was_told_is_nobodys() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!("{}share = \"all\"\n", own_server("t", &["--tasks"]));
    std::fs::write(folder.path().join("config.toml"), config).expect("written");
    let daemon = Daemon::start_with(folder, &[("TRUNKLINE_LOG", "debug")]);
    let mut other = daemon.agent("t");
    let mut asks = of_task("elicitation/create", "late");
    asks["id"] = "q".into();
    let said = [of_task("notifications/message", "late"), of_task("notifications/x", "late"), asks];
    // It has given the call up, or left.
    for leaves in [false, true] {
        let mut own = daemon.agent("t");
        let key = if leaves { "gone" } else { "given up" };
        own.send_call("1", "hold", &json!({ "key": key }).to_string());
        eventually("the server has the call", || seen(&mut other, key).len() == 1);
        let id = seen(&mut other, key)[0]["id"].clone();
        if leaves {
            own.leave();
        } else {
            own.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
        }
        eventually("the server has the cancellation", || {
            seen(&mut other, "cancelled").iter().any(|frame| frame["params"]["requestId"] == id)
        });
        eventually("the call is forgotten", || leaves || daemon.log().contains("a cancelled call is over"));
        let begun =
            json!({ "jsonrpc": "2.0", "id": id, "result": { "task": { "taskId": "late", "status": "working" } } });
        let heard = hears(&mut other, &[std::slice::from_ref(&begun), &said].concat());
        assert_eq!(heard, [""; 0], "left: {leaves}");
    }
}

#[test]
fn what_an_agent_wants_ends_with_it() {
    let daemon = shared(&[]);
    let (mut other, mut own) = (daemon.agent("t"), daemon.agent("t"));
    own.ask(r#"{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"debug"}}"#);
    let subscribe = r#"{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"x://kept"}}"#;
    [&mut own, &mut other].into_iter().for_each(|agent| drop(agent.ask(subscribe)));
    own.send_call("3", "hold", r#"{"key":"h"}"#);
    eventually("its call is in flight", || seen(&mut other, "\"h\"").len() == 1);
    own.leave();
    eventually("the level is what is left", || {
        seen(&mut other, "setLevel").iter().map(|frame| frame["params"]["level"].clone()).eq(["debug", "info"])
    });
    let log =
        |level: &str| json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": level } });
    let heard = hears(&mut other, &[log("debug"), log("info")]);
    assert!(heard.len() == 1 && heard[0].contains("info"), "{heard:?}");
    // Its call may still go on; its subscription does not.
    let answer = other.ask(r#"{"jsonrpc":"2.0","id":4,"method":"resources/unsubscribe","params":{"uri":"x://kept"}}"#);
    assert!(answer.contains("\"result\""), "{answer}");
    assert_eq!(seen(&mut other, "resources/unsubscribe").len(), 1);
}

#[test]
fn a_longer_name_is_another_resource() {
    let daemon = shared(&[]);
    let (mut one, mut two) = (daemon.agent("t"), daemon.agent("t"));
    for (agent, uri) in [(&mut one, "x://doc/1"), (&mut two, "x://doc/12")] {
        let params = json!({ "uri": uri });
        agent.ask(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{params}}}"#));
    }
    let updated =
        |uri: &str| json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": uri } });
    let heard = hears(&mut one, &[updated("x://doc/12"), updated("x://doc/1/part")]);
    assert!(heard.len() == 1 && heard[0].contains("x://doc/1/part"), "{heard:?}");
    assert!(two.line().contains("x://doc/12"));
}

#[test]
fn an_id_that_is_used_again_names_the_call_that_is_in_flight() {
    let daemon = shared(&[]);
    let (mut agent, mut other) = (daemon.agent("t"), daemon.agent("t"));
    for round in 1..=3 {
        agent.send_call("77", "hold", &json!({ "key": round.to_string() }).to_string());
        agent.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":77}}"#);
        let ids = |frames: Vec<Value>, at: &str| -> Vec<Value> {
            frames.iter().map(|frame| frame.pointer(at).cloned().unwrap_or_default()).collect()
        };
        eventually("the call itself is cancelled", || {
            let calls = ids(seen(&mut other, "\"hold\""), "/id");
            let cancelled = ids(seen(&mut other, "notifications/cancelled"), "/params/requestId");
            calls.len() == round && calls == cancelled
        });
    }
}

#[test]
fn nobody_speaks_in_the_name_of_anothers_task() {
    let daemon = Daemon::start(&format!("{}share = \"all\"\n", own_server("jobs", &["--tasks"])));
    let mut own = Speaker::attach(&daemon, Era::Legacy, Face::Socket, "jobs");
    let call = json!({ "name": "job", "arguments": { "key": "a" }, "task": { "ttl": 60000 } });
    own.ask("tools/call", call).expect("a task");
    let (mut one, mut all) = (daemon.agent("jobs"), daemon.agent_of_all());
    let meta = json!({ "io.modelcontextprotocol/related-task": { "taskId": "a" } });
    for (agent, prefix) in [(&mut one, ""), (&mut all, "jobs__")] {
        for (method, params) in [
            ("tools/call", json!({ "name": format!("{prefix}echo"), "arguments": {}, "_meta": meta })),
            ("prompts/get", json!({ "name": format!("{prefix}p"), "_meta": meta })),
            ("resources/read", json!({ "uri": "x://1", "_meta": meta })),
        ] {
            let asked = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
            let answer = agent.ask(&asked.to_string());
            assert!(answer.contains("related task") || answer.contains("nobody has"), "{prefix}{method}: {answer}");
        }
        let told = json!({ "jsonrpc": "2.0", "method": "notifications/x", "params": { "_meta": meta } });
        agent.send(&told.to_string());
        agent.ask(r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#);
    }
    assert_eq!(seen(&mut one, "related-task"), [Value::Null; 0]);
}

#[test]
fn news_of_a_modern_task_that_name_no_subscription_are_for_its_agent() {
    let daemon = Daemon::start(&format!("{}share = \"all\"\n", own_server("t", &["--modern"])));
    let mut agent = Speaker::attach(&daemon, Era::Modern, Face::Socket, "t");
    let told = json!({ "jsonrpc": "2.0", "method": "notifications/tasks", "params": { "taskId": "another's", "status": "completed" } });
    let call = json!({ "name": "raw", "arguments": serde_json::from_str::<Value>(&frames(&[told])).expect("JSON") });
    agent.ask("tools/call", call).expect("an answer");
    assert_eq!(agent.notices, [Value::Null; 0]);
}

#[test]
fn progress_of_an_answer_reaches_the_server_that_asked() {
    let daemon = Daemon::start(&format!("{}{}", own_server("one", &[]), own_server("two", &[])));
    let mut agent = daemon.shim(&[]);
    agent.greet(r#"{"sampling":{}}"#);
    let asks = json!({ "jsonrpc": "2.0", "id": "q", "method": "sampling/createMessage", "params": { "_meta": { "progressToken": 0 } } });
    let mut asked = Vec::new();
    for server in ["one", "two"] {
        let arguments = json!({ "frames": [asks.to_string()] });
        agent.send_call(&format!("\"{server}\""), &format!("{server}__raw"), &arguments.to_string());
        let question: Value = serde_json::from_str(&agent.line()).expect("JSON");
        asked.push((server, question["params"]["_meta"]["progressToken"].clone()));
    }
    for (server, token) in &asked {
        let params = json!({ "progressToken": token, "progress": 1, "message": server });
        let progress = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params });
        agent.send(&progress.to_string());
        agent.send_call("5", &format!("{server}__seen"), r#"{"what":"notifications/progress"}"#);
        let got: Vec<String> = serde_json::from_str(&text_of(&agent.answer("5"))).expect("JSON");
        let got: Vec<Value> = got.iter().map(|frame| serde_json::from_str(frame).expect("JSON")).collect();
        assert_eq!(got.len(), 1, "{got:?}");
        assert_eq!((&got[0]["params"]["progressToken"], &got[0]["params"]["message"]), (&json!(0), &json!(server)));
    }
}

#[test]
fn each_modern_request_stands_for_itself() {
    let daemon = shared(&[]);
    let mut agent = Speaker::attach(&daemon, Era::Modern, Face::Socket, "t");
    agent.ask("tools/list", json!({})).expect("a list");
    let can = agent.capabilities.clone();
    for (with, then, expected) in [(can.clone(), json!({}), "input_required"), (json!({}), can, "complete")] {
        agent.capabilities = with;
        let asks = json!({ "id": 1, "method": "elicitation/create", "params": { "message": "m" } });
        let call = agent.send("tools/call", json!({ "name": "ask", "arguments": asks }));
        agent.capabilities = then;
        agent.send("ping", json!({}));
        let answer = loop {
            let answer = agent.next().expect("an answer");
            if answer["id"] == call {
                break answer;
            }
        };
        assert_eq!(answer["result"]["resultType"], expected, "{answer}");
    }
}

#[test]
fn what_an_agent_wants_goes_with_it_to_another_process() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let (mut asked, mut silent) = (daemon.attach("t"), daemon.attach("t"));
    asked.greet(r#"{"elicitation":{}}"#);
    silent.greet("{}");
    silent.ask(r#"{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"debug"}}"#);
    silent.ask(r#"{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"x://kept"}}"#);
    let first = silent.server_pid();
    assert_eq!(asked.server_pid(), first, "they share a process");
    // Now the server is one that asks: who declared something else gets a process of its own.
    is_asked(&mut asked);
    eventually("it has another process", || silent.server_pid() != first);
    assert_eq!(seen(&mut silent, "setLevel")[0]["params"]["level"], "debug");
    assert_eq!(seen(&mut silent, "resources/subscribe")[0]["params"]["uri"], "x://kept");
    assert_eq!(seen(&mut asked, "resources/unsubscribe").len(), 1);
}

#[test]
fn who_waits_for_news_gets_them_from_another_process() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let (mut asked, mut silent) = (daemon.attach("t"), daemon.attach("t"));
    asked.greet(r#"{"elicitation":{}}"#);
    silent.greet("{}");
    silent.ask(r#"{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"x://kept"}}"#);
    assert_eq!(silent.server_pid(), asked.server_pid());
    is_asked(&mut asked);
    // It says nothing more, and is moved all the same.
    let instances = || daemon.server("t")["instances"].as_array().cloned().unwrap_or_default();
    eventually("it has a process", || {
        instances().iter().filter(|one| one["sessions"].as_array().is_some_and(|all| !all.is_empty())).count() == 2
    });
    assert_eq!(seen(&mut silent, "resources/subscribe").len(), 1);
}

#[test]
fn a_task_is_asked_for_where_it_runs() {
    let daemon = Daemon::start(&own_server("t", &["--tasks"]));
    let (mut asked, mut silent) = (daemon.attach("t"), daemon.attach("t"));
    asked.greet(r#"{"elicitation":{}}"#);
    silent.greet("{}");
    let first = silent.server_pid();
    let call = json!({ "name": "job", "arguments": { "key": "k" }, "task": { "ttl": 60000 } });
    silent.ask(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call }).to_string());
    is_asked(&mut asked);
    eventually("it has another process", || silent.server_pid() != first);
    let get = r#"{"jsonrpc":"2.0","id":9,"method":"tasks/get","params":{"taskId":"k"}}"#;
    let answer = silent.ask(get);
    assert!(answer.contains(r#""status":"working""#), "{answer}");
    assert!(asked.ask(get).contains("no such task"), "it is not the other agent's");
}

#[test]
fn an_agent_that_begins_anew_answers_nothing_that_was_asked_before() {
    let daemon = shared(&[]);
    let (mut agent, mut other) = (daemon.attach("t"), daemon.attach("t"));
    agent.greet(r#"{"elicitation":{}}"#);
    other.greet(r#"{"elicitation":{}}"#);
    agent.send_call("3", "ask", r#"{"id":"open","method":"elicitation/create","params":{"message":"m"}}"#);
    let question = agent.line();
    agent.greet(r#"{"elicitation":{}}"#);
    agent.send(&format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"late":1}}}}"#, id_of(&question).expect("an id")));
    let mut answers = Vec::new();
    eventually("the server has an error", || {
        answers = seen(&mut other, "\"id\":\"open\"");
        answers.iter().any(|answer| answer.get("error").is_some())
    });
    assert!(!answers.iter().any(|answer| answer.to_string().contains("late")), "{answers:?}");
}

#[test]
fn a_task_that_an_agent_made_of_a_question_is_asked_for_where_it_is() {
    let daemon = shared(&[]);
    let (mut own, mut other) = (daemon.attach("t"), daemon.attach("t"));
    let capabilities = r#"{"elicitation":{},"tasks":{"requests":{"elicitation":{"create":{}}}}}"#;
    [&mut own, &mut other].into_iter().for_each(|agent| drop(agent.greet(capabilities)));
    let asks = json!({ "jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": { "message": "m", "task": {} } });
    own.send_call("1", "ask", &asks.to_string());
    let question = own.line();
    let begun = json!({ "jsonrpc": "2.0", "id": serde_json::from_str::<Value>(&id_of(&question).expect("an id")).expect("JSON"),
        "result": { "task": { "taskId": "mine", "status": "working" } } });
    own.send(&begun.to_string());
    own.answer("1");
    let get = |id: &str, task: &str| json!({ "jsonrpc": "2.0", "id": id, "method": "tasks/get", "params": { "taskId": task } });
    // Whoever calls meanwhile.
    assert_eq!(hears(&mut other, &[get("g", "mine"), get("unknown", "nobody's")]), [""; 0]);
    let question = own.line();
    assert!(question.contains("tasks/get"), "{question}");
    own.send(&format!(
        r#"{{"jsonrpc":"2.0","id":{},"result":{{"status":"completed"}}}}"#,
        id_of(&question).expect("an id")
    ));
    eventually("the server has the answer", || !seen(&mut other, r#""status":"completed""#).is_empty());
    assert!(seen(&mut other, r#""id":"unknown""#)[0].get("error").is_some());
}

#[test]
fn a_process_at_a_task_is_not_idle() {
    let servers = ["at_work", "idle"].map(|name| own_server(name, &["--tasks"]));
    let daemon = Daemon::start(&format!("[daemon]\nidle_timeout = \"1s\"\n{}", servers.concat()));
    let mut agents = ["at_work", "idle"].map(|name| Speaker::attach(&daemon, Era::Legacy, Face::Socket, name));
    let call = json!({ "name": "job", "arguments": { "key": "k" }, "task": { "ttl": 60000 } });
    agents[0].ask("tools/call", call).expect("a task");
    agents[1].ask("tools/call", json!({ "name": "echo", "arguments": {} })).expect("an answer");
    let runs = |name: &str| daemon.server(name)["instances"].as_array().is_some_and(|all| !all.is_empty());
    eventually("the other is stopped", || !runs("idle"));
    assert!(runs("at_work"));
    agents[0].ask("tasks/cancel", json!({ "taskId": "k" })).expect("its own");
    eventually("its task has ended", || !runs("at_work"));
}
