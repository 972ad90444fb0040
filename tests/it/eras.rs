//! Agents and servers of one era work in full; mixed pairs are refused clearly, or find the era that both speak.

use serde_json::Value;

use crate::support::{Daemon, id_of, legacy, modern, own_server, params_of};

#[test]
fn a_modern_agent_on_a_modern_server() {
    let daemon = Daemon::start(&own_server("m", &["--modern"]));
    let (mut one, mut two) = (daemon.attach("m"), daemon.attach("m"));
    let discovered = one.ask(&modern("\"d\"", "server/discover", ""));
    assert!(discovered.contains("\"x-odd\":1E5") && discovered.contains("\"id\":\"d\""), "{discovered}");
    let echoed = crate::support::text_of(&one.ask(&modern("1", "tools/call", r#""name":"echo","arguments":{}"#)));
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
fn a_legacy_agent_on_a_modern_only_server_is_refused() {
    let daemon = Daemon::start(&own_server("m", &["--modern"]));
    for _ in 0..2 {
        let answer: Value = serde_json::from_str(&daemon.attach("m").ask(&legacy("{}"))).expect("JSON");
        assert_eq!(answer["error"]["code"], -32022);
        assert_eq!(answer["error"]["data"]["supported"][0], "2026-07-28");
        assert!(
            answer["error"]["message"]
                .as_str()
                .is_some_and(|message| message.contains("`m`") && message.contains("modern only")),
            "{answer}"
        );
    }
}

#[test]
fn an_agent_that_probes_a_legacy_server_falls_back() {
    for words in [&[][..], &["--no-discover=exit"]] {
        let daemon = Daemon::start(&own_server("l", words));
        let mut agent = daemon.attach("l");
        let refused: Value = serde_json::from_str(&agent.ask(&modern("0", "server/discover", ""))).expect("JSON");
        assert_eq!(refused["error"]["code"], -32601, "{refused}");
        let other: Value = serde_json::from_str(&agent.ask(&modern("0", "tools/list", ""))).expect("JSON");
        assert_eq!(
            (other["error"]["code"].as_i64(), other["error"]["data"]["supported"][0].as_str()),
            (Some(-32022), Some("2025-11-25")),
            "{other}"
        );
        agent.greet("{}");
        assert!(agent.call("3", "echo", "{}").contains("content"), "in full, in the era that both speak");
    }
}

#[test]
fn the_servers_own_refusal_of_discover_is_passed_on() {
    let daemon = Daemon::start(&own_server("l", &[]));
    let refused = daemon.attach("l").ask(&modern("\"x\"", "server/discover", ""));
    assert_eq!(
        refused,
        r#"{"jsonrpc":"2.0","id":"x","error":{"code":-32601,"message":"no such method","data":{"n":12345678901234567890123,"method":"server/discover"}}}"#
    );
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
    assert!(answer.contains("-32601") && daemon.server("s")["starts"] == 0, "{answer}");
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
