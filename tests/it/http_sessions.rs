//! Sessions over HTTP: how they begin, go on with the next daemon, and end.

use crate::support::http::{begin, events, post, request, url};
use crate::support::{Daemon, Endpoint, command, eventually, legacy, own_server, test_server, text_of};

fn daemon(servers: &str) -> Daemon {
    Daemon::start(&format!("[http]\nlisten = \"127.0.0.1:0\"\n{servers}"))
}

fn frame(id: u64, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
}

#[test]
fn a_session_is_of_one_url_and_ends_when_it_is_told_to() {
    let daemon = daemon(&own_server("t", &[]));
    let (endpoint, all) = (daemon.endpoint(Some("t")), daemon.endpoint(None));
    let session = begin(&endpoint);
    let named = [("Mcp-Session-Id", session.as_str())];
    let initialized = post(&endpoint, &named, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    assert_eq!((initialized.status, initialized.body.as_str()), (202, ""));
    // Line ends between members are nobody's but the agent's.
    let pretty = "{\n  \"jsonrpc\": \"2.0\",\n  \"id\": 7,\r\n  \"method\": \"tools/list\"\n}";
    let listed = post(&endpoint, &named, pretty);
    assert!(listed.status == 200 && listed.body.contains("\"echo\""), "{listed:?}");
    assert_eq!(post(&all, &named, pretty).status, 404, "of another URL");
    let held = {
        let (endpoint, session) = (endpoint.clone(), session.clone());
        let hold = r#"{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"name":"hold","arguments":{"key":"k"}}}"#;
        std::thread::spawn(move || post(&endpoint, &[("Mcp-Session-Id", &session)], hold))
    };
    eventually("the call is in flight", || daemon.server("t")["instances"][0]["in_flight"] == 1);
    let again = post(&endpoint, &named, &legacy("{}"));
    let held = held.join().expect("answered");
    assert!(held.status == 200 && !held.body.contains("\"id\":8"), "its stream ends without an answer: {held:?}");
    assert_eq!((again.status, again.header("mcp-session-id")), (200, Some(&*session)), "the session begins anew");
    assert_eq!(daemon.status()["sessions"].as_array().map(Vec::len), Some(1));
    let bearer = format!("Bearer {}", endpoint.token);
    let mut headers = vec![("Authorization", bearer.as_str()), named[0]];
    headers.push(("MCP-Protocol-Version", "2099-01-01"));
    assert_eq!(request("DELETE", &url(&endpoint), &headers, "").status, 400);
    headers.pop();
    assert_eq!(request("DELETE", &url(&endpoint), &headers, "").status, 204);
    assert_eq!(post(&endpoint, &named, pretty).status, 404);
    assert_eq!(daemon.status()["sessions"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_session_goes_on_with_the_next_daemon() {
    let mut daemon = daemon(&own_server("t", &[]));
    let endpoint = daemon.endpoint(Some("t"));
    let (session, ended) = (begin(&endpoint), begin(&endpoint));
    let named = |session: &'static str| [("Mcp-Session-Id", session)];
    let (named, ended) = (named(session.leak()), named(ended.leak()));
    for uri in ["test://one", "test://two"] {
        post(&endpoint, &named, &frame(2, "resources/subscribe", &format!(r#"{{"uri":"{uri}"}}"#)));
    }
    post(&endpoint, &named, &frame(3, "resources/unsubscribe", r#"{"uri":"test://one"}"#));
    let opening = events(&endpoint, "GET", &named, "").find(|line| line.starts_with("id: ")).expect("an id");
    let listening = opening.trim_start_matches("id: ");
    let delete = |endpoint: &Endpoint, named: (&str, &str)| {
        let bearer = format!("Bearer {}", endpoint.token);
        request("DELETE", &url(endpoint), &[("Authorization", &bearer), named], "").status
    };
    assert_eq!(delete(&endpoint, ended[0]), 204);
    for kills in [true, false] {
        eventually("it is written down", || {
            let kept = std::fs::read_to_string(daemon.folder().join("state/http-sessions")).unwrap_or_default();
            kept.contains("test://two") && !kept.contains("test://one") && !kept.contains(ended[0].1)
        });
        daemon = Daemon::start_in(if kills { daemon.kill() } else { daemon.restart() });
        let endpoint = daemon.endpoint(Some("t"));
        assert_eq!(post(&endpoint, &ended, &frame(4, "tools/list", "{}")).status, 404);
        let elsewhere = Endpoint { path: "/mcp".to_owned(), ..endpoint.clone() };
        assert_eq!(post(&elsewhere, &named, &frame(4, "tools/list", "{}")).status, 404, "of another URL");
        let calls: Vec<_> = (5..9)
            .map(|id| {
                let (endpoint, call) =
                    (endpoint.clone(), frame(id, "tools/call", r#"{"name":"state","arguments":{}}"#));
                std::thread::spawn(move || post(&endpoint, &named, &call))
            })
            .collect();
        calls.into_iter().map(|call| call.join().expect("called")).for_each(|answer| assert_eq!(answer.status, 200));
        let seen = frame(9, "tools/call", r#"{"name":"seen","arguments":{"what":"test://"}}"#);
        eventually("it is subscribed again, once", || {
            let seen = text_of(&post(&endpoint, &named, &seen).body);
            serde_json::from_str::<Vec<String>>(&seen).expect("JSON").len() == 1
        });
        assert_eq!(daemon.status()["sessions"].as_array().map(Vec::len), Some(1));
        // The stream goes on too, and one of a request that is lost does not.
        let resumed = events(&endpoint, "GET", &[named[0], ("Last-Event-ID", listening)], "").next();
        assert!(resumed.is_some_and(|line| line.contains("200")));
        let lost = listening.replacen("-0-", "-7-", 1);
        let resumed = events(&endpoint, "GET", &[named[0], ("Last-Event-ID", &lost)], "").next();
        assert!(resumed.is_some_and(|line| line.contains("400")));
    }
    assert_eq!(delete(&daemon.endpoint(Some("t")), named[0]), 204);
}

#[test]
fn a_stream_that_was_cut_is_taken_up_again() {
    let daemon = daemon(&own_server("t", &[]));
    let endpoint = daemon.endpoint(Some("t"));
    let session = begin(&endpoint);
    let named = [("Mcp-Session-Id", session.as_str())];
    let hold = r#"{"jsonrpc":"2.0","id":"h","method":"tools/call","params":{"name":"hold","arguments":{"key":"k"}}}"#;
    let mut stream = events(&endpoint, "POST", &named, hold);
    let first = stream.find_map(|line| Some(line.strip_prefix("id: ")?.to_owned())).expect("an event without data");
    drop(stream);
    let release =
        r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"release","arguments":{"key":"k"}}}"#;
    eventually("it is released", || post(&endpoint, &named, release).body.contains("released"));
    for _ in 0..2 {
        let mut again = events(&endpoint, "GET", &[named[0], ("Last-Event-ID", &first)], "");
        let answer = again.find(|line| line.starts_with("data: {")).expect("the answer");
        assert!(answer.contains(r#""id":"h""#) && answer.contains("\"k\""), "{answer}");
    }
    let mut lost = events(&endpoint, "GET", &[named[0], ("Last-Event-ID", "99-0")], "");
    assert!(lost.next().is_some_and(|line| line.contains("400")), "of a stream that is not kept");
}

#[test]
fn what_an_agent_says_to_the_next_daemon_counts() {
    let gated = |gate: &std::path::Path| {
        let script = format!("until test -e {}; do sleep 0.02; done; exec {} --name=t", gate.display(), test_server());
        format!("[servers.t]\ncommand = \"sh\"\nargs = [\"-c\", {script:?}]\nshare = \"all\"\n")
    };
    let gates = tempfile::tempdir().expect("a folder");
    let gate = gates.path().join("open");
    std::fs::write(&gate, "").expect("written");
    let daemon = daemon(&gated(&gate));
    let endpoint = daemon.endpoint(Some("t"));
    let session = begin(&endpoint);
    let named = [("Mcp-Session-Id", session.as_str())];
    for uri in ["test://one", "test://two"] {
        post(&endpoint, &named, &frame(2, "resources/subscribe", &format!(r#"{{"uri":"{uri}"}}"#)));
    }
    post(&endpoint, &named, &frame(3, "logging/setLevel", r#"{"level":"debug"}"#));
    assert!(daemon.run(&["stop", "t"]).status.success());
    std::fs::remove_file(&gate).expect("removed");
    // What it had at a server that does not run is remembered, too.
    let daemon = Daemon::start_in(daemon.restart());
    let mut start = command(daemon.folder()).args(["start", "t"]).spawn().expect("it starts");
    eventually("it is started again", || daemon.server("t")["state"] == "starting");
    let endpoint = daemon.endpoint(Some("t"));
    let unsubscribe = frame(4, "resources/unsubscribe", r#"{"uri":"test://one"}"#);
    let level = frame(5, "logging/setLevel", r#"{"level":"error"}"#);
    let waiting = [unsubscribe, level].map(|said| {
        let mut stream = events(&endpoint, "POST", &named, &said);
        stream.find(|line| line.starts_with("id: ")).expect("it waits for the server");
        stream
    });
    std::fs::write(&gate, "").expect("written");
    waiting.into_iter().for_each(|mut stream| assert!(stream.any(|line| line.contains("result"))));
    assert!(start.wait().expect("waited").success());
    let seen = |what: &str| -> Vec<String> {
        let seen = format!(r#"{{"name":"seen","arguments":{{"what":"{what}"}}}}"#);
        serde_json::from_str(&text_of(&post(&endpoint, &named, &frame(6, "tools/call", &seen)).body)).expect("JSON")
    };
    eventually("it is subscribed again", || seen("resources/subscribe").len() == 1);
    assert!(seen("resources/subscribe")[0].contains("test://two"), "and at what it asked for alone");
    assert_eq!(seen("debug").len(), 0, "the level is the newer one");
}
