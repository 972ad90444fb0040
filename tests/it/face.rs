//! The endpoint over HTTP: who comes in, what it answers, and how its streams live and end.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::http::{Answer, request};
use crate::support::{Agent, Daemon, Endpoint, PATIENCE, error_of, eventually, legacy, modern, own_server, text_of};

const BOTH: &str = "application/json, text/event-stream";
const LISTEN: &str = "[http]\nlisten = \"127.0.0.1:0\"\n";

fn daemon(servers: &str) -> Daemon {
    Daemon::start(&format!("{LISTEN}{servers}"))
}

fn url(endpoint: &Endpoint) -> String {
    format!("http://{}{}", endpoint.authority, endpoint.path)
}

/// Posts a message, with the token and more headers.
fn post(endpoint: &Endpoint, more: &[(&str, &str)], body: &str) -> Answer {
    let bearer = format!("Bearer {}", endpoint.token);
    let mut headers = vec![("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("Accept", BOTH)];
    headers.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    headers.extend(more);
    request("POST", &url(endpoint), &headers, body)
}

fn modern_headers(method: &str) -> [(&str, &str); 2] {
    [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method)]
}

fn begin(endpoint: &Endpoint) -> String {
    let answer = post(endpoint, &[], &legacy("{}").replace("2025-06-18", "2025-11-25"));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("mcp-session-id").expect("a session").to_owned()
}

/// The lines of a stream of events, as they come.
fn events(
    endpoint: &Endpoint,
    method: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> impl Iterator<Item = String> + use<> {
    let mut stream = TcpStream::connect(&endpoint.authority).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let Endpoint { authority, path, token } = endpoint;
    let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nAccept: text/event-stream, application/json\r\nContent-Length: {length}\r\n{more}\r\n{body}").expect("sent");
    BufReader::new(stream).lines().map_while(Result::ok)
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
        (vec![("Accept", "application/json")], &legacy("{}"), 406, "text/event-stream"),
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
    let request = |id: u64, method: &str, params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
    };
    for uri in ["test://one", "test://two"] {
        post(&endpoint, &named, &request(2, "resources/subscribe", &format!(r#"{{"uri":"{uri}"}}"#)));
    }
    post(&endpoint, &named, &request(3, "resources/unsubscribe", r#"{"uri":"test://one"}"#));
    let opening = events(&endpoint, "GET", &named, "").find(|line| line.starts_with("id: ")).expect("an id");
    let listening = opening.trim_start_matches("id: ");
    let delete = |endpoint: &Endpoint, named: (&str, &str)| {
        let bearer = format!("Bearer {}", endpoint.token);
        crate::support::http::request("DELETE", &url(endpoint), &[("Authorization", &bearer), named], "").status
    };
    assert_eq!(delete(&endpoint, ended[0]), 204);
    for kills in [true, false] {
        eventually("it is written down", || {
            let kept = std::fs::read_to_string(daemon.folder().join("state/http-sessions")).unwrap_or_default();
            kept.contains("test://two") && !kept.contains("test://one") && !kept.contains(ended[0].1)
        });
        daemon = Daemon::start_in(if kills { daemon.kill() } else { daemon.restart() });
        let endpoint = daemon.endpoint(Some("t"));
        assert_eq!(post(&endpoint, &ended, &request(4, "tools/list", "{}")).status, 404);
        let elsewhere = Endpoint { path: "/mcp".to_owned(), ..endpoint.clone() };
        assert_eq!(post(&elsewhere, &named, &request(4, "tools/list", "{}")).status, 404, "of another URL");
        let calls: Vec<_> = (5..9)
            .map(|id| {
                let (endpoint, call) =
                    (endpoint.clone(), request(id, "tools/call", r#"{"name":"state","arguments":{}}"#));
                std::thread::spawn(move || post(&endpoint, &named, &call))
            })
            .collect();
        calls.into_iter().map(|call| call.join().expect("called")).for_each(|answer| assert_eq!(answer.status, 200));
        let seen = request(9, "tools/call", r#"{"name":"seen","arguments":{"what":"test://"}}"#);
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
