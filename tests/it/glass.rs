//! What goes over the wire, recorded and played back; the page in the browser; what a scraper gets.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::support::http::request;
use crate::support::{Agent, Daemon, command, eventually, own_server, peers, strip_id, text_of, trunkline};

/// A command that runs until it is told to end.
struct Running {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
        let said = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, said }
    }

    fn interrupt(&mut self) -> Option<i32> {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signalled");
        self.child.wait().expect("waited").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Records what `act` brings about; returns the file.
fn recorded(daemon: &Daemon, name: &str, words: &[&str], act: impl FnOnce()) -> PathBuf {
    let file = daemon.folder().join(name);
    let place = file.display().to_string();
    let mut record = Running::start(command(daemon.folder()).arg("record").args(words).args(["-o", &place]));
    let of = format!("\"of\":\"{}\"", words.last().expect("a name"));
    // An agent says nothing by itself; of a server the handshake comes first.
    let ready = |text: &str| if words.len() == 1 { text.contains(&of) } else { !text.is_empty() };
    eventually("the recording has begun", || fs::read_to_string(&file).is_ok_and(|text| ready(&text)));
    act();
    assert_eq!(record.interrupt(), Some(0), "an interrupted recording is a whole one");
    file
}

#[test]
fn a_recording_has_every_byte_and_answers_as_the_server_did() {
    let daemon = Daemon::start(&(own_server("t", &[]) + "env = { MY_SECRET = \"hush-hush-hush\" }\n"));
    let mut agent = daemon.agent("t");
    // What it offers stands at the beginning of each recording, once it is known.
    agent.ask(r#"{"jsonrpc":"2.0","id":"l","method":"tools/list"}"#);
    let odd = r#"{"jsonrpc":"2.0",  "id":$ID,"result":{"content":[ ],"n":1.0E2,"n2":12345678901234567890123}}"#;
    let mut first = (String::new(), String::new());
    let file = recorded(&daemon, "one.ndjson", &["t"], || {
        first.0 = agent.call("1", "raw", &json!({ "frames": [odd] }).to_string());
        first.1 = agent.call("2", "state", "{}");
        eventually("the answers are in it", || {
            fs::read_to_string(daemon.folder().join("one.ndjson")).is_ok_and(|text| text.contains("MY_SECRET"))
        });
    });
    let text = fs::read_to_string(&file).expect("read");
    assert!(text.contains(r#""result":{"content":[ ],"n":1.0E2,"n2":12345678901234567890123}}"#), "{text}");
    assert!(text.contains("[secret]") && !text.contains("hush-hush-hush"), "{text}");
    for line in text.lines() {
        serde_json::from_str::<Value>(line).expect("each line is JSON");
    }
    let mut replayed = Agent::process(command(daemon.folder()).arg("replay").arg(&file));
    assert!(replayed.greet("{}").contains("x-unknown"), "the handshake is the server's");
    let again = replayed.call("77", "raw", &json!({ "frames": [odd] }).to_string());
    assert_eq!(strip_id(&again), strip_id(&first.0), "byte for byte");
    assert!(text_of(&replayed.call("78", "state", "{}")).contains("[secret]"));
    assert!(replayed.call("79", "echo", "{}").contains("the recording has no answer"));
    // Another run of the same differs only where what was said does.
    let other = recorded(&daemon, "two.ndjson", &["t"], || {
        agent.call("3", "raw", &json!({ "frames": [odd.replace("1.0E2", "2.0E2")] }).to_string());
        eventually("the answer is in it", || {
            fs::read_to_string(daemon.folder().join("two.ndjson")).is_ok_and(|text| text.contains(r#""n":2.0E2"#))
        });
    });
    let diff = |one: &PathBuf, other: &PathBuf| {
        trunkline(daemon.folder(), &["diff", &one.display().to_string(), &other.display().to_string()])
    };
    assert_eq!(diff(&file, &file).status.code(), Some(0));
    let found = diff(&file, &other);
    let said = String::from_utf8_lossy(&found.stdout).into_owned();
    assert_eq!(found.status.code(), Some(1));
    assert!(said.contains("200.0") && !said.contains("\"jsonrpc\""), "{said}");
    // What is missing in one is said.
    let cut = daemon.folder().join("cut.ndjson");
    fs::write(&cut, text.trim_end().strip_suffix("}}").expect("a message at the end")).expect("written");
    let said = String::from_utf8_lossy(&diff(&cut, &file).stderr).into_owned();
    assert!(said.contains("cut.ndjson: the last line is cut"), "{said}");
    fs::write(&cut, text.clone() + "{\"missed\":7}\n").expect("written");
    let said = String::from_utf8_lossy(&diff(&file, &cut).stderr).into_owned();
    assert!(said.contains("7 messages are missing") && said.contains("say the same"), "{said}");
    let wrong = trunkline(daemon.folder(), &["replay", &daemon.folder().join("config.toml").display().to_string()]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("no line of a recording"));
}

#[test]
fn what_one_agent_says_is_recorded_and_nothing_of_another() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut other = daemon.agent("t");
    let mut agent = Agent::socket(&daemon.socket());
    agent.ask(r#"{"jsonrpc":"2.0","id":"a","method":"daemon.attach","params":{"server":"t","client":"mine"}}"#);
    agent.greet("{}");
    let file = recorded(&daemon, "agent.ndjson", &["--agent", "mine"], || {
        // Whether it listens by now is seen by what it has.
        eventually("what is said is heard", || {
            other.call("9", "echo", r#"{"of":"other"}"#);
            agent.call("1", "echo", r#"{"of":"mine"}"#);
            fs::read_to_string(daemon.folder().join("agent.ndjson")).is_ok_and(|text| text.contains("to_agent"))
        });
    });
    let text = fs::read_to_string(file).expect("read");
    assert!(text.contains("from_agent") && text.contains(r#"{"of":"mine"}"#), "{text}");
    assert!(!text.contains("other"), "{text}");
    let none = daemon.run(&["record", "--agent", "nobody", "-o", "/dev/null"]);
    assert!(String::from_utf8_lossy(&none.stderr).contains("no agent is named `nobody`"));
}

#[test]
fn the_page_is_for_who_has_the_link_and_shows_text_as_text() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut agent = Agent::socket(&daemon.socket());
    let name = "<script>evil</script>";
    let attach =
        json!({ "jsonrpc": "2.0", "id": "a", "method": "daemon.attach", "params": { "server": "t", "client": name } });
    agent.ask(&attach.to_string());
    agent.greet("{}");
    agent.call("1", "<img src=x onerror=alert(1)>", r#"{"canary":"in-the-arguments"}"#);
    let mut page = Running::start(command(daemon.folder()).args(["dashboard", "--no-open"]));
    let mut url = String::new();
    page.said.read_line(&mut url).expect("a line");
    let url = url.trim();
    let base = url.split("/?").next().expect("a base").to_owned();
    assert!(base.starts_with("http://127.0.0.1:"), "{url}");
    let get = |path: &str, headers: &[(&str, &str)]| request("GET", &format!("{base}{path}"), headers, "");
    assert_eq!(get("/", &[]).status, 403, "who guesses the port");
    assert_eq!(get("/?token=guess", &[]).status, 403);
    let entered = request("GET", url, &[], "");
    let cookie = entered.header("set-cookie").expect("a cookie").to_owned();
    assert_eq!((entered.status, entered.header("location")), (303, Some("/")));
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert_eq!(request("GET", url, &[], "").status, 403, "the link is good once");
    let own = cookie.split(';').next().expect("a pair");
    let shown = get("/", &[("Cookie", own)]);
    let policy = shown.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    for word in ["&lt;script&gt;evil", "&lt;img src=x", "Who shares what", "error -32602"] {
        assert!(shown.body.contains(word), "{word} in {}", shown.body);
    }
    for word in ["<script>evil", "<img", "in-the-arguments"] {
        assert!(!shown.body.contains(word), "{word} in {}", shown.body);
    }
    assert!(get("/part", &[("Cookie", own)]).body.contains("<section id=\"servers\""));
    for headers in [
        &[("Cookie", own), ("Origin", "https://evil.example")][..],
        &[("Cookie", own), ("Sec-Fetch-Site", "cross-site")],
        &[("Cookie", "trunkline=guess")],
    ] {
        assert_eq!(get("/part", headers).status, 403, "{headers:?}");
    }
    assert_eq!(request("POST", &format!("{base}/"), &[("Cookie", own)], "").status, 403);
    let id = shown.body.split("/call/").nth(1).and_then(|rest| rest.split('"').next()).expect("a link");
    assert!(get(&format!("/call/{id}"), &[("Cookie", own)]).body.contains("about"), "one call");
    assert_eq!(page.interrupt(), Some(0));
}

/// An agent whose name is a script, and the page.
fn dashboard(daemon: &Daemon) -> (Agent, Running, String) {
    let mut agent = Agent::socket(&daemon.socket());
    let name = "<script>alert(1)</script>\u{202e}";
    let attach =
        json!({ "jsonrpc": "2.0", "id": "a", "method": "daemon.attach", "params": { "server": "t", "client": name } });
    agent.ask(&attach.to_string());
    agent.greet("{}");
    agent.call("1", "echo", "{}");
    let mut page = Running::start(command(daemon.folder()).args(["dashboard", "--no-open"]));
    let mut url = String::new();
    page.said.read_line(&mut url).expect("a line");
    (agent, page, url.trim().to_owned())
}

#[test]
fn a_real_browser_sees_the_page_change_and_nothing_run() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let (mut agent, _page, url) = dashboard(&daemon);
    let mut browser = Agent::process(Command::new("node").arg(peers::script("page.mjs")).arg(&url));
    browser.until(|line| line == "loaded");
    agent.call("2", "new_tool", "{}");
    browser.send("go on");
    let seen: Value = serde_json::from_str(&browser.until(|line| line.starts_with('{'))).expect("JSON");
    assert_eq!(seen["errors"], json!([]), "{seen}");
    assert_eq!((&seen["status"], &seen["address"], &seen["replayed"]), (&json!(200), &json!(""), &json!(403)));
    assert!(seen["after"].as_u64() > seen["before"].as_u64(), "{seen}");
    assert_eq!(
        (&seen["filtered"], &seen["focused"], &seen["narrow"], &seen["unnamed"]),
        (&json!(1), &json!(true), &json!(400), &json!(0))
    );
    let text = seen["text"].as_str().expect("a text");
    assert!(text.contains("<script>alert(1)</script>") && !text.contains('\u{202e}'), "{text}");
    assert!(seen["call"].as_str().is_some_and(|text| text.contains("about")), "{seen}");
    assert_ne!(seen["dark"], "rgb(255, 255, 255)");
}

#[test]
fn watch_shows_what_happens_in_a_terminal_of_80_by_24() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut agent = daemon.agent("t");
    agent.call("1", "echo", "{}");
    // A server of its own, so that no other terminal of the person's is touched.
    let socket = daemon.folder().join("tmux").display().to_string();
    let tmux = |words: &[&str]| {
        let mut tmux = Command::new("tmux");
        tmux.args(["-S", &socket]).args(words);
        command(daemon.folder()).get_envs().for_each(|(name, value)| {
            if let Some(value) = value {
                tmux.env(name, value);
            }
        });
        String::from_utf8_lossy(&tmux.output().expect("tmux starts").stdout).into_owned()
    };
    tmux(&["new-session", "-d", "-x", "80", "-y", "24", env!("CARGO_BIN_EXE_trunkline"), "watch"]);
    let shows = |what: &str| eventually(what, || tmux(&["capture-pane", "-p"]).contains(what));
    shows("Servers 1");
    shows("echo");
    agent.call("2", "a_new_call", "{}");
    shows("a_new_call");
    tmux(&["send-keys", "/", "nothing-like-it", "Enter"]);
    shows("Calls 0");
    tmux(&["send-keys", "Escape"]);
    tmux(&["resize-window", "-x", "60", "-y", "15"]);
    shows("Calls 2");
    tmux(&["send-keys", "r"]);
    shows("Restart `t`?");
    tmux(&["send-keys", "y"]);
    shows("`t` restarted");
    tmux(&["send-keys", "q"]);
    eventually("it leaves", || tmux(&["list-sessions"]).is_empty());
}

#[test]
fn a_scraper_gets_calls_failures_and_durations() {
    let daemon = Daemon::start(&(own_server("t", &[]) + "[http]\nlisten = \"127.0.0.1:0\"\n"));
    let mut agent = daemon.agent("t");
    agent.call("1", "echo", "{}");
    agent.call("2", "none", "{}");
    let endpoint = daemon.endpoint(None);
    let bearer = format!("Bearer {}", endpoint.token);
    let scraped = request("GET", &format!("http://{}/metrics", endpoint.authority), &[("Authorization", &bearer)], "");
    for line in [
        r#"trunkline_calls_total{server="t",method="tools/call",outcome="result"} 1"#,
        r#"trunkline_calls_total{server="t",method="tools/call",outcome="error"} 1"#,
        r#"trunkline_call_duration_seconds_count{server="t",method="tools/call"} 2"#,
        r#"trunkline_call_duration_seconds_bucket{le="60.0",server="t",method="tools/call"} 2"#,
    ] {
        assert!(scraped.body.contains(line), "{line} in {}", scraped.body);
    }
}

#[test]
fn watch_without_a_terminal_says_what_to_use() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let said = daemon.run(&["watch"]);
    assert!(!said.status.success() && String::from_utf8_lossy(&said.stderr).contains("needs a terminal"));
}
