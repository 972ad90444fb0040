//! The least HTTP client: one request, one answer, and the connection is closed; and what it says at the endpoint.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{Endpoint, PATIENCE, legacy};

const BOTH: &str = "application/json, text/event-stream";

#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    }
}

/// Sends a request to a URL on this machine.
pub(crate) fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let rest = url.strip_prefix("http://").expect("an http URL");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(PATIENCE.as_secs()))).expect("set");
    let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    write!(
        stream,
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n{body}"
    )
    .expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Answer { status, head: head.to_owned(), body: if chunked { unchunked(body) } else { body.to_owned() } }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

/// Where it is.
pub(crate) fn url(endpoint: &Endpoint) -> String {
    format!("http://{}{}", endpoint.authority, endpoint.path)
}

/// Posts a message, with the token and more headers.
pub(crate) fn post(endpoint: &Endpoint, more: &[(&str, &str)], body: &str) -> Answer {
    let bearer = format!("Bearer {}", endpoint.token);
    let mut headers = vec![("Authorization", bearer.as_str()), ("Content-Type", "application/json"), ("Accept", BOTH)];
    headers.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    headers.extend(more);
    request("POST", &url(endpoint), &headers, body)
}

/// Begins a session; returns its id.
pub(crate) fn begin(endpoint: &Endpoint) -> String {
    let answer = post(endpoint, &[], &legacy("{}").replace("2025-06-18", "2025-11-25"));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("mcp-session-id").expect("a session").to_owned()
}

/// The lines of a stream of events, as they come.
pub(crate) fn events(
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
