//! Agents and servers of either era work with each other; `matrix` tries all that they do.

use serde_json::{Value, json};

use crate::support::mock::Mock;
use crate::support::{Daemon, error_of, eventually, id_of, legacy, modern, own_server, params_of, text_of};

#[test]
fn a_modern_agent_on_a_modern_server() {
    let daemon = Daemon::start(&own_server("m", &["--modern"]));
    let (mut one, mut two) = (daemon.attach("m"), daemon.attach("m"));
    let discovered = one.ask(&modern("\"d\"", "server/discover", ""));
    assert!(discovered.contains("\"x-odd\":1E5") && discovered.contains("\"id\":\"d\""), "{discovered}");
    let echoed = text_of(&one.ask(&modern("1", "tools/call", r#""name":"echo","arguments":{}"#)));
    assert_eq!(
        params_of(&echoed)["_meta"]["io.modelcontextprotocol/clientInfo"]["name"],
        "agent",
        "each request carries its own agent's _meta"
    );
    // A subscription's notifications come to its owner, under its own id.
    two.send(&modern("\"s\"", "subscriptions/listen", r#""notifications":{"toolsListChanged":true}"#));
    let acknowledged = two.line();
    assert_eq!(params_of(&acknowledged)["_meta"]["io.modelcontextprotocol/subscriptionId"], "s", "{acknowledged}");
    assert_eq!(daemon.server("m")["instances"].as_array().map(Vec::len), Some(1), "no classes in the modern era");
    assert_eq!(daemon.server("m")["era"], "modern");
}

#[test]
fn a_legacy_agent_on_a_modern_only_server() {
    let daemon = Daemon::start(&own_server("m", &["--modern"]));
    let mut agent = daemon.attach("m");
    let greeting: Value = serde_json::from_str(&agent.greet(r#"{"sampling":{}}"#)).expect("JSON");
    assert_eq!(greeting["result"]["protocolVersion"], "2025-06-18", "{greeting}");
    assert_eq!(greeting["result"]["serverInfo"]["name"], "modern", "{greeting}");
    let arguments = r#"{"n":12345678901234567890123}"#;
    let seen = text_of(&agent.call("\"a\"", "echo", arguments));
    let meta = params_of(&seen)["_meta"].clone();
    assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28", "{seen}");
    assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "agent", "{seen}");
    assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({ "sampling": {} }), "{seen}");
    assert!(seen.contains(arguments), "nothing else is touched: {seen}");
    assert_eq!(agent.ask(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#), r#"{"jsonrpc":"2.0","id":"p","result":{}}"#);
    assert!(agent.ask(r#"{"jsonrpc":"2.0","id":3,"method":"tools/list"}"#).contains("\"echo\""));
    let progressed = agent.call("4", "progress", r#"{"total":1,"mark":7}"#);
    assert_eq!(text_of(&progressed), "7");
    // What is learned holds for the next agent, and for the next daemon.
    let before = daemon.server("m")["starts"].as_u64();
    let daemon = Daemon::start_in(daemon.restart());
    daemon.attach("m").greet("{}");
    assert_eq!(before, Some(1));
    assert!(daemon.attach("m").ask(&legacy("{}")).contains("\"x-odd\":1E5"), "unknown members pass");
}

#[test]
fn a_modern_agent_on_a_legacy_server() {
    for words in [&[][..], &["--no-discover=exit"], &["--no-discover=silent"]] {
        let daemon = Daemon::start(&own_server("l", words));
        let mut agent = daemon.attach("l");
        let discovered = agent.ask(&modern("0", "server/discover", ""));
        let found: Value = serde_json::from_str(&discovered).expect("JSON");
        assert_eq!(found["result"]["supportedVersions"][0], "2026-07-28", "{discovered}");
        assert_eq!(found["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "test", "{discovered}");
        assert!(discovered.contains(r#""x-unknown":[1E5,12345678901234567890123]"#), "{discovered}");
        let listed: Value = serde_json::from_str(&agent.ask(&modern("1", "tools/list", ""))).expect("JSON");
        assert_eq!(listed["result"]["resultType"], "complete", "{listed}");
        assert_eq!((&listed["result"]["ttlMs"], &listed["result"]["cacheScope"]), (&json!(0), &json!("private")));
        let call = modern("\"c\"", "tools/call", r#""name":"echo","arguments":{"n":1E5}"#);
        let answered = agent.ask(&call.replace("\"_meta\":{", "\"_meta\":{\"traceparent\":\"00-1\","));
        assert!(answered.contains(r#""result":{"resultType":"complete","#), "{answered}");
        let seen = text_of(&answered);
        assert!(seen.contains(r#""_meta":{"traceparent":"00-1"}"#) && seen.contains(r#"{"n":1E5}"#), "{seen}");
        for removed in ["ping", "logging/setLevel", "resources/subscribe", "initialize"] {
            let refused: Value = serde_json::from_str(&agent.ask(&modern("9", removed, ""))).expect("JSON");
            assert_eq!(refused["error"]["code"], -32601, "{removed}: {refused}");
        }
        let future = modern("8", "tools/list", "").replace("2026-07-28", "2099-01-01");
        let refused: Value = serde_json::from_str(&agent.ask(&future)).expect("JSON");
        assert_eq!(
            (&refused["error"]["code"], &refused["error"]["data"]["requested"]),
            (&json!(-32022), &json!("2099-01-01"))
        );
        let bare = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        let refused = agent.ask(bare);
        assert!(refused.contains("-32602") && refused.contains("clientCapabilities"), "{refused}");
        assert_eq!(daemon.server("l")["era"], "legacy");
    }
}

#[test]
fn agents_of_both_eras_share_a_legacy_process_when_they_promise_the_same() {
    let daemon = Daemon::start(&own_server("l", &[]));
    let (mut one, mut two) = (daemon.attach("l"), daemon.attach("l"));
    one.ask(&legacy("{}").replace("2025-06-18", "2025-11-25"));
    let pid = one.server_pid();
    let state = text_of(&two.ask(&modern("1", "tools/call", r#""name":"state","arguments":{}"#)));
    let state: Value = serde_json::from_str(&state).expect("JSON");
    assert_eq!(state["pid"], pid, "the promises are the same, so is the process");
    let able = modern("2", "tools/call", r#""name":"state","arguments":{}"#);
    let able = able.replace("clientCapabilities\":{}", "clientCapabilities\":{\"roots\":{}}");
    let state: Value = serde_json::from_str(&text_of(&two.ask(&able))).expect("JSON");
    assert_ne!(state["pid"], pid, "another promise, another process");
}

#[test]
fn where_there_is_no_place_to_try_another_era_the_process_is_shared() {
    let daemon = Daemon::start(&format!("{}max_instances = 1\n", own_server("l", &[])));
    let mut one = daemon.attach("l");
    one.ask(&legacy("{}").replace("2025-06-18", "2025-11-25"));
    let (pid, call) = (one.server_pid(), modern("1", "tools/call", r#""name":"state","arguments":{}"#));
    let mut two = daemon.attach("l");
    let state: Value = serde_json::from_str(&text_of(&two.ask(&call))).expect("JSON");
    assert_eq!(state["pid"], pid);
    let other = call.replace("clientCapabilities\":{}", "clientCapabilities\":{\"roots\":{}}");
    assert!(error_of(&two.ask(&other)).contains("max_instances"), "what it promises is something else");
}

#[test]
fn the_daemons_own_calls_find_the_era() {
    for (words, era) in [(&["--modern"][..], "modern"), (&[], "legacy"), (&["--no-discover=exit"], "legacy")] {
        let daemon = Daemon::start(&own_server("s", words));
        let output = daemon.run(&["call", "s", "echo", "a=1"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(daemon.server("s")["era"], era);
    }
}

#[test]
fn a_configured_era_is_not_probed() {
    let daemon = Daemon::start(&format!("{}era = \"legacy\"\n", own_server("s", &["--no-discover=exit"])));
    let answer = daemon.attach("s").ask(&modern("1", "server/discover", ""));
    assert!(answer.contains("supportedVersions") && daemon.server("s")["starts"] == 1, "{answer}");
    assert!(daemon.run(&["tools", "s"]).status.success());
}

#[test]
fn each_agent_gets_the_version_that_it_asked_for() {
    let daemon = Daemon::start(&own_server("s", &[]));
    for version in ["2024-11-05", "2025-11-25", "2099-01-01"] {
        let answer = daemon.attach("s").ask(&legacy("{}").replace("2025-06-18", version));
        assert!(
            answer.contains(&format!("\"protocolVersion\":\"{version}\"")) && id_of(&answer).as_deref() == Some("1"),
            "{answer}"
        );
    }
}

#[test]
fn a_request_before_any_handshake_is_refused() {
    let daemon = Daemon::start(&own_server("s", &[]));
    let mut agent = daemon.attach("s");
    assert!(agent.ask(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).contains("the session has not begun"));
    assert!(agent.ask(r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#).contains("\"result\":{}"));
}

#[test]
fn a_subscription_that_the_server_ends_is_asked_for_again_and_does_not_hold_the_daemon_up() {
    let mock = Mock::start(|request, reply| {
        let result = match request.rpc().as_str() {
            "server/discover" => json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": { "tools": { "listChanged": true } },
                "ttlMs": 0, "cacheScope": "private", "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "h", "version": "1" } }
            }),
            "subscriptions/listen" => json!({ "resultType": "complete" }),
            _ => json!({ "resultType": "complete", "tools": [], "ttlMs": 0, "cacheScope": "private" }),
        };
        reply.json(&json!({ "jsonrpc": "2.0", "id": request.json()["id"], "result": result }).to_string());
    });
    let daemon = Daemon::start(&mock.entry(""));
    let mut agent = daemon.attach("h");
    agent.greet("{}");
    eventually("it is asked for a third time", || mock.of("subscriptions/listen").len() == 3);
    // The next time would be in four seconds.
    let began = std::time::Instant::now();
    drop(daemon.restart());
    assert!(began.elapsed() < std::time::Duration::from_secs(3), "{:?}", began.elapsed());
}
