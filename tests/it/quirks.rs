//! Servers that break the specification, each in one way (`tests/judges/quirky.py`): what works directly works, nothing hangs,
//! nothing goes to the wrong call, and a person is told once.

use serde_json::{Value, json};

use crate::support::{Agent, Daemon, Era, Face, Speaker, error_of, eventually, text_of};

fn quirky() -> String {
    format!("{}/tests/judges/quirky.py", env!("CARGO_MANIFEST_DIR"))
}

/// A daemon with one quirky server on standard input and output.
fn stdio(quirk: &str, more: &str) -> Daemon {
    Daemon::start(&format!(
        "[http]\nlisten = \"127.0.0.1:0\"\n[servers.q]\ncommand = \"python3\"\nargs = [{:?}, \"stdio\", {quirk:?}]\n{more}\n",
        quirky()
    ))
}

fn notes(daemon: &Daemon) -> String {
    daemon.server("q")["notes"].to_string()
}

/// A call of `t`, as an agent of this era on this face sees it.
fn call(daemon: &Daemon, era: Era, face: Face) -> Result<Value, String> {
    Speaker::attach(daemon, era, face, "q").ask("tools/call", json!({ "name": "t", "arguments": {} }))
}

#[test]
fn what_can_be_read_is_read_on_every_face_and_in_both_eras() {
    for (quirk, text, told) in [
        ("id-text", "fine t", "another spelling of the id"),
        ("id-float", "fine t", "another spelling"),
        ("id-exponent", "fine t", "another spelling"),
        ("id-null", "fine t", "answers under the id null"),
        ("id-strange", "fine t", "answers under the id \\\"another\\\""),
        ("id-missing", "fine t", "answers under the id null"),
        ("utf8", "fi\u{fffd}\u{fffd}ne\u{fffd} t", "not UTF-8"),
        ("infinite", "fine t", "NaN or Infinity"),
        ("mark-first", "fine t", "byte-order mark"),
        ("mark-each", "fine t", "byte-order mark"),
        ("osc-before", "fine t", "text on the lines of its messages"),
        ("progress-before", "fine t", "text on the lines"),
        ("text-behind", "fine t", "text on the lines"),
        ("banner", "fine t", "what is no message"),
        ("json-log", "fine t", "what is no message"),
        ("echoes-requests", "fine t", "what is no message"),
        ("batch", "fine t", "batches"),
        ("two-on-a-line", "fine t", "several messages on one line"),
        ("capabilities-list", "fine t", "`capabilities.tools` is a list"),
        ("capabilities-null", "fine t", "`capabilities` is null"),
        ("no-server-info", "fine t", "`serverInfo` is missing"),
        ("instructions-number", "fine t", "`instructions` is no string"),
        ("answers-anything", "fine t", ""),
    ] {
        let daemon = stdio(quirk, "");
        for (era, face) in [
            (Era::Legacy, Face::Socket),
            (Era::Modern, Face::Shim),
            (Era::Legacy, Face::Http),
            (Era::Modern, Face::Http),
        ] {
            let seen = call(&daemon, era, face);
            let seen = seen.map(|seen| seen["content"][0]["text"].as_str().unwrap_or_default().to_owned());
            assert_eq!(seen.as_deref(), Ok(text), "{quirk} {era:?} {face:?}");
        }
        assert!(notes(&daemon).contains(told), "{quirk}: {}", notes(&daemon));
        let once = told.is_empty() || daemon.log().matches(told.replace('\\', "").as_str()).count() == 1;
        assert!(once, "{quirk} is told once: {}", daemon.log());
    }
}

#[test]
fn what_cannot_be_read_fails_its_call_with_the_reason_and_no_other() {
    let daemon = stdio("not-json", "");
    let error = error_of(&daemon.agent("q").call("1", "t", "{}"));
    assert!(error.contains("its answer cannot be read: the message is not valid JSON"), "{error}");
    let daemon = stdio("error-null", "");
    assert!(daemon.agent("q").call("1", "t", "{}").contains("boom"));
    let daemon = stdio("large", "");
    let mut agent = daemon.agent("q");
    let pid = daemon.server("q")["instances"][0]["pid"].clone();
    assert!(error_of(&agent.call("1", "t", "{}")).contains("larger than the cap"));
    assert_eq!(daemon.server("q")["instances"][0]["pid"], pid, "the process goes on");
}

#[test]
fn a_handshake_that_fails_says_what_was_written() {
    for (quirk, expected) in [
        ("initialize-refused-null", "boom"),
        ("banner-only", "it wrote 2 lines on standard output that are no messages; the last: Ready."),
        ("content-length", "it wrote a line on standard output that is no message: Content-Length:"),
        ("no-version", "its answer to `initialize` is wrong: `protocolVersion` is missing"),
    ] {
        let daemon = stdio(quirk, "startup_timeout = \"3s\"");
        let mut agent = daemon.attach("q");
        let error = error_of(&agent.ask(&crate::support::legacy("{}")));
        assert!(error.contains(expected) && !error.contains("Some("), "{quirk}: {error}");
        if quirk == "banner-only" {
            let logs = daemon.run(&["logs", "q"]);
            assert!(String::from_utf8_lossy(&logs.stdout).contains("[no message] Listening on port 1337"), "{logs:?}");
        }
    }
}

#[test]
fn lists_end_and_name_each_tool_once() {
    for (quirk, tools, told) in [
        ("cursor-empty", "[\"q__t\",\"q__u\"]", ""),
        ("cursor-null", "[\"q__t\",\"q__u\"]", ""),
        ("cursor-number", "[\"q__t\",\"q__u\"]", ""),
        ("cursor-same", "[\"q__t\",\"q__u\"]", "a page that was there before"),
        ("cursor-circle", "[\"q__t\",\"q__u\"]", "a page that was there before"),
        ("cursor-endless", "[\"q__t\",\"q__u\"]", "a page that was there before"),
        ("undeclared-tools", "[\"q__t\",\"q__u\"]", "does not declare that it has tools"),
        ("odd-names", "[\"q__a_b_2\",\"q__a_b\",\"q__ns_x\",\"q__t\"]", ""),
        ("utf8-list", "[\"q__t\"]", "not UTF-8"),
    ] {
        let daemon = stdio(quirk, "");
        let mut agent = daemon.agent_of_all();
        for _ in 0..2 {
            let list: Value =
                serde_json::from_str(&agent.ask(r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#)).expect("JSON");
            let names: Vec<_> =
                list["result"]["tools"].as_array().into_iter().flatten().map(|tool| tool["name"].clone()).collect();
            assert_eq!(Value::from(names).to_string(), tools, "{quirk}");
        }
        assert!(notes(&daemon).contains(told), "{quirk}: {}", notes(&daemon));
    }
}

#[test]
fn a_tool_is_called_by_the_name_that_is_shown() {
    let daemon = stdio("odd-names", "tools = { deny = [\"ns/x\"] }");
    let mut agent = daemon.agent_of_all();
    agent.ask(r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#);
    assert_eq!(text_of(&agent.call("1", "q__a_b_2", "{}")), "fine a.b");
    assert_eq!(text_of(&agent.call("2", "q__a_b", "{}")), "fine a_b");
    assert!(error_of(&agent.call("3", "q__ns_x", "{}")).contains("keeps it back"));
    // The next daemon knows them too, before anybody asks for the list.
    let daemon = Daemon::start_in(daemon.restart());
    assert_eq!(text_of(&daemon.agent_of_all().call("1", "q__a_b_2", "{}")), "fine a.b");
}

#[test]
fn an_agent_that_ends_its_connection_over_much_is_spared() {
    let size = 11 << 20;
    let daemon = Daemon::start(&crate::support::own_server("t", &[]));
    let mut claude = daemon.attach("t");
    let hello = crate::support::legacy("{}").replace("\"name\":\"agent\"", "\"name\":\"claude-code\"");
    assert!(hello.contains("claude-code"), "{hello}");
    claude.ask(&hello);
    let error = error_of(&claude.call("1", "big", &format!("{{\"bytes\":{size}}}")));
    assert!(error.contains("are what this agent reads at once"), "{error}");
    assert_eq!(text_of(&claude.call("2", "big", "{\"bytes\":2000000}")).len(), 2_000_000);
    assert_eq!(
        text_of(&daemon.agent("t").call("1", "big", &format!("{{\"bytes\":{size}}}"))).len(),
        size,
        "others take it"
    );
    let daemon = Daemon::start(&format!("[daemon]\nmax_result = \"2MiB\"\n{}", crate::support::own_server("t", &[])));
    let error = error_of(&daemon.agent("t").call("1", "big", "{\"bytes\":3000000}"));
    assert!(error.contains("`max_result` lets pass"), "{error}");
}

#[test]
fn a_storm_of_announcements_is_one_each_second() {
    let daemon = Daemon::start(&crate::support::own_server("t", &["--announces"]));
    let mut agent = daemon.agent("t");
    let mut frames = vec![json!(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#); 200];
    frames.push(json!(r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}"#));
    let began = std::time::Instant::now();
    agent.send_call("1", "raw", &json!({ "frames": frames }).to_string());
    let mut heard = 0;
    while let Some(line) = agent.line_within(std::time::Duration::from_millis(1500)) {
        heard += usize::from(line.contains("list_changed"));
    }
    let most = began.elapsed().as_secs() as usize + 2;
    assert!(heard >= 1 && heard <= most, "{heard} announcements, at most {most}");
}

/// An HTTP server of `quirky.py`, which ends with the test.
struct Quirky(std::process::Child, String);

impl Quirky {
    fn start(quirk: &str) -> Self {
        use std::io::{BufRead, BufReader};
        let mut command = std::process::Command::new("python3");
        let mut child =
            command.args([&quirky(), "http", quirk]).stdout(std::process::Stdio::piped()).spawn().expect("python3");
        let mut port = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut port).expect("a port");
        Self(child, format!("http://127.0.0.1:{}/mcp", port.trim()))
    }

    fn daemon(&self) -> Daemon {
        Daemon::start(&format!("[http]\nlisten = \"127.0.0.1:0\"\n[servers.q]\nurl = {:?}\n", self.1))
    }
}

impl Drop for Quirky {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn what_http_servers_say_in_their_own_ways_is_understood() {
    for (quirk, text, told) in [
        ("http-good", "fine t", ""),
        ("json-other-case", "fine t", ""),
        ("json-parameters", "fine t", ""),
        ("events-other-case", "fine t", ""),
        ("http-utf8", "fi\u{fffd} t", "not UTF-8"),
        ("events-utf8", "fi\u{fffd} t", "not UTF-8"),
        ("http-mark", "fine t", "byte-order mark"),
        ("events-unended", "fine t", ""),
        ("http-id-null", "fine t", "answers under the id null"),
        ("http-id-text", "fine t", "another spelling"),
        ("events-id-strange", "fine t", "under which nobody asked"),
        ("http-batch", "fine t", ""),
        ("accepted-with-body", "fine t", "status 202"),
        ("answer-elsewhere", "fine t", "belongs to no request"),
        ("length-too-long", "fine t", ""),
        ("chunked-odd-case", "fine t", ""),
        ("trailers", "fine t", ""),
        ("limit-429", "fine t", ""),
        ("limit-429-unsaid", "fine t", ""),
        ("limit-503", "fine t", ""),
        ("lost-404", "fine t", ""),
        ("lost-400-text", "fine t", "a session is lost by HTTP 400"),
        ("lost-400-error", "fine t", "a session is lost by HTTP 400"),
        ("lost-410", "fine t", "a session is lost by HTTP 410"),
        ("lost-409-null", "fine t", "a session is lost by HTTP 409"),
    ] {
        let server = Quirky::start(quirk);
        let daemon = server.daemon();
        for (era, face) in [(Era::Legacy, Face::Socket), (Era::Modern, Face::Shim), (Era::Legacy, Face::Http)] {
            let seen = call(&daemon, era, face);
            let seen = seen.map(|seen| seen["content"][0]["text"].as_str().unwrap_or_default().to_owned());
            assert_eq!(seen.as_deref(), Ok(text), "{quirk} {era:?} {face:?}");
        }
        assert!(notes(&daemon).contains(told), "{quirk}: {}", notes(&daemon));
    }
}

#[test]
fn a_server_that_takes_a_call_and_answers_nowhere_is_told_of() {
    let server = Quirky::start("answer-nowhere");
    let error = error_of(&server.daemon().agent("q").call("1", "t", "{}"));
    assert!(error.contains("took the request and gave no answer"), "{error}");
}

#[test]
fn a_stream_that_is_refused_for_the_moment_is_asked_for_again() {
    for quirk in ["stream-409", "stream-400", "stream-429", "stream-503"] {
        let server = Quirky::start(quirk);
        let daemon = server.daemon();
        assert_eq!(text_of(&daemon.agent("q").call("1", "t", "{}")), "fine t", "{quirk}");
    }
}

#[test]
fn status_and_check_tell_of_it() {
    let daemon = stdio("id-text", "");
    let mut agent: Agent = daemon.agent("q");
    agent.call("1", "t", "{}");
    eventually("it is told", || notes(&daemon).contains("another spelling"));
    for words in [&["status"][..], &["check"]] {
        let output = daemon.run(words);
        let text = [output.stdout, output.stderr].concat();
        assert!(String::from_utf8_lossy(&text).contains("another spelling of the id"), "{words:?}");
    }
    assert!(String::from_utf8_lossy(&daemon.run(&["logs", "q"]).stdout).contains("trunkline: it answers under"));
}
