//! An MCP server over HTTP that does what a test says, byte for byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The JSON-RPC method, or the HTTP one where there is none.
    pub(crate) fn rpc(&self) -> String {
        self.json()["method"].as_str().map_or_else(|| self.method.clone(), str::to_owned)
    }
}

/// The way back to whoever asked.
pub(crate) struct Reply(TcpStream);

impl Reply {
    pub(crate) fn raw(&mut self, bytes: &str) {
        // One that has hung up hears nothing.
        drop(self.0.write_all(bytes.as_bytes()));
    }

    pub(crate) fn answer(&mut self, status: u16, headers: &str, body: &str) {
        self.raw(&format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}",
            body.len()
        ));
    }

    pub(crate) fn json(&mut self, body: &str) {
        self.answer(200, "Content-Type: application/json\r\n", body);
    }

    /// Begins a stream of events, which ends when this is dropped.
    pub(crate) fn events(&mut self) {
        self.raw("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
    }

    /// Waits until the other side hangs up.
    pub(crate) fn wait_for_end(&mut self) {
        let mut rest = Vec::new();
        drop(self.0.read_to_end(&mut rest));
    }
}

pub(crate) struct Mock {
    pub url: String,
    seen: Arc<Mutex<Vec<Request>>>,
    over: Arc<AtomicBool>,
}

impl Mock {
    /// A server that answers each request, on a thread of its own, as `serve` says.
    pub(crate) fn start(serve: impl Fn(&Request, &mut Reply) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let url = format!("http://{}/mcp", listener.local_addr().expect("an address"));
        let (seen, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (serve, all, ends) = (Arc::new(serve), seen.clone(), over.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let (serve, all) = (serve.clone(), all.clone());
                std::thread::spawn(move || {
                    if let Some(request) = read(&stream) {
                        all.lock().push(request.clone());
                        serve(&request, &mut Reply(stream));
                    }
                });
            }
        });
        Self { url, seen, over }
    }

    pub(crate) fn entry(&self, more: &str) -> String {
        format!("[servers.h]\nurl = {:?}\n{more}\n", self.url)
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().clone()
    }

    /// What came of this JSON-RPC or HTTP method.
    pub(crate) fn of(&self, rpc: &str) -> Vec<Request> {
        self.seen().into_iter().filter(|request| request.rpc() == rpc).collect()
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the one who listens.
        drop(TcpStream::connect(self.url.trim_start_matches("http://").trim_end_matches("/mcp")));
    }
}

/// An answer with this result.
pub(crate) fn result(request: &Request, result: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": request.json()["id"], "result": result }).to_string()
}

/// The answer of a tool that says this.
pub(crate) fn text(request: &Request, text: &str) -> String {
    result(request, &json!({ "content": [{ "type": "text", "text": text }] }))
}

/// What a legacy server does besides its calls: greets under this session id, and has no stream of its own.
pub(crate) fn greet(request: &Request, reply: &mut Reply, session: &str) -> bool {
    match request.rpc().as_str() {
        "server/discover" => {
            reply.answer(400, "", r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no session"}}"#)
        }
        "initialize" => {
            let about = json!({ "protocolVersion": request.json()["params"]["protocolVersion"], "capabilities": { "tools": {}, "logging": {}, "resources": { "subscribe": true } }, "serverInfo": { "name": "h", "version": "1" } });
            let headers = format!("Content-Type: application/json\r\nMcp-Session-Id: {session}\r\n");
            reply.answer(200, &headers, &result(request, &about));
        }
        "notifications/initialized" | "notifications/cancelled" => reply.answer(202, "", ""),
        "logging/setLevel" | "resources/subscribe" => reply.json(&result(request, &json!({}))),
        "GET" | "DELETE" => reply.answer(405, "", ""),
        _ => return false,
    }
    true
}

/// What a modern server does besides its calls.
pub(crate) fn discovered(request: &Request, reply: &mut Reply) -> bool {
    if request.rpc() == "server/discover" {
        reply.json(&result(request, &json!({ "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} }, "ttlMs": 0, "cacheScope": "private" })));
    }
    request.rpc() == "server/discover"
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; length.and_then(|(_, length)| length.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() })
}
