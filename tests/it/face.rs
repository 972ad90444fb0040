//! The endpoint over HTTP: who comes in, what it answers, and how its streams live and end.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::http::{begin, events, post, request, url};
use crate::support::{Agent, Daemon, Endpoint, error_of, eventually, legacy, modern, own_server, text_of};

const LISTEN: &str = "[http]\nlisten = \"127.0.0.1:0\"\n";

fn daemon(servers: &str) -> Daemon {
    Daemon::start(&format!("{LISTEN}{servers}"))
}

fn modern_headers(method: &str) -> [(&str, &str); 2] {
    [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method)]
}

#[test]
fn without_a_setting_there_is_no_port() {
    let daemon = Daemon::start(&own_server("t", &[]));
    assert_eq!(daemon.status()["http"], Value::Null);
    assert!(!daemon.folder().join("state/http-token").exists());
    for wrong in ["0.0.0.0:7337", "192.168.0.1:1", "[::]:1", "localhost:1", "7337"] {
        std::fs::write(daemon.folder().join("wrong.toml"), format!("[http]\nlisten = {wrong:?}\n")).expect("written");
        let checked = daemon.run(&["check", &daemon.folder().join("wrong.toml").display().to_string()]);
        let said = String::from_utf8_lossy(&checked.stderr).into_owned() + &String::from_utf8_lossy(&checked.stdout);
        assert!(!checked.status.success() && said.contains("wrong.toml:2:"), "{wrong}: {said}");
    }
}

#[test]
fn only_who_has_the_token_comes_in_and_no_page_from_elsewhere() {
    let daemon = daemon(&own_server("t", &[]));
    let endpoint = daemon.endpoint(Some("t"));
    let file = daemon.folder().join("state/http-token");
    assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    let bearer = format!("Bearer {}", endpoint.token);
    for path in ["/mcp", "/mcp/t", "/healthz", "/metrics", "/"] {
        let place = format!("http://{}{path}", endpoint.authority);
        for wrong in [vec![], vec![("Authorization", "Bearer x")], vec![("Authorization", &bearer[..bearer.len() - 1])]]
        {
            let answer = request("GET", &place, &wrong, "");
            assert_eq!(answer.status, 401, "{path}: {answer:?}");
            assert!(answer.header("www-authenticate").is_some_and(|how| how.starts_with("Bearer")));
            assert!(answer.body.contains("http-token") && !answer.body.contains(&endpoint.token));
        }
    }
    let origin = |origin: &str| post(&endpoint, &[("Origin", origin)], &legacy("{}")).status;
    assert_eq!((origin("http://evil.example.com"), origin("null")), (403, 403));
    assert_eq!(origin("http://localhost:6274"), 200);
    let host = post(&endpoint, &[("Host", "evil.example.com")], &legacy("{}"));
    assert_eq!(host.status, 403, "two hosts are none: {host:?}");
    for (target, status) in [
        ("http://evil.example.com/mcp", "403"),
        ("http://localhost@evil.example.com/mcp", "403"),
        ("http://localhost/mcp", "200"),
    ] {
        let mut stream = TcpStream::connect(&endpoint.authority).expect("connects");
        let (token, body) = (&endpoint.token, legacy("{}"));
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{target}: {answer}");
    }
    // It outlives the daemon, unless others could read it.
    let daemon = Daemon::start_in(daemon.restart());
    assert_eq!(daemon.endpoint(None).token, endpoint.token);
    let folder = daemon.restart();
    let file = folder.path().join("state/http-token");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("changed");
    assert_ne!(Daemon::start_in(folder).endpoint(None).token, endpoint.token);
}

#[test]
fn what_is_wrong_has_its_status() {
    let daemon = Daemon::start(&format!("[daemon]\nmax_frame = \"64KiB\"\n{LISTEN}{}", own_server("t", &[])));
    let endpoint = daemon.endpoint(Some("t"));
    let unknown = Endpoint { path: "/mcp/tt".to_owned(), ..endpoint.clone() };
    let answer = post(&unknown, &[], &legacy("{}"));
    assert!(answer.status == 404 && error_of(&answer.body).contains("did you mean `t`?"), "{answer:?}");
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let large = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":"{}"}}}}"#, "x".repeat(70_000));
    let listen = modern("1", "subscriptions/listen", "");
    let listen_headers = modern_headers("subscriptions/listen");
    let old = modern("1", "tools/list", "").replace("2026-07-28", "2025-11-25");
    let old_headers = [("MCP-Protocol-Version", "2025-11-25"), ("Mcp-Method", "tools/list")];
    for (headers, body, status, words) in [
        (vec![], ping, 400, "no session is named"),
        (vec![("Mcp-Session-Id", "made-up")], ping, 404, "not known"),
        (vec![("Content-Type", "text/plain")], ping, 415, "application/json"),
        (vec![("Accept", "text/html")], ping, 406, "Accept"),
        ([&listen_headers[..], &[("Accept", "application/json")]].concat(), &listen, 406, "text/event-stream"),
        (listen_headers.to_vec(), &listen, 200, "`notifications`"),
        (vec![("MCP-Protocol-Version", "foo")], ping, 400, "revision foo"),
        (old_headers.to_vec(), &old, 400, "begins with `initialize`"),
        (vec![], "{", 400, "not valid JSON"),
        (vec![], "[]", 400, "batches"),
        (vec![], large.as_str(), 413, "max_frame"),
    ] {
        let answer = post(&endpoint, &headers, body);
        assert_eq!(answer.status, status, "{headers:?} {answer:?}");
        assert!(error_of(&answer.body).contains(words), "{answer:?}");
    }
    let bearer = format!("Bearer {}", endpoint.token);
    for method in ["GET", "DELETE", "PUT", "OPTIONS"] {
        let answer = request(method, &url(&endpoint), &[("Authorization", &bearer)], "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
    }
}

#[test]
fn all_servers_are_at_one_url() {
    let daemon = daemon(&format!("{}{}", own_server("l", &[]), own_server("m", &["--modern"])));
    let mut agent = Agent::http(daemon.endpoint(None));
    agent.greet("{}");
    for tool in ["l__echo", "m__echo"] {
        assert!(agent.call("2", tool, "{}").contains("content"));
        let called = agent.ask(&modern("3", "tools/call", &format!(r#""name":"{tool}","arguments":{{}}"#)));
        assert!(called.contains(r#""resultType":"complete""#) || called.contains("content"), "{called}");
    }
}

#[test]
fn a_late_answer_is_nobodys() {
    let daemon = daemon(&own_server("t", &[]));
    let endpoint = daemon.endpoint(Some("t"));
    let mut agent = Agent::http(endpoint);
    agent.greet("{}");
    agent.send_call("50", "hold", r#"{"key":"k"}"#);
    eventually("the call is in flight", || daemon.server("t")["instances"][0]["in_flight"] == 1);
    agent.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":50}}"#);
    agent.send_call("50", "hold", r#"{"key":"other"}"#);
    eventually("the next call is in flight", || daemon.server("t")["instances"][0]["in_flight"] == 1);
    assert!(agent.call("51", "release", r#"{"key":"k"}"#).contains("released"));
    agent.send_call("52", "release", r#"{"key":"other"}"#);
    let answers = agent.answers(2);
    assert_eq!((text_of(&answers["50"]).as_str(), text_of(&answers["52"]).as_str()), ("other", "released"));
}

#[test]
fn a_process_of_ones_own_needs_a_session() {
    let daemon = daemon(&format!("{}share = \"session\"\n", own_server("t", &[])));
    let endpoint = daemon.endpoint(Some("t"));
    let mut agent = Agent::http(endpoint.clone());
    agent.greet("{}");
    agent.call("2", "set", r#"{"to":"mine"}"#);
    assert_eq!(text_of(&agent.call("3", "get", "{}")), "mine");
    let body = modern("1", "tools/call", r#""name":"get","arguments":{}"#);
    let [version, method] = modern_headers("tools/call");
    let refused = post(&endpoint, &[version, method, ("Mcp-Name", "get")], &body);
    assert!(error_of(&refused.body).contains("share = \"session\""), "{refused:?}");
    drop(agent);
    eventually("its process has ended", || daemon.server("t")["instances"].as_array().is_some_and(Vec::is_empty));
}

#[test]
fn a_shutdown_answers_what_is_under_way_and_ends_every_stream() {
    let daemon = daemon(&format!("{}{}", own_server("l", &[]), own_server("m", &["--modern"])));
    let endpoint = daemon.endpoint(Some("l"));
    let session = begin(&endpoint);
    let named = [("Mcp-Session-Id", session.as_str())];
    let listening = events(&endpoint, "GET", &named, "");
    let slow = r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"sleep","arguments":{"ms":1000}}}"#;
    let called = events(&endpoint, "POST", &named, slow);
    let subscriptions = ["l", "m"].map(|server| {
        let body = modern("\"s\"", "subscriptions/listen", r#""notifications":{"toolsListChanged":true}"#);
        let mut lines = events(&daemon.endpoint(Some(server)), "POST", &modern_headers("subscriptions/listen"), &body);
        assert!(lines.any(|line| line.contains("subscriptions/acknowledged")), "{server}");
        lines
    });
    eventually("the call is in flight", || daemon.server("l")["instances"][0]["in_flight"] == 1);
    let began = std::time::Instant::now();
    drop(daemon.restart());
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(called.collect::<String>().contains("slept"));
    listening.for_each(drop);
    for mut lines in subscriptions {
        assert!(lines.any(|line| line.contains(r#""resultType":"complete""#)), "a graceful end");
    }
}

#[test]
fn an_address_that_was_changed_counts_from_the_next_start() {
    let daemon = daemon(&own_server("t", &[]));
    let says_so = || daemon.status()["problems"].as_array().is_some_and(|all| !all.is_empty());
    daemon.configure(&format!("[http]\nlisten = \"127.0.0.1:1\"\n{}", own_server("t", &[])));
    eventually("it is told", says_so);
    daemon.configure(&format!("{LISTEN}{}", own_server("t", &[])));
    eventually("nothing differs any more", || !says_so());
}

#[test]
fn a_taken_address_is_told_and_tried_again() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address");
    let daemon = Daemon::start(&format!("[http]\nlisten = \"{address}\"\n{}", own_server("t", &[])));
    eventually("it is told", || {
        daemon.status()["http"]["problem"].as_str().is_some_and(|problem| problem.contains("http.listen"))
    });
    assert!(daemon.agent("t").call("2", "echo", "{}").contains("content"), "the socket does not mind");
    drop(taken);
    eventually("it listens", || daemon.status()["http"]["url"] == format!("http://{address}/mcp"));
}

#[test]
fn prometheus_reads_what_is_counted() {
    let daemon = daemon(&own_server("t", &[]));
    let endpoint = daemon.endpoint(None);
    let mut agent = daemon.agent("t");
    agent.call("2", "echo", "{}");
    let bearer = format!("Bearer {}", endpoint.token);
    let get =
        |path: &str| request("GET", &format!("http://{}{path}", endpoint.authority), &[("Authorization", &bearer)], "");
    assert_eq!(get("/healthz").body, "ok\n");
    let metrics = get("/metrics").body;
    for line in [
        r#"trunkline_server_state{server="t",state="ready"} 1"#,
        r#"trunkline_server_instances{server="t"} 1"#,
        r#"trunkline_server_starts_total{server="t"} 1"#,
        r#"trunkline_sessions{face="socket",era="legacy"} 1"#,
        r#"trunkline_http_requests_total{method="GET",status="200"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[test]
fn a_head_that_never_ends_costs_a_connection_only() {
    let daemon = daemon(&own_server("t", &[]));
    let endpoint = daemon.endpoint(Some("t"));
    let mut slow: Vec<_> = (0..100).map(|_| TcpStream::connect(&endpoint.authority).expect("connected")).collect();
    slow.iter_mut().for_each(|stream| stream.write_all(b"POST /mcp/t HTTP/1.1\r\nHost: ").expect("sent"));
    let mut agent = Agent::http(endpoint);
    agent.greet("{}");
    assert!(agent.call("2", "echo", "{}").contains("content"));
    let answered = json!(daemon.status()["sessions"]);
    assert_eq!(answered.as_array().map(Vec::len), Some(1));
}

#[test]
fn an_accept_of_one_type_is_served_with_that() {
    let daemon = Daemon::start(&format!("{LISTEN}{}", own_server("t", &[])));
    let endpoint = daemon.endpoint(Some("t"));
    for (accept, kind) in [
        ("text/event-stream", "text/event-stream"),
        ("application/json", "application/json"),
        ("application/*", "application/json"),
        ("application/json, text/event-stream", "application/json"),
    ] {
        let answer = post(&endpoint, &[("Accept", accept)], &legacy("{}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{accept}");
        let session = answer.header("mcp-session-id").expect("a session").to_owned();
        let headers = [("Accept", accept), ("Mcp-Session-Id", session.as_str())];
        let call = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{"x":1}}}"#;
        let answer = post(&endpoint, &headers, call);
        assert!(answer.status == 200 && answer.body.contains("content"), "{accept}: {answer:?}");
        let list = post(
            &endpoint,
            &[&[("Accept", accept)][..], &modern_headers("tools/list")].concat(),
            &modern("3", "tools/list", ""),
        );
        assert_eq!((list.status, list.header("content-type")), (200, Some(kind)), "{accept}: {list:?}");
    }
    // What the server asks of an agent that takes no stream is refused, so that its call ends.
    let answer = post(&endpoint, &[("Accept", "application/json")], &legacy(r#"{"sampling":{}}"#));
    let session = answer.header("mcp-session-id").expect("a session").to_owned();
    let headers = [("Accept", "application/json"), ("Mcp-Session-Id", session.as_str())];
    let ask = r#"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"ask","arguments":{"id":1,"method":"sampling/createMessage","params":{}}}}"#;
    let answer = post(&endpoint, &headers, ask);
    assert!(answer.body.contains("cannot be asked"), "{answer:?}");
}

#[test]
fn pages_of_named_origins_come_in_with_the_token() {
    let text = format!("[http]\nlisten = \"127.0.0.1:0\"\norigins = [\"app://my-agent\"]\n{}", own_server("t", &[]));
    let daemon = Daemon::start(&text);
    let endpoint = daemon.endpoint(Some("t"));
    let answer = post(&endpoint, &[("Origin", "app://my-agent")], &legacy("{}"));
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some("app://my-agent")));
    assert!(answer.header("access-control-expose-headers").is_some_and(|names| names.contains("mcp-session-id")));
    let preflight = [
        ("Origin", "app://my-agent"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization"),
    ];
    let answer = request("OPTIONS", &url(&endpoint), &preflight, "");
    assert!(
        answer.status < 300 && answer.header("access-control-allow-headers") == Some("authorization"),
        "{answer:?}"
    );
    for origin in ["app://other", "null", "http://evil.example.com"] {
        let answer = post(&endpoint, &[("Origin", origin)], &legacy("{}"));
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, None), "{origin}");
        assert!(error_of(&answer.body).contains("[http] origins"), "{answer:?}");
    }
    let without = request(
        "POST",
        &url(&endpoint),
        &[("Origin", "app://my-agent"), ("Content-Type", "application/json")],
        &legacy("{}"),
    );
    assert_eq!(without.status, 401);
    let daemon = Daemon::start(&text.replace("app://my-agent", "null"));
    assert!(daemon.status()["problems"].to_string().contains("http.origins: `null` is no origin"));
}
