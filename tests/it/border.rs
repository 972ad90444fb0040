//! Nothing gets past the border: one reading of every message, and what cannot be checked is refused.

use serde_json::{Value, json};

use crate::support::http::{begin, post};
use crate::support::{Agent, Daemon, Era, Face, Speaker, error_of, example, own_server, test_server, text_of};

/// What readers of lines take for the end of one: Java and Python's text mode the first, `splitlines` and Node's `readline` others.
const LINE_ENDS: [char; 4] = ['\r', '\u{85}', '\u{2028}', '\u{2029}'];

#[test]
fn a_message_is_one_line_to_every_reader() {
    let daemon = Daemon::start(&format!("[http]\nlisten = \"127.0.0.1:0\"\n{}", own_server("t", &[])));
    let (mut agent, mut all) = (daemon.agent("t"), daemon.agent_of_all());
    let endpoint = daemon.endpoint(Some("t"));
    let session = begin(&endpoint);
    let posted = |frame: &str| {
        let body = post(&endpoint, &[("Mcp-Session-Id", &session)], frame).body;
        body.rsplit_once("data: ").map_or(body.clone(), |(_, data)| data.trim_end_matches('\n').to_owned())
    };
    // To a reader that takes it for a line end, the middle would be a message of its own.
    let hidden = r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"denied"}}"#;
    let inside = hidden.replace('"', "\\\"");
    for end in LINE_ENDS {
        let between = format!("\"x\":{{\"a\":{end}{hidden}{end}}}");
        let within = format!("\"x\":\"{end}{inside}{end}\"");
        let body = if end == '\r' { between } else { within };
        let none_left = |text: &str| !text.contains(LINE_ENDS);
        let frame = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,{body},\"method\":\"tools/call\",\"params\":{{\"name\":\"echo\",\"arguments\":{{}}}}}}"
        );
        let value: Value = serde_json::from_str(&frame).expect("JSON");
        for answer in [agent.ask(&frame), posted(&frame)] {
            let seen = text_of(&answer);
            let seen_value: Value = serde_json::from_str(&seen).expect("one message");
            assert!(none_left(&seen) && seen_value["x"] == value["x"], "{seen:?}");
        }
        // A name that trunkline itself writes again.
        let escaped = format!("\\u{:04x}", u32::from(end));
        all.call("2", &format!("t__a{escaped}b"), "{}");
        let seen: Vec<String> = serde_json::from_str(&text_of(&all.call("3", "t__seen", "{}"))).expect("frames");
        let escaped = if end == '\r' { "\\r" } else { &escaped };
        assert!(seen.iter().any(|frame| frame.contains(&format!("a{escaped}b"))), "{seen:?}");
        assert!(seen.iter().all(|frame| none_left(frame)), "{seen:?}");
        let answer = format!("{{\"jsonrpc\":\"2.0\",\"id\":$ID,{body},\"result\":{{\"content\":[]}}}}");
        let raw = serde_json::json!({ "frames": [answer] }).to_string();
        for answer in [
            agent.call("4", "raw", &raw),
            posted(&format!(
                r#"{{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{{"name":"raw","arguments":{raw}}}}}"#
            )),
        ] {
            let answer_value: Value = serde_json::from_str(&answer).expect("one message");
            assert!(none_left(&answer) && answer_value["x"] == value["x"], "{answer:?}");
        }
    }
    // In a string it is no JSON.
    agent.send("{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"tools/call\",\"params\":{\"name\":\"echo\",\"arguments\":{\"a\":\"x\ry\"}}}");
    assert!(agent.line().contains("-32700"));
}

#[test]
fn nobody_knows_the_id_of_anothers_call() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let first = |agent: &mut Agent| -> u64 {
        let seen: Value = serde_json::from_str(&text_of(&agent.call("1", "echo", "{}"))).expect("JSON");
        seen["id"].as_u64().expect("a number")
    };
    let mut agent = daemon.agent("t");
    let ids: Vec<u64> = (0..3)
        .map(|_| {
            let id = first(&mut agent);
            daemon.run(&["restart", "t"]);
            id
        })
        .collect();
    assert!(ids.iter().all(|id| *id < 1 << 31), "{ids:?}");
    assert!(
        ids[0].abs_diff(ids[1]) > 1_000 || ids[1].abs_diff(ids[2]) > 1_000,
        "they begin elsewhere each time: {ids:?}"
    );
}

/// Messages that Go's decoder, C#'s or pydantic reads otherwise than one that tells names apart, and what they name.
#[test]
fn a_message_with_two_readings_is_refused() {
    let daemon = Daemon::start(&format!("[http]\nlisten = \"127.0.0.1:0\"\n{}", own_server("t", &[])));
    let mut agent = daemon.agent("t");
    let endpoint = daemon.endpoint(Some("t"));
    let session = begin(&endpoint);
    let call = |members: &str| format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{{members}}}}}"#);
    for (frame, found, id) in [
        (
            r#"{"jsonrpc":"2.0","id":7,"ID":8,"method":"tools/call","params":{"name":"echo"}}"#.to_owned(),
            "ID",
            Value::Null,
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"ping","Method":"tools/call","params":{"name":"echo"}}"#.to_owned(),
            "Method",
            json!(7),
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{},"param\u017f":{"name":"echo"}}"#.to_owned(),
            "paramſ",
            json!(7),
        ),
        (call(r#""name":"echo","Name":"hold""#), "Name", json!(7)),
        (call(r#""name":"echo","n\u0041me":"hold""#), "nAme", json!(7)),
        (call(r#""name":"echo","_META":{"progressToken":3}"#), "_META", json!(7)),
        (call(r#""name":"echo","meta":{"progressToken":3}"#), "meta", json!(7)),
        (call(r#""name":"echo","_meta":{"progress_token":3}"#), "progress_token", json!(7)),
        (call(r#""name":"echo","_meta":{"progressTo\u212aen":3}"#), "progressTo\u{212a}en", json!(7)),
        (call(r#""ref":{"name":"a","NAME":"b"}"#), "NAME", json!(7)),
        (call(r#""task_id":"a""#), "task_id", json!(7)),
        (call(r#""_meta":{"io.modelcontextprotocol/related-task":{"taskId":"a","TaskID":"b"}}"#), "TaskID", json!(7)),
        (call(r#""capabilities":{"Sampling":{}}"#), "Sampling", json!(7)),
        (call(r#""notifications":{"TaskIds":["a"]}"#), "TaskIds", json!(7)),
        (
            call(r#""_meta":{"io.modelcontextprotocol/clientcapabilities":{}}"#),
            "io.modelcontextprotocol/clientcapabilities",
            json!(7),
        ),
        (call(r#""_meta":{"io.modelcontextprotocol/clientCapabilities":{"ROOTS":{}}}"#), "ROOTS", json!(7)),
    ] {
        agent.send(&frame);
        for answer in [agent.line(), post(&endpoint, &[("Mcp-Session-Id", &session)], &frame).body] {
            let answer: Value = serde_json::from_str(&answer).expect("JSON");
            assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32600), &id), "{frame}: {answer}");
            let message = answer["error"]["message"].as_str().expect("a text");
            assert!(message.contains(&format!("`{found}`")), "{frame}: {message}");
        }
    }
    for frame in [
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"request_id":1}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"Error":{}}"#,
    ] {
        agent.send(frame);
        assert!(agent.line().contains("-32600"), "{frame}");
    }
    agent.send(r#"{"jsonrpc":"2.0","id":7,"ID":null,"method":"ping"}"#);
    assert!(agent.line().contains("-32600"), "to Go, that is a notification");
    // As pydantic writes what is not there.
    let nothing = call(r#""name":"echo","meta":null,"task_id":null,"Extra":1"#);
    assert!(text_of(&agent.ask(&nothing)).contains(r#""meta":null"#));
    // What is the server's own is nobody's business.
    let own = call(r#""name":"echo","arguments":{"Name":"x","name":"y","ID":1},"Extra":1"#);
    assert!(text_of(&agent.ask(&own)).contains(r#"{"Name":"x","name":"y","ID":1},"Extra":1"#));
    let seen: Vec<String> = serde_json::from_str(&text_of(&agent.call("99", "seen", "{}"))).expect("frames");
    let calls = seen.iter().filter(|frame| frame.contains("tools/call") || frame.contains("cancelled"));
    let others = calls.filter(|frame| !frame.contains("\"Extra\"") && !frame.contains("\"seen\""));
    assert_eq!(others.count(), 0, "nothing else went to the server: {seen:?}");
}

#[test]
fn what_a_server_says_in_two_ways_reaches_nobody() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let (mut agent, other) = (daemon.agent("t"), daemon.agent("t"));
    for frame in [
        r#"{"jsonrpc":"2.0","id":$ID,"ID":5,"result":{"content":[]}}"#,
        r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[]},"Result":{"content":[1]}}"#,
        r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[]},"METHOD":"ping"}"#,
    ] {
        let error = error_of(&agent.call("1", "raw", &json!({ "frames": [frame] }).to_string()));
        assert!(error.contains("some readers"), "{error}");
    }
    let question = r#"{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{"META":{}}}"#;
    let answer = r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}"#;
    agent.call("3", "raw", &json!({ "frames": [question, answer] }).to_string());
    let seen = text_of(&agent.call("4", "seen", r#"{"what":"-32600"}"#));
    assert!(seen.contains(r#"\"id\":\"q\""#), "it does not wait for ever: {seen}");
    let notice =
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","Level":"info","data":1}}"#;
    let good = r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}"#;
    let answer = agent.call("2", "raw", &json!({ "frames": [notice, good] }).to_string());
    assert!(answer.contains("\"result\""), "the next line on its connection: {answer}");
    let quirks = daemon.server("t")["notes"].to_string();
    assert!(quirks.contains("readers do not agree") && quirks.contains("5 times"), "{quirks}");
    drop(other);
}

#[test]
fn a_tool_that_is_not_offered_is_called_by_no_name() {
    let daemon = Daemon::start(&format!("{}tools = {{ deny = [\"echo\"] }}\n", own_server("t", &[])));
    let (mut agent, mut all) = (daemon.agent("t"), daemon.agent_of_all());
    for name in [r#""name":["echo"],"#, r#""name":{"echo":1},"#, r#""name":7,"#, r#""name":null,"#, ""] {
        let frame =
            format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{{name}"arguments":{{"key":"k"}}}}}}"#);
        for agent in [&mut agent, &mut all] {
            let answer = agent.ask(&frame);
            assert!(answer.contains("-32602"), "{frame}: {answer}");
        }
    }
    let seen = text_of(&agent.call("9", "seen", r#"{"what":"tools/call"}"#));
    assert!(!seen.contains(r#"\"key\""#), "none went to the server: {seen}");
    assert!(error_of(&agent.call("8", "echo", "{}")).contains("not offered"));
}

#[test]
fn a_task_is_its_agents_alone_however_it_is_named() {
    let program = example("conformance-server");
    let daemon = Daemon::start(&format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n[servers.jobs]\ncommand = {program:?}\nargs = [\"--only=modern\"]\n"
    ));
    for face in [Face::Socket, Face::Shim, Face::Http] {
        let mut own = Speaker::attach(&daemon, Era::Modern, face, "jobs");
        own.capabilities["extensions"] = json!({ "io.modelcontextprotocol/tasks": {} });
        let begun = own
            .ask("tools/call", json!({ "name": "slow_compute", "arguments": { "seconds": 600, "label": "x" } }))
            .expect("a task");
        let id = &begun["taskId"];
        let mut other = Speaker::attach(&daemon, Era::Modern, face, "jobs");
        other.name = "another".to_owned();
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            for params in [
                json!({ "taskId": id }),
                json!({ "taskId": [id] }),
                json!({ "TaskId": id }),
                json!({ "task_id": id }),
                json!({ "taskId": "none", "taskID": id }),
            ] {
                let answer = other.ask(method, params.clone());
                assert!(answer.is_err(), "{face:?} {method} {params}: {answer:?}");
            }
        }
        for ids in [json!(["x", 5, id]), id.clone(), json!({ "a": id }), json!([id]), json!([[id]])] {
            let answer = other.ask("subscriptions/listen", json!({ "notifications": { "taskIds": ids } }));
            assert!(answer.as_ref().is_err_and(|error| error.contains("-32602")), "{face:?} {ids}: {answer:?}");
        }
        for notifications in [json!([[id]]), json!("taskIds"), json!({ "task_ids": [id] })] {
            let answer = other.ask("subscriptions/listen", json!({ "notifications": notifications }));
            assert!(answer.is_err(), "{face:?} {notifications}: {answer:?}");
        }
        assert_eq!(own.ask("tasks/get", json!({ "taskId": id })).expect("its own")["status"], "working");
        own.ask("tasks/cancel", json!({ "taskId": id })).expect("its own");
    }
}

/// Escapes of a server reach neither a terminal nor the log, whatever brings them.
#[test]
fn what_a_server_writes_moves_no_cursor() {
    const ODD: [&str; 5] = ["\u{1b}", "\u{9b}", "\u{7}", "\u{202e}", "\u{200b}"];
    let text = format!("a{}b", ODD.concat());
    // The same for TOML.
    let named = r"a\u001b\u009b\u0007\u202e\u200bb";
    let program = test_server();
    let daemon = Daemon::start(&format!(
        "[servers.dies]\ncommand = \"sh\"\nargs = [\"-c\", \"echo '{named}' >&2; exit 7\"]\n[servers.t]\ncommand = {program:?}\nargs = [\"--tool={named}\"]\n"
    ));
    let bytes = |words: &[&str]| {
        let output = daemon.run(words);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let mut shown: Vec<_> = [
        &["tools", "t"][..],
        &["tools", "dies"],
        &["call", "dies", "x"],
        &["call", "t", "echo", &format!("x={text}")],
        &["status"],
        &["logs", "dies"],
        &["check"],
    ]
    .into_iter()
    .map(|words| (words.join(" "), bytes(words)))
    .collect();
    shown.push(("the log".to_owned(), daemon.log()));
    for (what, shown) in &shown {
        assert!(ODD.iter().all(|odd| !shown.contains(odd)), "{what}: {shown:?}");
    }
    for what in ["tools t", "tools dies", "logs dies", "the log"] {
        let (_, shown) = shown.iter().find(|(name, _)| name == what).expect("tried");
        assert!(shown.contains("a\\u{1b}\\u{9b}\\u{7}\\u{202e}\\u{200b}b"), "{what}: {shown:?}");
    }
    let json: Value = serde_json::from_slice(&daemon.run(&["tools", "t", "--json"]).stdout).expect("JSON");
    assert!(json.to_string().contains("\u{202e}"), "as it is: {json}");
}

#[test]
fn a_storm_of_one_kind_is_a_few_lines_of_the_log() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let (mut agent, _other) = (daemon.agent("t"), daemon.agent("t"));
    let mut frames = vec![r#"{"jsonrpc":"2.0","id":"nobody","result":{"a":1}}"#; 2_000];
    frames.push(r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}"#);
    agent.call("1", "raw", &json!({ "frames": frames }).to_string());
    let notes = daemon.server("t")["notes"].to_string();
    assert!(notes.contains("dropped") && notes.contains("times)"), "{notes}");
    let log = daemon.log();
    assert!(log.lines().count() < 30, "{} lines", log.lines().count());
    assert!(log.contains("server=t") && log.contains("nobody") && log.contains("(1000 times)"), "{log}");
}

/// What a shim starts writes to a file that nobody else looks after.
#[test]
fn the_log_of_a_daemon_that_a_shim_started_is_rotated() {
    let daemon = Daemon::not_started(&own_server("t", &[]));
    let logs = daemon.folder().join("state/logs");
    std::fs::create_dir_all(&logs).expect("created");
    std::fs::write(logs.join("daemon.log"), vec![b'x'; 4 << 20]).expect("written");
    let mut agent = daemon.shim(&["t"]);
    agent.greet("{}");
    let size = |name: &str| std::fs::metadata(logs.join(name)).map_or(0, |found| found.len());
    assert!(size("daemon.log.1") >= 4 << 20 && size("daemon.log") < 64 << 10, "it begins anew");
    let log = std::fs::read_to_string(logs.join("daemon.log")).expect("read");
    assert!(log.contains("trunkline is up") && !log.contains('x'.to_string().repeat(9).as_str()), "{log}");
}

#[test]
fn a_name_of_any_length_is_answered_with_few_words() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let (mut agent, mut all) = (daemon.agent("t"), daemon.agent_of_all());
    let long = "ü".repeat(1 << 20);
    for name in [format!("{long}__x"), format!("t__{long}"), long.clone()] {
        let answer = all.call("1", &name, "{}");
        assert!(error_of(&answer).len() < 10_000, "{} bytes", answer.len());
    }
    assert!(text_of(&agent.call("2", "echo", "{}")).contains("echo"));
}
