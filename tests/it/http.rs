//! Servers over HTTP: sessions that are lost, streams that are cut, questions on a call's own stream, the modern era's
//! headers, and the transport before.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::mock::{Mock, Request, discovered, greet, result, text};
use crate::support::{Daemon, error_of, eventually, modern, text_of};

const CAPABILITIES: &str = r#"{"roots":{},"sampling":{},"elicitation":{}}"#;

#[test]
fn a_stream_that_is_cut_is_taken_up_where_it_ended() {
    let mock = Mock::start(|request, reply| {
        if let Some(last) = request.header("last-event-id") {
            reply.events();
            let id = last.strip_prefix("at-").unwrap_or_default();
            let frame = json!({ "jsonrpc": "2.0", "id": id.parse::<u64>().unwrap_or(0), "result": { "content": [{ "type": "text", "text": "resumed" }] } });
            return reply.raw(&format!("id: end\ndata: {frame}\n\n"));
        }
        if greet(request, reply, "s") {
            return;
        }
        let (frame, id) = (request.json(), request.json()["id"].to_string());
        reply.events();
        match frame["params"]["name"].as_str().unwrap_or_default() {
            // Cut in mid-answer, behind an event with an id.
            "cut" => reply.raw(&format!("retry: 300\nid: at-{id}\ndata: \n\nda")),
            "lost" => reply.raw(": nothing yet\n\n"),
            // Line ends in the middle of a message, and more than one event in one piece.
            _ => {
                let progress = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": frame["params"]["_meta"]["progressToken"], "progress": 1 } });
                let pretty = serde_json::to_string_pretty(&json!({ "jsonrpc": "2.0", "id": frame["id"], "result": { "content": [{ "type": "text", "text": "a\nb" }] } })).expect("JSON");
                let pretty = pretty.replace('\n', "\r\ndata: ");
                reply.raw(&format!(": hello\r\n\r\nevent: message\r\ndata: {progress}\r\n\r\ndata: {pretty}\r\n\r\n"));
            }
        }
    });
    let daemon = Daemon::start(&mock.entry(""));
    let mut agent = daemon.agent("h");
    agent.send_call("1", "pretty", "{}");
    assert!(agent.line().contains("notifications/progress"));
    assert_eq!(text_of(&agent.line()), "a\nb");
    let begun = Instant::now();
    assert_eq!(text_of(&agent.call("2", "cut", "{}")), "resumed");
    assert!(begun.elapsed() >= Duration::from_millis(300), "not before the server's `retry`");
    let error = error_of(&agent.call("3", "lost", "{}"));
    assert!(error.contains("the stream ended before the answer") && error.contains("not repeated"), "{error}");
    assert_eq!(mock.of("tools/call").len(), 3, "no call is ever sent twice");
}

#[test]
fn a_question_on_a_calls_own_stream_belongs_to_that_call() {
    let mock = Mock::start(|request, reply| {
        if greet(request, reply, "s") {
            return;
        }
        if request.json().get("method").is_none() {
            return reply.answer(202, "", "");
        }
        if request.rpc().ends_with("/list") {
            return reply.json(&result(request, &json!({ "tools": [], "resources": [], "resourceTemplates": [] })));
        }
        let id = request.json()["id"].clone();
        reply.events();
        let question = json!({ "jsonrpc": "2.0", "id": format!("q{id}"), "method": "elicitation/create", "params": { "message": request.json()["params"]["arguments"]["who"] } });
        reply.raw(&format!("data: {question}\n\n"));
        let log = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": request.json()["params"]["arguments"]["who"] } });
        reply.raw(&format!("data: {log}\n\n"));
        reply.wait_for_end();
    });
    let daemon = Daemon::start(&mock.entry(""));
    let mut agents: Vec<_> = (0..4).map(|_| daemon.attach("h")).collect();
    for (number, agent) in agents.iter_mut().enumerate() {
        agent.greet(CAPABILITIES);
        agent.send_call("1", "ask", &format!(r#"{{"who":"agent {number}"}}"#));
    }
    for (number, agent) in agents.iter_mut().enumerate() {
        let question: Value =
            serde_json::from_str(&agent.until(|line| line.contains("elicitation/create"))).expect("JSON");
        assert_eq!(question["params"]["message"], format!("agent {number}"), "side by side, and exact");
        assert!(agent.line().contains(&format!("agent {number}")), "its log messages too");
        agent.send(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "action": "accept" } }).to_string());
    }
    eventually("every answer reached the server", || {
        mock.seen().iter().filter(|request| request.json()["id"].as_str().is_some_and(|id| id.starts_with('q'))).count()
            == 4
    });
    let server = daemon.server("h");
    assert_eq!((server["ambiguous_request"].is_null(), server["instances"].as_array().map(Vec::len)), (true, Some(1)));
}

#[test]
fn a_modern_call_is_cancelled_by_closing_its_stream() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = ended.clone();
    let mock = Mock::start(move |request, reply| {
        if discovered(request, reply) {
            return;
        }
        if request.rpc() == "tools/list" {
            return reply.json(&result(
                request,
                &json!({ "resultType": "complete", "tools": [], "ttlMs": 0, "cacheScope": "private" }),
            ));
        }
        reply.events();
        if request.json()["params"]["name"] == "cut" {
            return reply.raw("id: 1\ndata: \n\n");
        }
        reply.wait_for_end();
        count.fetch_add(1, Ordering::Relaxed);
    });
    let daemon = Daemon::start(&mock.entry(""));
    let mut agent = daemon.attach("h");
    agent.ask(&modern("0", "server/discover", ""));
    agent.send(&modern("1", "tools/call", r#""name":"wait","arguments":{}"#));
    eventually("the call is there", || !mock.of("tools/call").is_empty());
    agent.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    eventually("its stream is closed", || ended.load(Ordering::Relaxed) == 1);
    assert_eq!(mock.of("notifications/cancelled").len(), 0);
    eventually("nothing is in flight", || daemon.server("h")["instances"][0]["in_flight"] == 0);
    // A stream that the server cuts fails its call once, and is not taken up again.
    let error = error_of(&agent.ask(&modern("2", "tools/call", r#""name":"cut","arguments":{}"#)));
    assert!(error.contains("the stream ended before the answer") && mock.of("GET").is_empty(), "{error}");
    let call = mock.of("tools/call").remove(0);
    assert_eq!((call.header("mcp-method"), call.header("mcp-name")), (Some("tools/call"), Some("wait")));
    assert_eq!(call.header("mcp-protocol-version"), Some("2026-07-28"));
}

#[test]
fn headers_that_do_not_match_the_tools_any_more_are_made_anew_once() {
    let listed = Arc::new(AtomicUsize::new(0));
    let count = listed.clone();
    let mock = Mock::start(move |request, reply| {
        if discovered(request, reply) {
            return;
        }
        if request.rpc() == "tools/list" {
            let mut schema = json!({ "type": "object" });
            if count.load(Ordering::Relaxed) > 0 {
                schema["properties"] = json!({ "region": { "type": "string", "x-mcp-header": "Region" } });
            }
            let tools = json!([{ "name": "t", "inputSchema": schema }, { "name": "bad", "inputSchema": { "properties": { "a": { "type": "number", "x-mcp-header": "A" } } } }]);
            return reply.json(&result(
                request,
                &json!({ "resultType": "complete", "tools": tools, "ttlMs": 0, "cacheScope": "private" }),
            ));
        }
        match request.header("mcp-param-region") {
            Some(region) if request.json()["params"]["name"] == "t" => {
                let region = region.to_owned();
                reply.json(&text(request, &region));
            }
            _ => reply.answer(400, "Content-Type: application/json\r\n", &json!({ "jsonrpc": "2.0", "id": request.json()["id"], "error": { "code": -32020, "message": "header mismatch" } }).to_string()),
        }
    });
    let daemon = Daemon::start(&mock.entry(""));
    let mut agent = daemon.attach("h");
    let tools = agent.ask(&modern("1", "tools/list", ""));
    assert!(tools.contains(r#""name":"t""#) && !tools.contains("bad"), "{tools}");
    let call = |id: &str, name: &str| {
        modern(id, "tools/call", &format!(r#""name":"{name}","arguments":{{"region":"Zürich"}}"#))
    };
    listed.store(1, Ordering::Relaxed);
    assert_eq!(text_of(&agent.ask(&call("2", "t"))), "=?base64?WsO8cmljaA==?=");
    let refused: Value = serde_json::from_str(&agent.ask(&call("3", "u"))).expect("JSON");
    assert_eq!(refused["error"]["code"], -32020, "the second refusal is the answer");
    assert_eq!(mock.of("tools/call").len(), 4);
}

#[test]
fn what_a_server_says_with_http_is_said_to_the_agent() {
    let mock = Mock::start(|request, reply| {
        if greet(request, reply, "s") {
            return;
        }
        match request.json()["params"]["name"].as_str().unwrap_or_default() {
            "rpc" => reply.answer(500, "", &json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -7, "message": "own", "data": [1] } }).to_string()),
            "html" => reply.answer(502, "Content-Type: text/html\r\n", "<html>secret words</html>"),
            "text" => reply.answer(418, "", "I am a\nteapot"),
            "repeats" => reply.answer(403, "", &format!("denied: {:?}", request.headers)),
            "moved" => reply.answer(301, "Location: http://127.0.0.1:9/other\r\n", ""),
            "silent" => reply.answer(202, "", ""),
            "batch" => reply.json(&format!("[{},\n{}]", json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "error", "data": "first" } }), text(request, "batched"))),
            "big" => reply.json(&text(request, &"x".repeat(70_000))),
            "hang-up" => {}
            name => {
                let said = format!("{name} {}", request.header("x-key").unwrap_or_default());
                reply.json(&text(request, &said));
            }
        }
    });
    let config = format!(
        "[daemon]\nmax_frame = \"64KiB\"\n{}",
        mock.entry("headers = { X-Key = \"${env:HOME}\", Authorization = \"Bearer canary-fixed\" }")
    );
    let daemon = Daemon::start(&config);
    let mut agent = daemon.agent("h");
    let own: Value = serde_json::from_str(&agent.call("1", "rpc", "{}")).expect("JSON");
    assert_eq!(own["error"], json!({ "code": -7, "message": "own", "data": [1] }));
    for (tool, said) in [
        ("html", "`h`: HTTP 502"),
        ("text", "HTTP 418 I'm a teapot: I am a teapot"),
        ("repeats", "denied"),
        ("moved", "HTTP 301 Moved Permanently; it redirects to http://127.0.0.1:9/other"),
        ("silent", "gave no answer"),
        ("big", "larger than the cap of 65536 bytes"),
        ("hang-up", "cannot reach http://127.0.0.1"),
    ] {
        let error = error_of(&agent.call("2", tool, "{}"));
        assert!(
            error.contains(said) && !error.contains("secret words") && !error.contains("canary"),
            "{tool}: {error}"
        );
    }
    agent.send_call("3", "batch", "{}");
    assert!(agent.line().contains("first"));
    assert_eq!(text_of(&agent.line()), "batched");
    assert_eq!(
        text_of(&agent.call("4", "plain", "{}")),
        format!("plain {}", std::env::var("HOME").unwrap_or_default())
    );
    let sent = mock.of("tools/call").pop().expect("a call");
    assert_eq!(sent.header("authorization"), Some("Bearer canary-fixed"), "the entry's own takes the place of a login");
    assert!(
        sent.header("accept")
            .is_some_and(|accept| accept.contains("application/json") && accept.contains("text/event-stream"))
    );
}

#[test]
fn a_server_that_cannot_be_reached_has_not_failed() {
    let url = {
        let mock = Mock::start(|_, _| {});
        mock.url.clone()
    };
    let daemon = Daemon::start(&format!("[servers.h]\nurl = {url:?}\n"));
    let mut agent = daemon.attach("h");
    for _ in 0..7 {
        let error = error_of(&agent.ask(&crate::support::legacy("{}")));
        assert!(error.contains("`h` is not available: cannot reach") && error.contains("refused"), "{error}");
    }
    assert_eq!(daemon.server("h")["state"], "failed", "and no breaker keeps it from coming back");
}

#[test]
fn what_comes_first_has_a_deadline() {
    let mock = Mock::start(|request, reply| match request.rpc().as_str() {
        "notifications/initialized" => reply.wait_for_end(),
        _ => drop(greet(request, reply, "s")),
    });
    let daemon = Daemon::start(&mock.entry("startup_timeout = \"1s\""));
    let error = error_of(&daemon.agent("h").call("1", "any", "{}"));
    assert!(error.contains("did not answer within 1s"), "{error}");
}

#[test]
fn a_question_on_the_stream_of_nobodys_request_reaches_nobody() {
    let mock = Mock::start(|request, reply| {
        if greet(request, reply, "s") || request.json().get("method").is_none() {
            return;
        }
        reply.events();
        if request.rpc() == "tools/call" {
            return reply.wait_for_end();
        }
        let question =
            json!({ "jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": { "message": "?" } });
        reply.raw(&format!("data: {question}\n\ndata: {}\n\n", result(request, &json!({ "tools": [] }))));
    });
    let daemon = Daemon::start(&mock.entry(""));
    let mut agent = daemon.attach("h");
    agent.greet(CAPABILITIES);
    agent.send_call("1", "wait", "{}");
    eventually("the call is under way", || mock.of("tools/call").len() == 1);
    daemon.run(&["tools", "h"]);
    let answers = || mock.seen().into_iter().filter(|request| request.json()["id"] == "q").collect::<Vec<_>>();
    eventually("the question is answered", || !answers().is_empty());
    let refused = |request: &Request| {
        request.json()["error"]["message"].as_str().is_some_and(|said| said.contains("nobody to ask"))
    };
    assert!(answers().iter().all(refused), "{:?}", answers());
}

#[test]
fn progress_gives_a_call_more_time() {
    let mock = Mock::start(|request, reply| {
        if greet(request, reply, "s") {
            return;
        }
        let token = request.json()["params"]["_meta"]["progressToken"].clone();
        reply.events();
        if request.json()["params"]["name"] == "busy" {
            for step in 0..8 {
                std::thread::sleep(Duration::from_millis(300));
                let progress = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": token, "progress": step } });
                reply.raw(&format!("data: {progress}\n\n"));
            }
            let done = text(request, "done");
            return reply.raw(&format!("data: {done}\n\n"));
        }
        reply.wait_for_end();
    });
    let daemon = Daemon::start(&mock.entry("call_timeout = \"1s\""));
    let mut agent = daemon.agent("h");
    assert_eq!(text_of(&agent.call("1", "busy", "{}")), "done");
    assert!(error_of(&agent.call("2", "quiet", "{}")).contains("call_timeout"));
    eventually("the server is told", || mock.of("notifications/cancelled").len() == 1);
}
