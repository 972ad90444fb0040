//! The view of all servers: a list is complete, or says what it lacks.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Agent, Daemon, eventually, modern, own_server, text_of};

const LIST: &str = r#"{"jsonrpc":"2.0","id":"l","method":"tools/list"}"#;

fn names(answer: &str) -> Vec<String> {
    let answer: Value = serde_json::from_str(answer).expect("JSON");
    let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("no tools in {answer}"));
    tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn the_first_list_has_what_takes_long_to_start() {
    let servers = own_server("fast", &["--announces", "--instructions=be quick"])
        + &own_server("slow", &["--slow=2500", "--instructions=take your time"]);
    for era in ["legacy", "modern"] {
        let daemon = Daemon::start(&servers);
        let mut agent = Agent::socket(&daemon.socket());
        let (greeting, list) = match era {
            "legacy" => {
                agent.send(&crate::support::legacy("{}"));
                let first = agent.line();
                assert!(first.contains("protocolVersion"), "nothing overtakes the handshake: {first}");
                agent.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
                (first, agent.ask(LIST))
            }
            _ => (agent.ask(&modern("1", "server/discover", "")), agent.ask(&modern("2", "tools/list", ""))),
        };
        assert!(greeting.contains("be quick") && greeting.contains("take your time"), "{era}: {greeting}");
        assert_eq!(names(&list), ["fast__echo", "fast__raw", "slow__echo", "slow__raw"], "{era}");
        assert_eq!(daemon.server("slow")["starts"], 1, "{era}: one process, whatever it was asked first");
    }
}

#[test]
fn a_list_waits_as_long_as_its_agent_would_and_says_what_it_lacks() {
    let servers =
        own_server("fast", &[]) + &own_server("never", &["--slow=60000"]) + "[servers.fails]\ncommand = \"false\"\n";
    let daemon = Daemon::start(&servers);
    let mut agent = Agent::socket(&daemon.socket());
    let began = Instant::now();
    // Codex waits for 10 s.
    let hello = crate::support::legacy("{}").replace(r#""name":"agent""#, r#""name":"codex-mcp-client""#);
    let greeting = agent.ask(&hello);
    assert!(greeting.contains("not there yet") && greeting.contains("`never`"), "{greeting}");
    agent.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    agent.send(LIST);
    let told = agent.until(|line| line.contains("notifications/message"));
    assert!(told.contains("never (it is still starting)") && told.contains("fails ("), "{told}");
    let list = agent.answer("\"l\"");
    let took = began.elapsed();
    assert!(took > Duration::from_secs(6) && took < Duration::from_secs(10), "{took:?}");
    assert_eq!(names(&list), ["fast__echo", "fast__raw"]);
    let list: Value = serde_json::from_str(&list).expect("JSON");
    let missing = &list["result"]["_meta"]["io.github.trunkline/missing"];
    assert_eq!(missing["never"], "it is still starting");
    assert!(missing["fails"].as_str().is_some_and(|why| why.contains("ended")), "{missing}");
}

#[test]
fn a_start_that_was_begun_is_finished_and_remembered() {
    for first in [crate::support::legacy("{}"), modern("1", "tools/list", "")] {
        let daemon = Daemon::start(&own_server("slow", &["--slow=1500"]));
        let mut agent = Agent::socket(&daemon.socket());
        agent.send(&first);
        eventually("it is starting", || daemon.server("slow")["state"] == "starting");
        drop(agent);
        eventually("its offer is kept all the same", || {
            let kept = fs::read_to_string(daemon.folder().join("state/catalogs/slow.json"));
            kept.is_ok_and(|kept| kept.contains(r#"\"raw\""#))
        });
        assert_eq!(daemon.server("slow")["starts"], 1);
        let mut next = Agent::socket(&daemon.socket());
        let began = Instant::now();
        next.greet("{}");
        assert_eq!(names(&next.ask(LIST)), ["slow__echo", "slow__raw"]);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
}

#[test]
fn what_is_known_of_one_agent_answers_another_at_once() {
    let daemon = Daemon::start(&own_server("t", &["--slow=700"]));
    let mut first = Agent::socket(&daemon.socket());
    first.greet("{}");
    first.ask(LIST);
    eventually("it is known", || {
        fs::read_to_string(daemon.folder().join("state/catalogs/t.json")).is_ok_and(|kept| kept.contains(r#"\"raw\""#))
    });
    let mut second = Agent::socket(&daemon.socket());
    let began = Instant::now();
    second.greet(r#"{"sampling":{}}"#);
    assert_eq!(names(&second.ask(LIST)), ["t__echo", "t__raw"]);
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    // Another kind of agent, and a modern one, likewise.
    let mut third = Agent::socket(&daemon.socket());
    assert_eq!(names(&third.ask(&modern("1", "tools/list", ""))), ["t__echo", "t__raw"]);
}

#[test]
fn servers_that_nobody_has_listed_are_asked_in_the_background() {
    let config = format!(
        "[daemon]\ndiscover = \"background\"\n{}{}{}",
        own_server("one", &[]),
        own_server("two", &["--modern"]),
        own_server("project", &["${project}"])
    );
    let daemon = Daemon::start(&config);
    let known = |name: &str| {
        let kept = fs::read_to_string(daemon.folder().join(format!("state/catalogs/{name}.json")));
        kept.is_ok_and(|kept| kept.contains(r#"\"raw\""#))
    };
    eventually("both are known", || known("one") && known("two"));
    eventually("and end", || ["one", "two"].iter().all(|name| daemon.server(name)["state"] == "idle"));
    assert!(!known("project"), "it cannot be started for nobody");
    // One that is added, too; and what an agent uses is none of theirs.
    daemon.configure(&format!("{config}{}", own_server("three", &["--tool=raw3"])));
    eventually("the new one is known", || known("three"));
    let mut agent = daemon.agent("one");
    let state: Value = serde_json::from_str(&text_of(&agent.call("1", "state", "{}"))).expect("JSON");
    let nice = fs::read_to_string(format!("/proc/{}/stat", state["pid"])).expect("it runs");
    let nice = nice.rsplit_once(") ").expect("a name").1.split(' ').nth(16).map(str::to_owned);
    assert_eq!(nice.as_deref(), Some("0"), "an agent's process steps back for nobody");
}

#[test]
fn an_error_to_the_probe_is_followed_by_initialize_on_the_same_process() {
    for (words, what) in [(&["--slow=300"][..], "refuses"), (&["--no-discover=silent"], "is silent")] {
        let daemon = Daemon::start(&own_server("t", words));
        let mut agent = daemon.attach("t");
        let answer = agent.ask(&modern("1", "server/discover", ""));
        assert!(answer.contains("supportedVersions"), "{what}: {answer}");
        let seen = agent.ask(&modern("2", "tools/call", r#""name":"seen","arguments":{"what":"\"method\""}"#));
        let (discover, initialize) = (seen.find("server/discover"), seen.find("initialize"));
        assert!(discover.is_some() && discover < initialize, "{what}: {seen}");
    }
}
