//! An agent over HTTP with the face of one on a stream: each line that it writes is posted, and each message of a response
//! is a line that it reads.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use base64::Engine;
use parking_lot::Mutex;
use serde_json::Value;

/// Where an agent attaches, and how it gets in.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// Host and port.
    pub authority: String,
    pub path: String,
    pub token: String,
}

/// The writing half; dropped, the agent has left.
pub(super) struct HttpWriter {
    endpoint: Endpoint,
    lines: Sender<String>,
    line: Vec<u8>,
    session: Option<String>,
    open: Open,
}

/// Connections under way, by the raw ids of their requests.
type Open = Arc<Mutex<HashMap<String, TcpStream>>>;

struct Response {
    headers: HashMap<String, String>,
    body: Box<dyn BufRead + Send>,
}

impl HttpWriter {
    pub(super) fn new(endpoint: Endpoint, lines: Sender<String>) -> Self {
        Self { endpoint, lines, line: Vec::new(), session: None, open: Open::default() }
    }

    fn take(&mut self, frame: String) -> io::Result<()> {
        let message: Value = serde_json::from_str(&frame).unwrap_or_default();
        let method = message["method"].as_str().unwrap_or_default();
        let modern = message["params"]["_meta"].get("io.modelcontextprotocol/protocolVersion").is_some();
        if method == "notifications/cancelled" && self.session.is_none() {
            // The modern era closes the stream.
            if let Some(stream) = self.open.lock().remove(&message["params"]["requestId"].to_string()) {
                drop(stream.shutdown(Shutdown::Both));
            }
            return Ok(());
        }
        let mut headers = vec![("Content-Type", "application/json".to_owned())];
        headers.push(("Accept", "application/json, text/event-stream".to_owned()));
        if modern {
            let version = &message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"];
            headers.push(("MCP-Protocol-Version", version.as_str().unwrap_or_default().to_owned()));
            headers.push(("Mcp-Method", method.to_owned()));
            let named = ["name", "uri", "taskId"].iter().find_map(|member| message["params"][member].as_str());
            if let Some(name) = named {
                headers.push(("Mcp-Name", format!("=?base64?{}?=", base64::prelude::BASE64_STANDARD.encode(name))));
            }
        }
        headers.extend(self.session.clone().map(|session| ("Mcp-Session-Id", session)));
        let stream = self.endpoint.send("POST", &headers, &frame)?;
        let Some(id) = super::id_of(&frame).filter(|_| !method.is_empty()) else {
            drop(respond(stream)?);
            if method == "notifications/initialized" {
                self.listen()?;
            }
            return Ok(());
        };
        if method == "initialize" {
            let mut response = respond(stream)?;
            self.session = response.headers.remove("mcp-session-id");
            pass_on(response, &self.lines);
            return Ok(());
        }
        self.open.lock().insert(id.clone(), stream.try_clone()?);
        let (lines, open) = (self.lines.clone(), self.open.clone());
        std::thread::spawn(move || {
            // That a stream was cut is the test's doing.
            if let Ok(response) = respond(stream) {
                pass_on(response, &lines);
            }
            open.lock().remove(&id);
        });
        Ok(())
    }

    /// Opens the stream of what belongs to no request.
    fn listen(&self) -> io::Result<()> {
        let mut headers = vec![("Accept", "text/event-stream".to_owned())];
        headers.extend(self.session.clone().map(|session| ("Mcp-Session-Id", session)));
        let stream = self.endpoint.send("GET", &headers, "")?;
        self.open.lock().insert("GET".to_owned(), stream.try_clone()?);
        // Who listens hears everything from then on.
        let response = respond(stream)?;
        let lines = self.lines.clone();
        std::thread::spawn(move || pass_on(response, &lines));
        Ok(())
    }
}

impl Write for HttpWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    self.take(String::from_utf8_lossy(&line).into_owned())?;
                }
                byte => self.line.push(*byte),
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for HttpWriter {
    fn drop(&mut self) {
        for (_, stream) in self.open.lock().drain() {
            drop(stream.shutdown(Shutdown::Both));
        }
        if let Some(session) = self.session.take()
            && let Ok(stream) = self.endpoint.send("DELETE", &[("Mcp-Session-Id", session)], "")
        {
            drop(respond(stream));
        }
    }
}

impl Endpoint {
    /// Sends a request; what comes back is for [`respond`].
    fn send(&self, method: &str, headers: &[(&str, String)], body: &str) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.authority)?;
        let Self { authority, path, token } = self;
        let length = body.len();
        let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n"
        );
        stream.write_all(format!("{head}{body}").as_bytes())?;
        Ok(stream)
    }
}

fn respond(stream: TcpStream) -> io::Result<Response> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut headers = HashMap::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let chunked = headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
    let body: Box<dyn BufRead + Send> =
        if chunked { Box::new(BufReader::new(Chunks { reader, left: 0 })) } else { Box::new(reader) };
    Ok(Response { headers, body })
}

/// Every message of a response, as it comes.
fn pass_on(response: Response, lines: &Sender<String>) {
    let events = response.headers.get("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
    for line in response.body.lines().map_while(Result::ok) {
        let message = if events { line.strip_prefix("data: ").unwrap_or_default() } else { &line };
        if !message.is_empty() && lines.send(message.to_owned()).is_err() {
            return;
        }
    }
}

/// The content of a body in chunks.
struct Chunks<R> {
    reader: R,
    left: usize,
}

impl<R: BufRead> Read for Chunks<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            let mut line = String::new();
            while line.trim().is_empty() {
                line.clear();
                if self.reader.read_line(&mut line)? == 0 {
                    return Ok(0);
                }
            }
            self.left = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            if self.left == 0 {
                return Ok(0);
            }
        }
        let most = into.len().min(self.left);
        let read = self.reader.read(&mut into[..most])?;
        self.left -= read;
        Ok(read)
    }
}
