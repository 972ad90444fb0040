//! The daemon's own calls and the commands over them.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Agent, Daemon, command, error_of, eventually, own_server, test_server, trunkline};

fn control(daemon: &Daemon, method: &str, params: &Value) -> Value {
    let mut agent = Agent::socket(&daemon.socket());
    serde_json::from_str(
        &agent.ask(&json!({ "jsonrpc": "2.0", "id": "c", "method": method, "params": params }).to_string()),
    )
    .expect("JSON")
}

#[test]
fn a_script_uses_a_server_without_speaking_mcp() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let tools = control(&daemon, "daemon.list_tools", &json!({ "server": "t" }));
    assert_eq!(tools["result"][0]["tools"][0]["name"], "echo");
    let mut agent = Agent::socket(&daemon.socket());
    let answer = agent.ask(r#"{"jsonrpc":"2.0","id":1,"method":"daemon.call_tool","params":{"server":"t","tool":"echo","arguments":{"n":12345678901234567890123}}}"#);
    assert!(answer.contains(r#"\"arguments\":{\"n\":12345678901234567890123}"#), "{answer}");
    let failed = control(&daemon, "daemon.call_tool", &json!({ "server": "t", "tool": "none" }));
    assert_eq!(
        (failed["error"]["code"].as_i64(), failed["error"]["message"].as_str()),
        (Some(-32602), Some("no such tool"))
    );
    for (method, params, code) in [
        ("daemon.nonesuch", json!({}), -32601),
        ("daemon.login", json!({ "server": "t" }), -32602),
        ("daemon.call_tool", json!({ "server": "none", "tool": "x" }), -32602),
        ("daemon.call_tool", json!({ "tool": "x" }), -32602),
        ("daemon.subscribe_logs", json!({ "server": "none" }), -32602),
    ] {
        assert_eq!(control(&daemon, method, &params)["error"]["code"], code, "{method}");
    }
}

#[test]
fn a_long_call_is_answered_as_a_short_one() {
    let daemon = Daemon::start(&own_server("t", &[]));
    for length in [10, 200_000, 5_000_000] {
        let arguments = json!({ "text": "x".repeat(length) });
        let call = |server: &str, tool: &str| {
            control(&daemon, "daemon.call_tool", &json!({ "server": server, "tool": tool, "arguments": arguments }))
        };
        let answer = call("t", "echo");
        assert_eq!((&answer["id"], &answer["jsonrpc"]), (&json!("c"), &json!("2.0")));
        let text = answer["result"]["content"][0]["text"].as_str().expect("a text");
        assert!(text.len() > length && text.contains("xxxxx"), "{length}");
        for (answer, code, words) in [
            (call("t", "none"), -32602, "no such tool"),
            (call("none", "echo"), -32602, "none"),
            (control(&daemon, "daemon.call_tool", &json!({ "tool": "echo", "arguments": arguments })), -32602, ""),
        ] {
            assert_eq!(answer["error"]["code"], code, "{length}: {}", answer["error"]);
            assert!(answer["error"]["message"].as_str().is_some_and(|message| message.contains(words)), "{length}");
        }
    }
    let too_long = control(&daemon, "daemon.servers", &json!({ "text": "x".repeat(200_000) }));
    assert_eq!(too_long["error"]["code"], -32600);
}

#[test]
fn one_slow_call_does_not_hold_the_next_up() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut agent = Agent::socket(&daemon.socket());
    agent.send(r#"{"jsonrpc":"2.0","id":1,"method":"daemon.call_tool","params":{"server":"t","tool":"hold","arguments":{"key":"k"}}}"#);
    eventually("the call is in flight, and others are answered", || {
        agent.ask(r#"{"jsonrpc":"2.0","id":2,"method":"daemon.servers"}"#).contains("\"in_flight\":1")
    });
    agent.send(r#"{"jsonrpc":"2.0","id":3,"method":"daemon.call_tool","params":{"server":"t","tool":"release","arguments":{"key":"k"}}}"#);
    agent.answer("1");
}

#[test]
fn a_large_answer_behind_a_small_one_holds_nobody_up() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let call = |id: u32, arguments: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"daemon.call_tool","params":{{"server":"t","tool":"big","arguments":{{"bytes":{arguments}}}}}}}"#
        )
    };
    let mut agent = Agent::socket(&daemon.socket());
    agent.pause();
    for round in 0..20 {
        agent.send(&call(round, if round % 2 == 0 { "100000" } else { "1200000" }));
    }
    assert!(daemon.run(&["status"]).status.success(), "the daemon goes on");
    agent.resume();
    for _ in 0..20 {
        assert!(agent.line().len() > 100_000);
    }
}

#[test]
fn a_script_that_closed_its_side_still_gets_its_answers() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut agent = Agent::socket(&daemon.socket());
    agent.send(r#"{"jsonrpc":"2.0","id":1,"method":"daemon.call_tool","params":{"server":"t","tool":"echo"}}"#);
    agent.close_input();
    assert!(agent.answer("1").contains("content"));
    assert_eq!(agent.next(), None, "and then the connection ends");
}

#[test]
fn subscriptions_are_each_connections_own_and_a_slow_reader_learns_what_it_missed() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let subscribe = r#"{"jsonrpc":"2.0","id":1,"method":"daemon.subscribe_events"}"#;
    let (mut watcher, mut slow) = (Agent::socket(&daemon.socket()), Agent::socket(&daemon.socket()));
    let id = serde_json::from_str::<Value>(&watcher.ask(subscribe)).expect("JSON")["result"].clone();
    let foreign = slow
        .ask(&json!({ "jsonrpc": "2.0", "id": 2, "method": "daemon.unsubscribe_events", "params": [id] }).to_string());
    assert!(foreign.contains("\"result\":false"), "another connection's subscription is not there: {foreign}");
    let agent = daemon.agent("t");
    let attached = watcher.until(|line| line.contains("agent_attached"));
    assert!(attached.contains("\"agent\":\"test\"") && attached.contains("daemon.event"), "{attached}");
    watcher.until(|line| line.contains("server_ready"));
    drop(agent);
    watcher.until(|line| line.contains("agent_left"));
    let stopped = watcher
        .ask(&json!({ "jsonrpc": "2.0", "id": 3, "method": "daemon.unsubscribe_events", "params": [id] }).to_string());
    assert!(stopped.contains("\"result\":true"), "{stopped}");
    // A flood of log lines for a reader that reads nothing for a while.
    slow.ask(r#"{"jsonrpc":"2.0","id":4,"method":"daemon.subscribe_logs","params":{"server":"t"}}"#);
    slow.pause();
    let mut flood = daemon.agent("t");
    flood.send_call("2", "hold", r#"{"key":"k"}"#);
    let mut second = daemon.agent("t");
    let message = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": "x".repeat(3_000) } }).to_string();
    let frames = vec![message; 2_000]
        .into_iter()
        .chain([r#"{"jsonrpc":"2.0","id":$ID,"result":{}}"#.to_owned()])
        .collect::<Vec<_>>();
    second.call("2", "raw", &json!({ "frames": frames }).to_string());
    slow.resume();
    let missed = slow.until(|line| line.contains("\"missed\":"));
    assert!(missed.contains("daemon.log"), "{missed}");
}

#[test]
fn commands_for_people_and_for_scripts() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let text = |words: &[&str]| {
        let output = daemon.run(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(text(&["tools"]).contains("t echo"));
    assert!(text(&["tools", "t", "--json"]).contains("\"x-odd\""));
    assert!(text(&["call", "t", "echo", "a=1", "b=two"]).contains(r#""arguments":{"a":1,"b":"two"}"#));
    assert!(text(&["status"]).contains("ready"));
    assert!(text(&["logs"]).contains("trunkline is up"));
    let mut call = command(daemon.folder())
        .args(["call", "t", "echo", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    call.stdin.take().expect("piped").write_all(b"{\"from\":\"stdin\"}").expect("sent");
    assert!(String::from_utf8_lossy(&call.wait_with_output().expect("waited").stdout).contains(r#"{"from":"stdin"}"#));
    for (words, code, why) in [
        (&["call", "t", "none"][..], 1, "no such tool"),
        (&["call", "none", "x"], 1, "no server is named `none`"),
        (&["call", "t", "echo", "x"], 1, "not key=value"),
        (&["tools", "none"], 1, "no server is named"),
        (&["nonsense"], 2, "unrecognized subcommand"),
    ] {
        let output = daemon.run(words);
        assert_eq!(output.status.code(), Some(code), "{words:?}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(why),
            "{words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn logs_are_followed() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let follower = Agent::process(command(daemon.folder()).args(["logs", "-f"]));
    follower.until(|line| line.contains("trunkline is up"));
    let _agent = daemon.agent("t");
    follower.until(|line| line.contains("server ready"));
}

#[test]
fn shutdown_ends_the_servers_too() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let pid = daemon.agent("t").server_pid();
    let at = format!("/proc/{pid}");
    assert!(std::path::Path::new(&at).exists());
    assert!(daemon.run(&["shutdown"]).status.success());
    assert!(!std::path::Path::new(&at).exists(), "shutdown returns when all are gone");
}

#[test]
fn check_names_every_problem_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("c.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).expect("written");
        let output = trunkline(folder.path(), &["check", &file.display().to_string()]);
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout),
        )
    };
    assert_eq!(check(&own_server("t", &[])).0, Some(0));
    let (code, words) = check(
        "[servers.a]\ncomand = \"x\"\n\n[servers.b]\ncommand = \"x\"\nurl = 3\n\n[servers.c]\nurl = \"ftp://x\"\nargs = [\"${project}\"]\n",
    );
    assert_eq!(code, Some(1));
    let lines: Vec<_> =
        words.lines().map(|line| line.strip_prefix(&format!("{}:", file.display())).unwrap_or(line)).collect();
    assert!(
        lines[0].starts_with("1: servers.a: the server has no `command` and no `url`")
            && lines[1].starts_with("2: servers.a: unknown key `comand`")
            && lines[2].starts_with("6: servers.b: the server has a `command` and a `url`")
            && lines[3].starts_with("9: servers.c.url: `url` has the scheme `ftp`")
            && lines[4].starts_with("10: servers.c: `args` is of no use here"),
        "{lines:#?}"
    );
    assert!(
        check("[servers.b]\ncommand = \"${env:TRUNKLINE_UNSET}\"\n")
            .1
            .contains(":2: server `b`: environment variable TRUNKLINE_UNSET is not set")
    );
    let missing = trunkline(folder.path(), &["check", "/nonesuch"]);
    assert!(
        missing.status.code() == Some(1) && String::from_utf8_lossy(&missing.stderr).contains("cannot read /nonesuch")
    );
}

#[test]
fn the_example_configuration_is_valid() {
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/example.toml");
    let output = trunkline(std::path::Path::new("/"), &["check", &example.display().to_string()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_demo_runs_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = command(folder.path()).arg("demo").env("TMPDIR", folder.path()).output().expect("starts");
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}{}", String::from_utf8_lossy(&output.stderr));
    assert!(words.contains("from 1 server process;"), "{words}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 0, "it leaves nothing");
    assert!(!test_server().is_empty());
}

#[test]
fn an_unknown_tool_is_called_unknown() {
    let daemon = Daemon::start(&format!("{}tools = {{ allow = [\"echo\"] }}\n", own_server("t", &[])));
    assert!(daemon.run(&["tools", "t"]).status.success());
    for (tool, said) in [
        ("ecko", "has no tool `ecko`: did you mean `echo`?"),
        ("raw", "keeps it back"),
        ("nothing-like-it", "has no tool"),
    ] {
        let called = daemon.run(&["call", "t", tool]);
        assert!(String::from_utf8_lossy(&called.stderr).contains(said), "{tool}: {called:?}");
        let answer = daemon.agent("t").call("1", tool, "{}");
        assert!(error_of(&answer).contains(said), "{tool}: {answer}");
        let answer = daemon.agent_of_all().call("1", &format!("t__{tool}"), "{}");
        assert!(error_of(&answer).contains(said), "{tool}: {answer}");
    }
}

#[test]
fn a_list_with_failures_is_one_that_failed() {
    let daemon = Daemon::start(&format!("{}[servers.bad]\ncommand = \"/nowhere\"\n", own_server("t", &[])));
    let tools = daemon.run(&["tools"]);
    assert_eq!(tools.status.code(), Some(1));
    let (out, err) = (String::from_utf8_lossy(&tools.stdout), String::from_utf8_lossy(&tools.stderr));
    assert!(out.contains("t echo") && !out.contains("bad") && err.contains("bad: "), "{out} {err}");
}

#[test]
fn the_first_list_starts_each_server_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let starts = folder.path().join("starts");
    let script = format!("echo x >> {}; sleep 1; exec {} --name=t", starts.display(), crate::support::test_server());
    let daemon = Daemon::start(&format!(
        "[daemon]\ndiscover = \"background\"\n[servers.t]\ncommand = \"/bin/sh\"\nargs = [\"-c\", {script:?}]\n"
    ));
    assert!(daemon.run(&["tools"]).status.success());
    assert_eq!(std::fs::read_to_string(&starts).expect("read").lines().count(), 1);
}

#[test]
fn a_reload_right_behind_an_edit_says_what_came_of_it() {
    let daemon = Daemon::start(&own_server("t", &[]));
    daemon.configure(&format!("{}{}", own_server("t", &[]), own_server("u", &[])));
    eventually("the watcher took it", || daemon.status()["servers"].as_array().map(Vec::len) == Some(2));
    let reloaded = daemon.run(&["reload"]);
    assert!(String::from_utf8_lossy(&reloaded.stdout).contains("added: u"), "{reloaded:?}");
    let again = daemon.run(&["reload"]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("no server changed"), "{again:?}");
}

#[test]
fn another_configuration_than_the_daemons_is_said_to_be_one() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let other = daemon.folder().join("other.toml");
    std::fs::write(&other, "").expect("written");
    let status = daemon.run(&["--config", &other.display().to_string(), "status"]);
    let said = String::from_utf8_lossy(&status.stderr).into_owned();
    assert!(
        status.status.success()
            && said.contains("config.toml")
            && said.contains("and not")
            && said.contains("other.toml"),
        "{said}"
    );
    assert!(daemon.run(&["status"]).stderr.is_empty());
}

#[test]
fn a_secret_in_a_command_is_in_no_error() {
    let daemon = Daemon::start("[servers.t]\ncommand = \"/nowhere/${env:HOME}-canary\"\n");
    let tools = daemon.run(&["tools", "t"]);
    let said = String::from_utf8_lossy(&tools.stderr).into_owned();
    assert!(said.contains("/nowhere/${env:HOME}-canary"), "{said}");
    assert!(daemon.log().contains("server=t"), "{}", daemon.log());
}
