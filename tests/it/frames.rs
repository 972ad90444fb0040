//! Bad input costs the one who sends it, and nobody else.

use serde_json::Value;

use crate::support::{Agent, Daemon, eventually, id_of, own_server, text_of};

fn small() -> Daemon {
    Daemon::start(&format!("[daemon]\nmax_frame = \"64KiB\"\n{}", own_server("t", &[])))
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number")
}

#[test]
fn a_line_without_an_end_is_cut_at_the_cap() {
    let daemon = small();
    let mut other = daemon.agent("t");
    let before = resident_kib(daemon.pid());
    let mut agent = daemon.agent("t");
    let chunk = vec![b'x'; 1 << 16];
    let mut sent = 0;
    while sent < 100 << 20 && agent.try_send(&chunk).is_ok() {
        sent += chunk.len();
    }
    assert!(sent < 10 << 20, "cut off long before {sent} bytes");
    let last = agent.line();
    assert!(last.contains("larger than the cap of 65536 bytes"), "{last}");
    assert_eq!(agent.next(), None);
    assert!(text_of(&other.call("1", "echo", "{}")).contains("echo"), "nobody else noticed");
    let grown = resident_kib(daemon.pid()).saturating_sub(before);
    assert!(grown < 4_096, "memory is bounded: grew {grown} KiB");
}

#[test]
fn malformed_messages_are_answered_and_the_session_goes_on() {
    let daemon = small();
    let mut agent = daemon.agent("t");
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"a":{}{}}}}}"#,
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    for (frame, code, why) in [
        ("{\"jsonrpc\":\"2.0\",\"id\":1,".as_bytes(), -32700, "not valid JSON"),
        (b"{\"id\":\"\xff\",\"method\":\"x\"}", -32700, "not valid UTF-8"),
        (deep.as_bytes(), -32600, "nested deeper than 1000"),
        (br#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600, "batches"),
        (br#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600, "id of null"),
        (br#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, -32700, "twice"),
    ] {
        agent.send_bytes(frame);
        agent.send_bytes(b"\n");
        let answer: Value = serde_json::from_str(&agent.line()).expect("JSON");
        assert_eq!((answer["error"]["code"].as_i64(), &answer["id"]), (Some(code), &Value::Null), "{answer}");
        assert!(answer["error"]["message"].as_str().is_some_and(|message| message.contains(why)), "{answer}");
    }
    agent.send(r#"{"jsonrpc":"2.0","id":12345,"result":{}}"#);
    agent.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"nobody's"}}"#);
    assert_eq!(id_of(&agent.call("2", "echo", "{}")).as_deref(), Some("2"));
}

#[test]
fn an_answer_over_the_cap_fails_its_own_call_and_no_other() {
    let daemon = small();
    let mut agent = daemon.agent("t");
    let pid = agent.server_pid();
    agent.send_call("0", "hold", r#"{"key":"k"}"#);
    let answer = agent.call("1", "big", r#"{"bytes":70000}"#);
    assert!(answer.contains("cannot be read: a message is larger than the cap"), "{answer}");
    assert!(text_of(&agent.call("2", "big", r#"{"bytes":60000}"#)).len() == 60_000);
    agent.send_call("3", "release", r#"{"key":"k"}"#);
    assert!(agent.answers(2)["0"].contains("result"), "its neighbour is answered");
    assert_eq!(agent.server_pid(), pid, "and it goes on");
}

#[test]
fn a_question_over_the_cap_is_refused_to_its_server() {
    let daemon = small();
    let mut agent = daemon.agent("t");
    // The server writes each of these numbers with more digits than the agent.
    let numbers = vec!["1e9"; 12_000].join(",");
    let ask = format!(r#"{{"id":77,"method":"sampling/createMessage","params":{{"n":[{numbers}]}}}}"#);
    let answer = text_of(&agent.call("1", "ask", &ask));
    assert!(answer.contains("not passed on: a message is larger than the cap"), "{answer}");
}

#[test]
fn an_agent_that_never_reads_is_dropped_alone() {
    let daemon = small();
    let mut deaf = daemon.agent("t");
    let mut other = daemon.agent("t");
    // The socket's own buffer fills up first, then the queue; what the server still sends is then too much.
    let mut last = 0;
    while daemon.status()["sessions"].as_array().is_some_and(|sessions| sessions.len() > 1) {
        last += 1;
        assert!(last < 10_000, "a deaf agent must go");
        if deaf.try_send(format!("{{\"jsonrpc\":\"2.0\",\"id\":{last},\"method\":\"tools/call\",\"params\":{{\"name\":\"progress\",\"arguments\":{{\"total\":500,\"mark\":\"{}\"}},\"_meta\":{{\"progressToken\":1}}}}}}\n", "m".repeat(500)).as_bytes()).is_err() {
            break;
        }
        assert_eq!(id_of(&other.call(&last.to_string(), "echo", "{}")), Some(last.to_string()), "the other goes on");
    }
    eventually("the deaf one is gone", || {
        daemon.status()["sessions"].as_array().is_some_and(|sessions| sessions.len() == 1)
    });
    assert!(daemon.log().contains("agent does not read"), "{}", daemon.log());
}

#[test]
fn half_a_line_holds_nobody_up() {
    let daemon = small();
    let mut slow = daemon.agent("t");
    slow.send_bytes(br#"{"jsonrpc":"2.0","id":1,"#);
    assert_eq!(id_of(&daemon.agent("t").call("2", "echo", "{}")).as_deref(), Some("2"));
    slow.send_bytes(b"\"method\":\"ping\"}\n");
    assert_eq!(slow.line(), r#"{"result":{},"id":1,"jsonrpc":"2.0"}"#);
}

#[test]
fn agents_that_come_and_go_leave_nothing() {
    let daemon = small();
    let mut stays = daemon.agent("t");
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it lives").count();
    let round = |agents: usize| (0..agents).map(|_| daemon.agent("t")).collect::<Vec<Agent>>();
    drop(round(100));
    eventually("they are gone", || daemon.status()["sessions"].as_array().is_some_and(|sessions| sessions.len() == 1));
    let (before, memory) = (descriptors(), resident_kib(daemon.pid()));
    for _ in 0..10 {
        drop(round(100));
    }
    eventually("they are gone too", || {
        daemon.status()["sessions"].as_array().is_some_and(|sessions| sessions.len() == 1)
    });
    eventually("descriptors are back", || descriptors() <= before);
    assert!(resident_kib(daemon.pid()) < memory + 2_048, "memory came back to {memory} KiB");
    assert_eq!(id_of(&stays.call("1", "echo", "{}")).as_deref(), Some("1"));
}
