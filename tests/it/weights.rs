//! Whatever waits is weighed, and the one that holds most gives way: nobody else.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::{begin, post};
use crate::support::{Agent, Daemon, error_of, eventually, id_of, own_server, text_of};

const SMALL: &str = "[daemon]\nmax_frame = \"1MiB\"\nmax_memory = \"8MiB\"\ndiscover = \"never\"\n";
const MIB: u64 = 1 << 20;

/// A call of `tool` with so many bytes of arguments.
fn large(id: u64, tool: &str, bytes: usize) -> String {
    let text = "x".repeat(bytes);
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"text":"{text}"}}}}}}"#
    )
}

fn waiting(daemon: &Daemon) -> u64 {
    daemon.status()["memory"]["waiting"].as_u64().expect("a number")
}

#[test]
fn requests_that_wait_for_a_server_are_weighed_and_counted() {
    let config = format!("{SMALL}{}", own_server("t", &["--slow=1500"]));
    let daemon = Daemon::start(&config);
    let mut agent = daemon.attach("t");
    thread::scope(|scope| {
        let all = scope.spawn(|| {
            agent.send(&crate::support::legacy("{}"));
            (2..10).for_each(|id| agent.send(&large(id, "echo", 700_000)));
            agent.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9}}"#);
            (1..9).map(|_| id_of(&agent.line()).expect("an id")).collect::<Vec<_>>()
        });
        let mut seen = Value::Null;
        eventually("something waits", || {
            seen = daemon.status()["sessions"][0].clone();
            seen["waiting"].as_u64().is_some_and(|waiting| waiting > 0)
        });
        assert!(seen["waiting"].as_u64().is_some_and(|waiting| waiting <= 2 * MIB), "{seen}");
        assert!(seen["in_flight"].as_u64().is_some_and(|waiting| waiting >= 1), "{seen}");
        let mut ids = all.join().expect("all are answered");
        ids.sort_unstable();
        assert!(ids.starts_with(&["1", "2", "3", "4", "5", "6", "7", "8"].map(str::to_owned)), "{ids:?}");
    });
    eventually("nothing waits any more", || waiting(&daemon) < MIB);
}

#[test]
fn agents_that_do_not_read_give_way_to_those_that_do() {
    let daemon = Daemon::start(&format!("{SMALL}{}", own_server("t", &[])));
    let mut honest = daemon.agent("t");
    let mut deaf: Vec<Agent> = (0..6).map(|_| daemon.agent("t")).collect();
    for (number, agent) in deaf.iter_mut().enumerate() {
        agent.pause();
        for id in 2..5 {
            // Whoever was cut off is gone.
            drop(agent.try_send(format!("{}\n", large(id, "echo", 800_000)).as_bytes()));
        }
        let answer = honest.call(&number.to_string(), "echo", "{}");
        assert!(text_of(&answer).contains("echo"), "{answer}");
    }
    eventually("those that hold most are gone", || {
        daemon.status()["sessions"].as_array().is_some_and(|sessions| sessions.len() < 7)
    });
    let answer = honest.ask(&large(20, "echo", 900_000));
    assert!(text_of(&answer).contains("xxx"), "a large one has room as well");
    assert!(waiting(&daemon) <= 8 * MIB);
    assert!(daemon.log().contains("max_memory"), "{}", daemon.log());
    drop(deaf);
    eventually("nothing waits any more", || waiting(&daemon) < MIB);
}

#[test]
fn what_waits_for_servers_that_do_not_read_is_given_up_and_nobody_is_cut_off() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let servers: Vec<_> = names.iter().map(|name| own_server(name, &[])).collect();
    let daemon = Daemon::start(&format!("{SMALL}{}{}", servers.join("\n"), own_server("t", &[])));
    let mut honest = daemon.agent("t");
    let mut waiting_too = daemon.agent("a");
    let mut agents: Vec<Agent> = names.iter().map(|name| daemon.agent(name)).collect();
    let pids: Vec<_> = agents.iter_mut().map(Agent::server_pid).collect();
    for (agent, ms) in agents.iter_mut().zip([4_000, 600_000, 600_000, 600_000, 600_000, 600_000]) {
        agent.send_call("2", "sleep", &format!(r#"{{"ms":{ms}}}"#));
        // Of so many bytes, the buffer that they are read into is not weighed.
        agent.send(&large(3, "echo", 200_000));
        if ms == 4_000 {
            waiting_too.send_call("2", "echo", r#"{"mine":1}"#);
        }
        (4..12).for_each(|id| agent.send(&large(id, "echo", 200_000)));
    }
    // One that asks for little where others hold much.
    assert!(text_of(&honest.call("9", "echo", "{}")).contains("echo"), "there is room for others");
    let given_up = |agent: &Agent| agent.line_within(Duration::from_millis(50)).map(|line| error_of(&line));
    let mut errors = Vec::new();
    eventually("somebody is told", || {
        errors.extend(agents.iter().filter_map(given_up));
        !errors.is_empty()
    });
    assert!(errors.iter().all(|error| error.contains("max_memory")), "{errors:?}");
    assert!(text_of(&waiting_too.line()).contains("mine"), "the call of another agent at the same server is answered");
    assert!(waiting(&daemon) <= 8 * MIB);
    let status = daemon.status();
    assert_eq!(status["sessions"].as_array().map(Vec::len), Some(8), "no agent was cut off: {}", daemon.log());
    for (name, pid) in names.iter().zip(pids) {
        assert_eq!(daemon.server(name)["instances"][0]["pid"], pid, "no server was stopped");
    }
}

#[test]
fn a_short_call_waits_for_few_long_messages_of_others_and_what_was_cancelled_is_not_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = folder.path().join("journal");
    let daemon = Daemon::start(&own_server("t", &[&format!("--journal={}", journal.display())]));
    let mut heavy = daemon.agent("t");
    let mut honest = daemon.agent("t");
    heavy.send_call("0", "sleep", r#"{"ms":4000}"#);
    let padding = "x".repeat(100_000);
    for number in 1..=20 {
        heavy.send_call(&number.to_string(), "mark", &format!(r#"{{"key":"heavy {number}","text":"{padding}"}}"#));
    }
    heavy.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":19}}"#);
    // All of it is there when the short one comes.
    eventually("the cancelled one is over", || daemon.server("t")["instances"][0]["in_flight"] == 20);
    assert_eq!(text_of(&honest.call("1", "mark", r#"{"key":"mine"}"#)), "mine");
    let order = || std::fs::read_to_string(&journal).unwrap_or_default();
    let before = order().lines().position(|line| line == "mine").expect("carried out");
    assert!(before <= 5, "{before} long messages went first");
    eventually("the others follow", || order().lines().count() == 20);
    let heavies: Vec<_> = order().lines().filter(|line| *line != "mine").map(str::to_owned).collect();
    let expected: Vec<_> = (1..=20).filter(|number| *number != 19).map(|number| format!("heavy {number}")).collect();
    assert_eq!(heavies, expected, "in the order of their agent");
}

#[test]
fn a_list_is_kept_up_to_the_size_of_a_message() {
    let daemon =
        Daemon::start(&format!("{SMALL}{}{}", own_server("endless", &["--endless=300000"]), own_server("t", &[])));
    let mut agent = daemon.agent("endless");
    let mut cursor = Value::Null;
    for page in 0..12 {
        let params = if page == 0 { json!({}) } else { json!({ "cursor": cursor }) };
        let list = json!({ "jsonrpc": "2.0", "id": page, "method": "tools/list", "params": params });
        let answer: Value = serde_json::from_str(&agent.ask(&list.to_string())).expect("JSON");
        assert_eq!(answer["result"]["tools"][0]["name"], format!("page{page}"), "pages are passed on");
        cursor = answer["result"]["nextCursor"].clone();
    }
    assert!(waiting(&daemon) <= 8 * MIB);
    let mut all = daemon.agent_of_all();
    let list = all.ask(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert!(list.contains("t__echo") && !list.contains("endless__"), "{}", list.len());
    let missing = serde_json::from_str::<Value>(&list).expect("JSON")["result"]["_meta"].to_string();
    assert!(missing.contains("max_frame"), "{missing}");
    let notes = daemon.server("endless")["notes"].to_string();
    assert!(notes.contains("tools/list") && notes.contains("max_frame"), "{notes}");
    let kept = std::fs::metadata(daemon.folder().join("state/catalogs/endless.json"));
    assert!(kept.is_ok_and(|kept| kept.len() < 2 * MIB));
}

#[test]
fn bodies_that_do_not_end_give_way() {
    let daemon = Daemon::start(&format!("[http]\nlisten = \"127.0.0.1:0\"\n{SMALL}{}", own_server("t", &[])));
    let endpoint = daemon.endpoint(Some("t"));
    let session = begin(&endpoint);
    let place = endpoint.authority.clone();
    let halves: Vec<_> = (0..14)
        .map(|_| {
            let mut stream = TcpStream::connect(&place).expect("connected");
            let head = format!(
                "POST /mcp/t HTTP/1.1\r\nHost: {place}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n",
                endpoint.token
            );
            // Whoever was cut off is gone.
            drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![b' '; 900_000])));
            stream
        })
        .collect();
    eventually("they are weighed", || waiting(&daemon) > MIB);
    eventually("what was cut off is gone", || waiting(&daemon) <= 8 * MIB);
    let answer = post(&endpoint, &[("Mcp-Session-Id", &session)], &large(7, "echo", 500_000)).body;
    assert!(answer.contains("xxx"), "{}", answer.chars().take(300).collect::<String>());
    drop(halves);
    eventually("nothing waits any more", || waiting(&daemon) < MIB);
}

#[test]
fn a_name_is_not_a_place_to_keep_megabytes() {
    let daemon = Daemon::start(&format!("[http]\nlisten = \"127.0.0.1:0\"\n{}", own_server("t", &[])));
    let mut agent = daemon.agent("t");
    let endpoint = daemon.endpoint(Some("t"));
    let session = begin(&endpoint);
    let long = "x".repeat(100_000);
    let request =
        |method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": 5, "method": method, "params": params });
    for (name, frame) in [
        ("`id`", json!({ "jsonrpc": "2.0", "id": long, "method": "ping" })),
        ("`method`", request(&long, json!({}))),
        ("`params.uri`", request("resources/subscribe", json!({ "uri": long }))),
        ("`params.cursor`", request("tools/list", json!({ "cursor": long }))),
        ("`params.taskId`", request("tasks/get", json!({ "taskId": long }))),
        ("`params._meta.progressToken`", request("tools/call", json!({ "_meta": { "progressToken": long } }))),
        ("`params.clientInfo`", request("initialize", json!({ "clientInfo": { "name": long.repeat(3) } }))),
        ("`params.capabilities`", request("initialize", json!({ "capabilities": { "x": long } }))),
    ] {
        let frame = frame.to_string();
        agent.send(&frame);
        for answer in [agent.line(), post(&endpoint, &[("Mcp-Session-Id", &session)], &frame).body] {
            let id = if name == "`id`" { "\"id\":null" } else { "\"id\":5" };
            let is_right = answer.contains("-32600") && answer.contains(name) && answer.contains(id);
            assert!(is_right && answer.len() < 1_000, "{name}: {answer}");
        }
    }
    let call = agent.ask(&large(6, "echo", 200_000));
    assert!(text_of(&call).contains("xxx"), "arguments may be as long as a message");
}
