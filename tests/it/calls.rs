//! Calls arrive and come back byte for byte; a server that ends fails them clearly.

use serde_json::Value;

use crate::support::{Agent, Daemon, eventually, id_of, own_server, params_of, strip_id, test_server, text_of};

/// Requests whose bytes must arrive as they were sent, ids and tokens aside.
const ODD: [&str; 6] = [
    r#"{"method":"tools/call","params":{"arguments":{"n":12345678901234567890123,"e":1E5,"f":1.0,"u":"\u00e9é\/"},"name":"echo"},"id":7,"jsonrpc":"2.0"}"#,
    r#"{"jsonrpc":"2.0","x-top":{"id":5},"id":18446744073709551616,"method":"tools/call","params":{"_meta":{"z":1,"progressToken":"t","a":[]},"name":"echo","arguments":{}}}"#,
    r#"{ "jsonrpc" : "2.0" , "id" : "a\"b" , "method" : "tools/call" , "params" : { "name" : "echo" , "arguments" : { } } }"#,
    r#"{"jsonrpc":"2.0","id":-1,"method":"tools/call","params":{"name":"echo","id":3,"requestId":4,"progressToken":5,"arguments":{"_meta":{"progressToken":6}}}}"#,
    r#"{"jsonrpc":"2.0","id":"7","method":"x/unknown","params":[1,{"id":2},null]}"#,
    r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
];

#[test]
fn every_byte_but_the_id_is_the_servers() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut direct = Agent::process(std::process::Command::new(test_server()).arg("--name=t"));
    let mut through = daemon.attach("t");
    assert_eq!(direct.greet("{}"), through.greet("{}"), "the handshake");
    for frame in ODD.into_iter().chain([
        r#"{"jsonrpc":"2.0","id":3,"method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","id":3,"method":"prompts/get","params":{"name":"n"}}"#,
        r#"{"jsonrpc":"2.0","id":3,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"p"}}}"#,
    ]) {
        let (expected, got) = (direct.ask(frame), through.ask(frame));
        assert_eq!(id_of(&got), id_of(frame), "the id keeps its type and digits");
        if frame.contains("\"echo\"") {
            assert_echoed(frame, &text_of(&got));
        } else {
            assert_eq!(got, expected, "{frame}");
        }
    }
}

/// What the server saw is the frame with another id, and another token if it has one.
fn assert_echoed(sent: &str, seen: &str) {
    let token = |frame: &str| params_of(frame)["_meta"]["progressToken"].clone();
    let mask = |frame: &str| {
        let frame = frame.replacen(&format!("\"id\" : {}", id_of(frame).unwrap_or_default()), "\"id\" : $ID", 1);
        let frame = strip_id(&frame);
        let token = token(&frame.replace("$ID", "0"));
        if token.is_null() {
            return frame;
        }
        frame.replacen(&format!("\"progressToken\":{token}"), "\"progressToken\":$TOKEN", 1)
    };
    assert_eq!(mask(sent), mask(seen));
}

#[test]
fn raw_results_and_errors_pass_untouched() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut agent = daemon.agent("t");
    for body in [
        r#""result":{"content":[{"type":"x-new","v":1E5}],"messages":[{"role":"user"}],"x":12345678901234567890123}"#,
        r#""error":{"code":-1234567890123,"message":"m","data":{"z":1,"a":1.50}}"#,
        r#""x-before":0,"result":null"#,
    ] {
        let frame = format!(r#"{{"jsonrpc":"2.0",{body},"id":$ID}}"#);
        let answer = agent.call("\"c\"", "raw", &serde_json::json!({ "frames": [frame] }).to_string());
        assert_eq!(answer, frame.replace("$ID", "\"c\""));
    }
}

#[test]
fn junk_and_second_answers_are_skipped() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut agent = daemon.agent("t");
    assert_eq!(text_of(&agent.call("1", "junk", "{}")), "after the junk");
    assert_eq!(
        text_of(&agent.call(
            "2",
            "raw",
            r#"{"frames":["{\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{\"content\":[{\"text\":\"next\"}]}}"]}"#
        )),
        "next",
        "the second answer was dropped"
    );
    assert!(daemon.log().contains("it writes what is no message"), "{}", daemon.log());
    let logs = daemon.run(&["logs", "t"]);
    assert!(String::from_utf8_lossy(&logs.stdout).contains("[no message]"), "{logs:?}");
}

#[test]
fn a_server_that_ends_fails_its_calls_once_and_starts_again() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let (mut one, mut other) = (daemon.agent("t"), daemon.agent("t"));
    let pid = one.server_pid();
    other.send_call("\"held\"", "hold", r#"{"key":"k"}"#);
    let error = one.call("5", "exit", r#"{"code":7}"#);
    for (error, id) in [(error, "5"), (other.answer("\"held\""), "\"held\"")] {
        assert_eq!(id_of(&error).as_deref(), Some(id));
        assert!(
            error.contains("exit status: 7") && error.contains("leaving on request") && error.contains("not repeated"),
            "{error}"
        );
    }
    assert_ne!(one.server_pid(), pid, "the next call starts it again");
    assert_eq!(daemon.server("t")["starts"], 2);
}

#[test]
fn an_exit_is_seen_though_a_process_left_behind_holds_the_output_open() {
    let script = format!("sleep 600 & exec {}", test_server());
    let daemon = Daemon::start(&format!("[servers.t]\ncommand = \"/bin/sh\"\nargs = [\"-c\", {script:?}]\n"));
    let error = daemon.agent("t").call("1", "exit", r#"{"code":7}"#);
    assert!(error.contains("exit status: 7"), "{error}");
}

#[test]
fn a_server_that_says_nothing_is_given_up_and_status_keeps_the_reason() {
    let daemon = Daemon::start(
        "[servers.t]\ncommand = \"/bin/sh\"\nargs = [\"-c\", \"cat > /dev/null\"]\nstartup_timeout = \"300ms\"\n",
    );
    let answer = daemon.attach("t").ask(&crate::support::legacy("{}"));
    assert!(answer.contains("did not answer the handshake within 300ms"), "{answer}");
    eventually("the process is gone", || daemon.log().contains("server process ended"));
    let reason = daemon.server("t")["last_error"].clone();
    assert!(reason.as_str().is_some_and(|reason| reason.contains("did not answer")), "{reason}");
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let config = format!(
        "{}[servers.none]\ncommand = \"trunkline-nonesuch\"\n[servers.env]\ncommand = \"x\"\nargs = [\"${{env:TRUNKLINE_UNSET}}\"]\n",
        own_server("dies", &["--die", "no licence"])
    );
    let daemon = Daemon::start(&config.replace("\"--die\", \"no licence\"", "\"--die=no licence\""));
    for (server, why) in [("dies", "no licence"), ("none", "no such program"), ("env", "TRUNKLINE_UNSET is not set")] {
        let mut agent = daemon.attach(server);
        let answer = agent.ask(&crate::support::legacy("{}"));
        assert!(answer.contains("\"error\"") && answer.contains(why) && answer.contains(server), "{answer}");
        eventually("status says so", || {
            daemon.server(server)["last_error"].as_str().is_some_and(|error| error.contains(why))
        });
    }
}

fn folder_with(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("config.toml"), config).expect("written");
    folder
}

#[test]
fn a_child_gets_what_servers_need_and_no_secrets() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("secret"), "from a file\n").expect("written");
    let config = format!(
        "{}cwd = {:?}\nenv = {{ TOLD = \"${{file:{}}}\", HERE = \"${{env:HOME}}\" }}\nenv_vars = [\"TRUNKLINE_SOCKET\"]\n",
        own_server("t", &[]),
        folder.path(),
        folder.path().join("secret").display()
    );
    let daemon = Daemon::start_with(
        folder_with(&config),
        &[("LC_TIME", "C"), ("SSL_CERT_FILE", "/c"), ("https_proxy", "p"), ("SOME_TOKEN", "t"), ("EDITOR", "e")],
    );
    let state: Value = serde_json::from_str(&text_of(&daemon.agent("t").call("1", "state", "{}"))).expect("JSON");
    let environment = state["environment"].as_object().expect("an object");
    assert_eq!(environment["TOLD"], "from a file");
    assert_eq!(environment["HERE"].as_str(), std::env::var("HOME").ok().as_deref());
    assert!(
        environment.contains_key("TRUNKLINE_SOCKET") && !environment.contains_key("TRUNKLINE_CONFIG"),
        "{environment:?}"
    );
    for (name, given) in
        [("LC_TIME", true), ("SSL_CERT_FILE", true), ("https_proxy", true), ("SOME_TOKEN", false), ("EDITOR", false)]
    {
        assert_eq!(environment.contains_key(name), given, "{name}");
    }
    assert_eq!(state["cwd"], folder.path().canonicalize().expect("there").display().to_string());
}
