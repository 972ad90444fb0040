//! The record of calls: every call, however it ends, in lines that can be asked for; and what of it is kept from everybody.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Daemon, eventually, own_server, test_server, trunkline};

fn control(daemon: &Daemon, method: &str, params: &Value) -> Value {
    let mut agent = crate::support::Agent::socket(&daemon.socket());
    let request = json!({ "jsonrpc": "2.0", "id": "c", "method": method, "params": params });
    let answer: Value = serde_json::from_str(&agent.ask(&request.to_string())).expect("JSON");
    assert!(answer["error"].is_null(), "{answer}");
    answer["result"].clone()
}

/// The recorded calls that fit.
fn calls(daemon: &Daemon, params: &Value) -> Vec<Value> {
    control(daemon, "daemon.calls", params).as_array().expect("a list").clone()
}

/// What a command prints as JSON, with no daemon to ask.
fn printed(folder: &Path, words: &[&str]) -> Value {
    let output = trunkline(folder, words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn text(daemon: &Daemon, words: &[&str]) -> String {
    let output = daemon.run(words);
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Calls that end in every way.
fn make_calls(daemon: &Daemon) {
    let mut agent = daemon.attach("t");
    agent.greet(r#"{"elicitation":{}}"#);
    agent.call("1", "echo", r#"{"text":"hello"}"#);
    agent.call("2", "no_such_tool", "{}");
    let wrong = r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[],"isError":true}}"#;
    agent.call("3", "raw", &json!({ "frames": [wrong] }).to_string());
    agent.call("4", "secret_tool", "{}");
    agent.call("5", "hold", r#"{"key":"too long"}"#);
    agent.send_call("6", "hold", r#"{"key":"cancelled"}"#);
    agent.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":6}}"#);
    let progress = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"progress","arguments":{"total":3},"_meta":{"progressToken":"p"}}}"#;
    agent.send(progress);
    agent.answer("7");
    agent.send_call("8", "ask", r#"{"id":1,"method":"elicitation/create","params":{"message":"m"}}"#);
    let question = agent.until(|line| line.contains("elicitation/create"));
    let id = crate::support::id_of(&question).expect("an id");
    agent.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"decline"}}}}"#));
    agent.answer("8");
    let mut leaver = daemon.agent("t");
    leaver.send_call("1", "hold", r#"{"key":"left"}"#);
    eventually("its call is in flight", || daemon.server("t").to_string().contains(r#""in_flight":1"#));
    drop(leaver);
    agent.call("9", "exit", r#"{"code":3}"#);
    let mut all = daemon.agent_of_all();
    all.call("1", "dead__tool", "{}");
}

#[test]
fn each_call_is_recorded_with_its_end() {
    let config = own_server("t", &["--tool=failing"])
        + "share = \"all\"\ncall_timeout = \"1s\"\ntools = { deny = [\"secret_tool\"] }\n\n[servers.dead]\ncommand = \"no-such-program\"\n";
    let daemon = Daemon::start(&config);
    make_calls(&daemon);
    eventually("all have ended", || calls(&daemon, &json!({ "tool": "hold" })).len() == 3);
    let recorded = calls(&daemon, &json!({}));
    let found: Vec<_> = recorded
        .iter()
        .filter(|call| call["method"] == "tools/call")
        .map(|call| {
            let words = [&call["server"], &call["subject"], &call["outcome"]];
            words.map(|word| word.as_str().unwrap_or("-").to_owned()).join(" ") + &format!(" {}", call["code"])
        })
        .collect();
    for expected in [
        "t echo result null",
        "t no_such_tool error -32602",
        "t raw tool_error null",
        "t secret_tool refused -32602",
        "t hold timed_out null",
        "t hold cancelled null",
        "t progress result null",
        "t ask result null",
        "t hold agent_left null",
        "t exit server_died null",
        "dead tool refused -32000",
    ] {
        assert!(found.iter().any(|line| line == expected), "{expected} in {found:#?}");
    }
    let one = |tool: &str| recorded.iter().find(|call| call["subject"] == tool).expect("a call").clone();
    let progress = one("progress");
    assert_eq!((&progress["progress"], &progress["agent"]["name"]), (&json!(3), &json!("test")));
    assert!(progress["first_ms"].as_f64() <= progress["took_ms"].as_f64(), "{progress}");
    let asked = calls(&daemon, &json!({ "id": one("ask")["id"] }));
    assert_eq!(
        (&asked[0]["asked"][0]["method"], &asked[0]["asked"][0]["ended"]),
        (&json!("elicitation/create"), &json!("decline"))
    );
    assert!(one("echo")["received"].as_u64() > one("echo")["sent"].as_u64(), "the answer has the request in it");
    // The same from the commands, also when the daemon has gone.
    let failed = text(&daemon, &["calls", "--failed", "--server", "t"]);
    for word in ["no_such_t", "error -32602", "tool error", "timed out", "server died", "refused"] {
        assert!(failed.contains(word), "{word} in {failed}");
    }
    assert!(!failed.contains(" echo "), "{failed}");
    let folder = daemon.restart();
    let count = |words: &[&str]| {
        printed(folder.path(), &[&["calls", "--json"], words].concat()).as_array().expect("a list").len()
    };
    assert_eq!(count(&["--tool", "ho*"]), 3);
    assert_eq!(count(&["--agent", "TEST", "--tool", "echo"]), 1);
    assert_eq!((count(&["--since", "1h"]), count(&["--until", "1h"])), (recorded.len(), 0));
    assert_eq!(count(&["--slow", "900ms", "--tool", "hold"]), 1);
    let by_server = printed(folder.path(), &["stats", "--by", "server", "--json"]);
    let of_t = by_server.as_array().expect("a list").iter().find(|line| line["server"] == "t").expect("a line").clone();
    assert_eq!(of_t["failures"], 5, "{of_t}");
    assert!(
        String::from_utf8_lossy(&trunkline(folder.path(), &["calls", "--since", "soon"]).stderr)
            .contains("is no moment")
    );
}

#[test]
fn a_call_is_found_as_soon_as_it_has_ended() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut agent = daemon.agent("t");
    for number in 0..5 {
        agent.call(&number.to_string(), "echo", "{}");
        let shown = text(&daemon, &["calls"]);
        assert_eq!(shown.matches(" echo ").count(), number + 1, "{shown}");
    }
}

#[test]
fn what_tools_cost_and_which_nobody_called_is_known_without_a_daemon() {
    let daemon = Daemon::start(&own_server("t", &["--tool=unused", "--tool=used"]));
    let mut agent = daemon.agent("t");
    agent.ask(r#"{"jsonrpc":"2.0","id":"l","method":"tools/list"}"#);
    agent.call("1", "used", "{}");
    eventually("the list is saved", || daemon.folder().join("state/catalogs/t.json").exists());
    drop(agent);
    let folder = daemon.restart();
    let costs = printed(folder.path(), &["tools", "--cost", "--json"]);
    let unused: Vec<_> =
        costs[0]["never_called"].as_array().expect("a list").iter().map(|one| one["tool"].clone()).collect();
    assert!(unused.contains(&json!("unused")) && !unused.contains(&json!("used")), "{costs}");
    assert!(costs[0]["tokens"].as_u64() > Some(0), "{costs}");
}

#[test]
fn nothing_of_a_call_but_its_figures_is_kept_unless_that_is_ordered() {
    const CANARY: &str = "canary-5e3d";
    let with = |more: &str| {
        own_server("t", &[]) + &format!("env = {{ API_TOKEN = \"{CANARY}-environment\", PLAIN = \"x\" }}\n{more}")
    };
    let daemon = Daemon::start(&with(""));
    let arguments = json!({ "text": format!("{CANARY}-argument") }).to_string();
    let refusal = format!(r#"{{"jsonrpc":"2.0","id":$ID,"error":{{"code":-1,"message":"{CANARY}-message"}}}}"#);
    let use_it = |daemon: &Daemon| {
        let mut agent = daemon.agent("t");
        agent.call("1", "echo", &arguments);
        agent.call("2", "state", "{}");
        agent.call("3", "raw", &json!({ "frames": [refusal] }).to_string());
        calls(daemon, &json!({}));
    };
    use_it(&daemon);
    let shown = ["calls", "stats", "status", "logs"].map(|word| text(&daemon, &[word])).concat()
        + &text(&daemon, &["calls", "show", "1"])
        + &text(&daemon, &["why", "t"])
        + &text(&daemon, &["logs", "t"]);
    assert!(!shown.contains(CANARY), "{shown}");
    let folder = daemon.restart();
    let in_files = |folder: &Path| {
        let files = fs::read_dir(folder.join("state")).expect("a folder").filter_map(Result::ok);
        let bytes: Vec<u8> = files.filter_map(|file| fs::read(file.path()).ok()).flatten().collect();
        String::from_utf8_lossy(&bytes).matches(CANARY).count()
    };
    assert_eq!(in_files(folder.path()), 0);
    // Where it is ordered, what is a secret by its name stays out all the same.
    fs::write(folder.path().join("config.toml"), with("record = { payloads = true }\n")).expect("written");
    let daemon = Daemon::start_in(folder);
    use_it(&daemon);
    let payload = |tool: &str| {
        let found = calls(&daemon, &json!({ "tool": tool }));
        let last = found.last().expect("a call")["id"].clone();
        calls(&daemon, &json!({ "id": last }))[0].clone()
    };
    assert!(payload("echo")["arguments"].as_str().is_some_and(|raw| raw.contains(&format!("{CANARY}-argument"))));
    let state = payload("state")["result"].as_str().expect("a result").to_owned();
    assert!(state.contains("[secret]") && !state.contains(&format!("{CANARY}-environment")), "{state}");
}

#[test]
fn a_killed_daemon_loses_nothing_that_was_written() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut agent = daemon.agent("t");
    for id in 0..200 {
        agent.call(&id.to_string(), "echo", "{}");
    }
    let before = calls(&daemon, &json!({ "limit": 1000, "tool": "echo" })).len();
    agent.call("999", "echo", "{}");
    let folder = daemon.kill();
    let kept =
        printed(folder.path(), &["calls", "--json", "-n", "1000", "--tool", "echo"]).as_array().map_or(0, Vec::len);
    assert!(before == 200 && kept >= before, "{before} {kept}");
    let daemon = Daemon::start_in(folder);
    daemon.agent("t").call("1", "echo", "{}");
    assert!(calls(&daemon, &json!({ "limit": 1000, "tool": "echo" })).len() > kept);
}

#[test]
fn a_record_that_cannot_be_written_stops_itself_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(folder.path().join("state/calls.db")).expect("made");
    fs::write(folder.path().join("config.toml"), own_server("t", &[])).expect("written");
    let daemon = Daemon::start_in(folder);
    let mut agent = daemon.agent("t");
    agent.call("1", "echo", "{}");
    eventually("it is said", || {
        daemon.status()["record"]["problem"].as_str().is_some_and(|why| why.contains("calls.db"))
    });
    assert!(agent.call("2", "echo", "{}").contains("content"));
    assert!(text(&daemon, &["status"]).contains("calls are not recorded: "));
}

#[test]
fn a_record_that_could_not_be_opened_at_first_keeps_its_names() {
    let daemon = Daemon::start(&own_server("t", &[]));
    daemon.agent("t").call("1", "an_old_name", "{}");
    assert_eq!(calls(&daemon, &json!({ "tool": "an_old_name" })).len(), 1);
    let folder = daemon.restart();
    let (record, aside) = (folder.path().join("state/calls.db"), folder.path().join("aside"));
    fs::rename(&record, &aside).expect("moved");
    fs::create_dir(&record).expect("made");
    let daemon = Daemon::start_in(folder);
    daemon.agent("t").call("1", "a_lost_one", "{}");
    // Nothing waits to be written while the file is changed for another: SQLite's log would be taken for that one's.
    eventually("it is lost", || daemon.status()["record"]["lost"] == 1);
    fs::remove_dir(&record).expect("removed");
    fs::rename(&aside, &record).expect("moved");
    eventually("it goes on", || {
        daemon.agent("t").call("2", "a_new_name", "{}");
        calls(&daemon, &json!({ "tool": "a_new_name" })).len() > 1
    });
    assert_eq!(calls(&daemon, &json!({ "tool": "an_old_name" })).len(), 1, "no name has become another");
}

#[test]
fn what_is_no_record_is_set_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("state")).expect("made");
    fs::write(folder.path().join("state/calls.db"), vec![b'x'; 20_000]).expect("written");
    fs::write(folder.path().join("config.toml"), own_server("t", &[])).expect("written");
    let daemon = Daemon::start_in(folder);
    daemon.agent("t").call("1", "echo", "{}");
    eventually("a new one is begun", || calls(&daemon, &json!({ "tool": "echo" })).len() == 1);
    assert!(daemon.folder().join("state/calls.db.broken").exists());
    assert!(daemon.log().contains("set aside"));
}

#[test]
fn it_can_be_switched_off_while_the_daemon_runs() {
    let config = |more: &str| {
        own_server("t", &[])
            + more
            + "\n[servers.quiet]\ncommand = \""
            + &test_server()
            + "\"\nrecord = { calls = false }\n"
    };
    let daemon = Daemon::start(&config(""));
    let mut agents = [daemon.agent("t"), daemon.agent("quiet")];
    agents.iter_mut().for_each(|agent| drop(agent.call("1", "echo", "{}")));
    let servers = |daemon: &Daemon| -> Vec<String> {
        let all = calls(daemon, &json!({ "tool": "echo" }));
        all.iter().filter_map(|call| call["server"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(servers(&daemon), ["t"]);
    daemon.configure(&(config("") + "[record]\ncalls = false\n"));
    eventually("it is off", || daemon.status()["record"]["calls"] == false);
    agents[0].call("2", "echo", "{}");
    assert_eq!(servers(&daemon), ["t"], "and the old ones stay");
}

#[test]
fn a_watcher_hears_of_every_call_also_of_those_that_are_not_recorded() {
    let daemon = Daemon::start(&(own_server("t", &[]) + "record = { calls = false }\n"));
    let mut watcher = crate::support::Agent::socket(&daemon.socket());
    watcher.ask(r#"{"jsonrpc":"2.0","id":1,"method":"daemon.subscribe_calls"}"#);
    daemon.agent("t").call("1", "echo", "{}");
    let heard = watcher.until(|line| line.contains("\"subject\":\"echo\""));
    assert!(heard.contains("daemon.call_ended") && heard.contains(r#""outcome":"result""#), "{heard}");
}

#[test]
fn why_says_what_is_wrong_and_what_to_type() {
    let config = "[servers.missing]\ncommand = \"no-such-program\"\nargs = [\"--x\"]\n\n[servers.dies]\ncommand = \"sh\"\nargs = [\"-c\", \"echo the last word >&2; exit 3\"]\nshare = \"all\"\n\n[servers.off]\ncommand = \"x\"\nenabled = false\n";
    let daemon = Daemon::start(&(config.to_owned() + &own_server("fine", &[])));
    for (server, words) in [
        (
            "missing",
            &["missing is failed", "no such program", "nowhere in the daemon's PATH", "trunkline restart missing"][..],
        ),
        ("dies", &["the last word", "exit status: 3", "did not start", "found      /", "trunkline logs dies"]),
        ("off", &["off is disabled", "enabled = true"]),
        ("fine", &["fine is ready", "started, process", "trunkline calls --server fine"]),
    ] {
        let said = text(&daemon, &["why", server]);
        words.iter().for_each(|word| assert!(said.contains(word), "{word} in {said}"));
    }
    let why = printed(daemon.folder(), &["why", "dies", "--json"]);
    assert!(why["command"]["given"].as_array().is_some_and(|names| names.contains(&json!("PATH"))), "{why}");
    assert!(why["stderr"].to_string().contains("Z the last word"), "each line has its moment: {why}");
    let mut agent = daemon.agent("fine");
    agent.send_call("1", "hold", r#"{"key":"k"}"#);
    eventually("who hangs is named", || text(&daemon, &["why", "fine"]).contains("at work    hold for test"));
    assert!(text(&daemon, &["status", "fine"]).contains("hold"));
    assert!(text(&daemon, &["why", "fin"]).contains("did you mean `fine`?"));
}

#[test]
fn logs_are_read_without_a_daemon() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut agent = daemon.agent("t");
    agent.call("1", "exit", "{}");
    eventually("its last words are there", || text(&daemon, &["logs", "t"]).contains(" leaving on request"));
    drop(agent);
    let folder = daemon.restart();
    let said = |words: &[&str]| {
        let output = trunkline(folder.path(), words);
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    assert!(said(&["logs", "t"]).contains("leaving on request"));
    assert!(said(&["logs"]).contains("shutting down"));
    assert!(said(&["logs", "t", "--since", "1h"]).contains("leaving on request"));
    assert!(!said(&["logs", "t", "--since", "now"]).contains("leaving on request"));
    assert!(said(&["logs", "x"]).contains("no server is named `x`"));
}

#[test]
fn the_client_in_the_documents_works() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut agent = daemon.agent("t");
    agent.call("1", "no_such_tool", "{}");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/client.py");
    let client = crate::support::Agent::process(std::process::Command::new("python3").arg(script).arg(daemon.socket()));
    client.until(|line| line.ends_with("test t no_such_tool error"));
    agent.call("2", "echo", "{}");
    client.until(|line| line.ends_with("test t echo result"));
}
