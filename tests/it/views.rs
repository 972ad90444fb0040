//! All servers together, as `server__name`.

use serde_json::Value;

use crate::support::{Agent, Daemon, eventually, legacy, modern, own_server, params_of, text_of};

fn request(id: u32, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
}

fn result(line: &str) -> Value {
    let message: Value = serde_json::from_str(line).expect("JSON");
    assert!(message.get("error").is_none(), "{line}");
    message["result"].clone()
}

fn names(agent: &mut Agent, method: &str, member: &str, key: &str) -> Vec<String> {
    let list = result(&agent.ask(&request(2, method, "{}")));
    list[member]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| item[key].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn names_are_qualified_in_a_stable_order_and_lead_back() {
    let daemon = Daemon::start(&format!("{}{}", own_server("b", &["--pages"]), own_server("a", &[])));
    let mut agent = daemon.agent_of_all();
    for _ in 0..3 {
        assert_eq!(
            names(&mut agent, "tools/list", "tools", "name"),
            ["b__page0", "b__page1", "b__echo", "b__raw", "a__echo", "a__raw"],
            "the file's order, all pages"
        );
    }
    assert_eq!(names(&mut agent, "prompts/list", "prompts", "name"), ["b__greet", "a__greet"]);
    let list = agent.ask(&request(2, "tools/list", "{}"));
    assert!(
        list.contains(r#"{"inputSchema":{"type":"object"},"name":"a__echo","x-odd":{"a":2,"z":1}}"#),
        "all other bytes of an item stay: {list}"
    );
    let seen = text_of(&agent.ask(&request(
        3,
        "tools/call",
        r#"{"name":"a__echo","arguments":{"n":12345678901234567890123}}"#,
    )));
    assert!(seen.contains(r#""params":{"name":"echo","arguments":{"n":12345678901234567890123}}"#), "{seen}");
    let prompt = result(&agent.ask(&request(4, "prompts/get", r#"{"name":"b__greet"}"#)));
    assert_eq!(prompt["messages"][0]["content"]["text"], "greet");
    let completion = result(&agent.ask(&request(
        5,
        "completion/complete",
        r#"{"ref":{"type":"ref/prompt","name":"b__greet"},"argument":{}}"#,
    )));
    assert_eq!(completion["completion"]["values"][0], r#"b:{"name":"greet","type":"ref/prompt"}"#);
    for (name, why) in [("nothing", "names no server"), ("c__echo", "no server is named `c`")] {
        assert!(agent.ask(&request(6, "tools/call", &format!(r#"{{"name":"{name}"}}"#))).contains(why));
    }
    assert!(agent.ask(&request(7, "ping", "{}")).contains("\"result\":{}"));
    assert!(agent.ask(&request(8, "tasks/list", "{}")).contains("connect to one server"));
}

#[test]
fn resources_lead_back_to_their_server_even_with_the_same_uri() {
    let daemon = Daemon::start(&format!("{}{}", own_server("a", &[]), own_server("b", &[])));
    let mut agent = daemon.agent_of_all();
    assert_eq!(
        names(&mut agent, "resources/list", "resources", "uri"),
        ["test://shared", "test://a/own", "trunkline://b/test://shared", "test://b/own"]
    );
    assert_eq!(
        names(&mut agent, "resources/templates/list", "resourceTemplates", "uriTemplate"),
        ["test://a/item/{id}", "test://b/item/{id}"]
    );
    let mut read = |uri: &str| {
        result(&agent.ask(&request(3, "resources/read", &format!(r#"{{"uri":"{uri}"}}"#))))["contents"][0]["text"]
            .as_str()
            .map(str::to_owned)
    };
    for (uri, text) in [
        ("test://shared", "test://shared from a"),
        ("trunkline://b/test://shared", "test://shared from b"),
        ("test://b/own", "test://b/own from b"),
        ("test://b/item/7", "test://b/item/7 from b"),
    ] {
        assert_eq!(read(uri).as_deref(), Some(text));
    }
    assert!(
        agent.ask(&request(4, "resources/read", r#"{"uri":"other://x"}"#)).contains("no server offers `other://x`")
    );
    // A subscription under the qualified URI, and its update under that one too.
    assert!(
        agent
            .ask(&request(5, "resources/subscribe", r#"{"uri":"trunkline://b/test://shared"}"#))
            .contains("\"result\":{}")
    );
    let updated = serde_json::json!({ "frames": [r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"test://shared"}}"#, r#"{"jsonrpc":"2.0","id":$ID,"result":{}}"#] });
    agent.send(&request(6, "tools/call", &format!(r#"{{"name":"b__raw","arguments":{updated}}}"#)));
    assert_eq!(params_of(&agent.until(|line| line.contains("updated")))["uri"], "trunkline://b/test://shared");
}

#[test]
fn a_name_that_agents_refuse_is_left_out_and_named() {
    let long = "x".repeat(62);
    let daemon = Daemon::start(&own_server("s", &[&format!("--tool={long}"), "--tool=fits"]));
    let mut agent = daemon.agent_of_all();
    assert_eq!(names(&mut agent, "tools/list", "tools", "name"), ["s__echo", "s__raw", "s__fits"]);
    assert_eq!(daemon.server("s")["hidden"][0], long.as_str());
    assert!(String::from_utf8_lossy(&daemon.run(&["status"]).stdout).contains(&long));
    let mut own = daemon.agent("s");
    assert!(own.ask(&request(2, "tools/list", "{}")).contains(&long), "the server's own view keeps every name");
}

#[test]
fn a_server_that_fails_is_absent_and_says_why_when_called() {
    let daemon = Daemon::start(&format!(
        "{}[servers.bad]\ncommand = \"trunkline-nonesuch\"\n[servers.off]\ncommand = \"x\"\nenabled = false\n",
        own_server("good", &[])
    ));
    let mut agent = daemon.agent_of_all();
    assert_eq!(names(&mut agent, "tools/list", "tools", "name"), ["good__echo", "good__raw"]);
    for (name, why) in [("bad__x", "no such program"), ("off__x", "disabled")] {
        assert!(agent.ask(&request(3, "tools/call", &format!(r#"{{"name":"{name}"}}"#))).contains(why));
    }
    assert_eq!(
        (daemon.server("bad")["state"].clone(), daemon.server("off")["state"].clone()),
        ("failed".into(), "disabled".into())
    );
}

#[test]
fn a_slow_server_holds_nobody_up_and_arrives_by_list_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = folder.path().join("gate");
    let slow = format!(
        "[servers.slow]\ncommand = \"/bin/sh\"\nargs = [\"-c\", \"while [ ! -e {0} ]; do sleep 0.05; done; exec {1} --name=slow\"]\n",
        gate.display(),
        crate::support::test_server()
    );
    let daemon = Daemon::start(&format!("{slow}{}", own_server("quick", &["--instructions=Be quick."])));
    let mut agent = Agent::socket(&daemon.socket());
    agent.greet("{}");
    agent.send(&request(2, "tools/list", "{}"));
    agent.send(&request(3, "tools/call", r#"{"name":"slow__echo"}"#));
    agent.send(&request(4, "tools/call", r#"{"name":"slow__echo"}"#));
    agent.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":4}}"#);
    assert!(
        agent.ask(&request(5, "tools/call", r#"{"name":"quick__echo"}"#)).contains("\"id\":5"),
        "others are not waited for"
    );
    let list = agent.until(|line| line.contains("\"id\":2"));
    assert!(list.contains("quick__echo") && !list.contains("slow__echo"), "{list}");
    std::fs::write(&gate, "").expect("opened");
    let (mut changed, mut answered) = (false, false);
    while !(changed && answered) {
        let line = agent.line();
        changed |= line.contains("notifications/tools/list_changed");
        answered |= line.contains("\"id\":3") && line.contains("content");
        assert!(!line.contains("\"id\":4"), "a cancelled call is not answered: {line}");
    }
    assert!(agent.ask(&request(6, "tools/list", "{}")).contains("slow__echo"));
    let seen =
        text_of(&agent.ask(&request(7, "tools/call", r#"{"name":"slow__seen","arguments":{"what":"tools/call"}}"#)));
    assert_eq!(seen.matches("echo").count(), 1, "the cancelled call never reached the server: {seen}");
    // What is known by now stands in the next agent's handshake.
    let greeting = Agent::socket(&daemon.socket()).ask(&legacy("{}"));
    assert!(greeting.contains(r##""instructions":"# quick\n\nBe quick.""##), "{greeting}");
}

#[test]
fn levels_set_for_all_servers_reach_each() {
    let daemon = Daemon::start(&format!("{}{}", own_server("a", &[]), own_server("b", &[])));
    let mut agent = daemon.agent_of_all();
    agent.ask(&request(2, "tools/list", "{}"));
    assert!(agent.ask(&request(3, "logging/setLevel", r#"{"level":"warning"}"#)).contains("\"result\":{}"));
    assert!(agent.ask(&request(3, "logging/setLevel", r#"{"level":"loud"}"#)).contains("not one of the log levels"));
    for name in ["a__seen", "b__seen"] {
        eventually("the level arrived", || {
            let seen = text_of(&agent.ask(&request(
                4,
                "tools/call",
                &format!(r#"{{"name":"{name}","arguments":{{"what":"logging/setLevel"}}}}"#),
            )));
            seen.contains("warning")
        });
    }
}

#[test]
fn agents_of_both_eras_see_servers_of_both() {
    let daemon = Daemon::start(&format!("{}era = \"modern\"\n", own_server("m", &["--modern"])));
    let mut agent = Agent::socket(&daemon.socket());
    let discovered = result(&agent.ask(&modern("1", "server/discover", "")));
    assert_eq!(discovered["supportedVersions"][0], "2026-07-28");
    let list = agent.ask(&modern("2", "tools/list", ""));
    assert!(list.contains("m__echo") && list.contains(r#""resultType":"complete""#), "{list}");
    assert!(agent.ask(&modern("3", "tools/call", r#""name":"m__echo""#)).contains("content"));
    let mixed = Daemon::start(&format!("{}{}", own_server("m", &["--modern"]), own_server("l", &[])));
    let mut agent = Agent::socket(&mixed.socket());
    assert!(agent.ask(&modern("1", "server/discover", "")).contains("2026-07-28"));
    let list = agent.ask(&modern("2", "tools/list", ""));
    assert!(list.contains("m__echo") && list.contains("l__echo"), "{list}");
    for tool in ["m__echo", "l__echo"] {
        assert!(agent.ask(&modern("3", "tools/call", &format!(r#""name":"{tool}""#))).contains("content"));
    }
    let mut agent = Agent::socket(&mixed.socket());
    agent.greet("{}");
    for tool in ["m__echo", "l__echo"] {
        assert!(agent.call("3", tool, "{}").contains("content"), "a legacy agent, likewise");
    }
}
