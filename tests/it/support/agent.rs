//! An agent: raw lines in, raw lines out, over a socket or a child's standard streams.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use parking_lot::{Condvar, Mutex};
use serde_json::Value;

use super::PATIENCE;
use super::http_agent::{Endpoint, HttpWriter};

pub(crate) struct Agent {
    child: Option<Child>,
    socket: Option<UnixStream>,
    write: Option<Box<dyn Write + Send>>,
    lines: Receiver<String>,
    paused: Arc<Paused>,
}

/// Whether the agent's reader must wait.
#[derive(Default)]
struct Paused {
    now: Mutex<bool>,
    changed: Condvar,
}

impl Agent {
    pub(crate) fn socket(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("connected");
        let (read, write) = (stream.try_clone().expect("cloned"), stream.try_clone().expect("cloned"));
        Self::over(None, Some(stream), Box::new(write), read)
    }

    /// A child process whose standard streams are the connection.
    pub(crate) fn process(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
        let read = child.stdout.take().expect("piped");
        let write = child.stdin.take().expect("piped");
        Self::over(Some(child), None, Box::new(write), read)
    }

    /// Over HTTP.
    pub(crate) fn http(endpoint: Endpoint) -> Self {
        let (sender, lines) = channel();
        let write: Box<dyn Write + Send> = Box::new(HttpWriter::new(endpoint, sender));
        Self { child: None, socket: None, write: Some(write), lines, paused: Arc::default() }
    }

    fn over(
        child: Option<Child>,
        socket: Option<UnixStream>,
        write: Box<dyn Write + Send>,
        read: impl Read + Send + 'static,
    ) -> Self {
        let paused = Arc::new(Paused::default());
        Self { child, socket, write: Some(write), lines: lines(read, paused.clone()), paused }
    }

    /// Stops reading, as an agent that is busy does.
    pub(crate) fn pause(&mut self) {
        *self.paused.now.lock() = true;
    }

    pub(crate) fn resume(&mut self) {
        *self.paused.now.lock() = false;
        self.paused.changed.notify_all();
    }

    pub(crate) fn send(&mut self, frame: &str) {
        self.send_bytes(format!("{frame}\n").as_bytes());
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("sent");
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.write.as_mut().expect("open").write_all(bytes)
    }

    /// The next line, whatever it is.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line in time")
    }

    /// The next line, if it comes within this time.
    pub(crate) fn line_within(&self, time: std::time::Duration) -> Option<String> {
        self.lines.recv_timeout(time).ok()
    }

    /// Goes away, as an agent does that is killed.
    pub(crate) fn leave(&mut self) {
        self.write = None;
        if let Some(socket) = &self.socket {
            drop(socket.shutdown(std::net::Shutdown::Both));
        }
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// The next line, or `None` at the end.
    pub(crate) fn next(&self) -> Option<String> {
        self.lines.recv_timeout(PATIENCE).ok()
    }

    /// Sends a request and returns the line that answers it, passing over what comes before.
    pub(crate) fn ask(&mut self, frame: &str) -> String {
        self.send(frame);
        self.answer(&id_of(frame).expect("a request has an id"))
    }

    /// The line that answers `id`, raw.
    pub(crate) fn answer(&self, id: &str) -> String {
        self.until(|line| id_of(line).as_deref() == Some(id) && member(line, "method").is_none())
    }

    /// The lines of so many answers, in whatever order they come, by their raw ids.
    pub(crate) fn answers(&self, count: usize) -> std::collections::BTreeMap<String, String> {
        let mut all = std::collections::BTreeMap::new();
        while all.len() < count {
            let line = self.until(|line| member(line, "method").is_none());
            all.insert(id_of(&line).unwrap_or_default(), line);
        }
        all
    }

    pub(crate) fn until(&self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            let line = self.line();
            if wanted(&line) {
                return line;
            }
        }
    }

    pub(crate) fn call(&mut self, id: &str, tool: &str, arguments: &str) -> String {
        self.ask(&call(id, tool, arguments))
    }

    pub(crate) fn send_call(&mut self, id: &str, tool: &str, arguments: &str) {
        self.send(&call(id, tool, arguments));
    }

    /// The legacy handshake, with these capabilities.
    pub(crate) fn greet(&mut self, capabilities: &str) -> String {
        let answer = self.ask(&legacy(capabilities));
        assert!(answer.contains("protocolVersion"), "{answer}");
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        answer
    }

    /// The process id of the shared server behind a one-server view.
    pub(crate) fn server_pid(&mut self) -> u64 {
        let state: Value = serde_json::from_str(&text_of(&self.call("\"pid\"", "state", "{}"))).expect("JSON");
        state["pid"].as_u64().expect("a pid")
    }

    pub(crate) fn child_id(&self) -> u32 {
        self.child.as_ref().expect("a process").id()
    }

    /// Closes the agent's side and leaves the other open.
    pub(crate) fn close_input(&mut self) {
        self.write = None;
        if let Some(socket) = &self.socket {
            socket.shutdown(std::net::Shutdown::Write).expect("shut down");
        }
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.as_mut().expect("a process").wait().expect("waited")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            drop(socket.shutdown(std::net::Shutdown::Both));
        }
        if let Some(child) = &mut self.child {
            self.write = None;
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn lines(read: impl Read + Send + 'static, paused: Arc<Paused>) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(read);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            paused.changed.wait_while(&mut paused.now.lock(), |now| *now);
            if sender.send(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

fn call(id: &str, tool: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},"_meta":{{"progressToken":1}}}}}}"#
    )
}

/// An `initialize` with these capabilities, under the id 1.
pub(crate) fn legacy(capabilities: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"protocolVersion":"2025-06-18","capabilities":{capabilities},"clientInfo":{{"name":"agent","version":"1"}}}}}}"#
    )
}

/// A request of the modern era; `members` stand in its `params` before `_meta`.
pub(crate) fn modern(id: &str, method: &str, members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{members}{comma}"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{{"name":"agent","version":"1"}},"io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    )
}

fn member(line: &str, name: &str) -> Option<String> {
    let members: std::collections::HashMap<String, &serde_json::value::RawValue> = serde_json::from_str(line).ok()?;
    members.get(name).map(|raw| raw.get().to_owned())
}

/// The raw id of a frame.
pub(crate) fn id_of(line: &str) -> Option<String> {
    member(line, "id")
}

pub(crate) fn params_of(line: &str) -> Value {
    serde_json::from_str(&member(line, "params").unwrap_or_default()).unwrap_or_default()
}

/// The text of a tool's result.
pub(crate) fn text_of(line: &str) -> String {
    let message: Value = serde_json::from_str(line).expect("JSON");
    message["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {line}")).to_owned()
}

/// The message of an error.
pub(crate) fn error_of(line: &str) -> String {
    let message: Value = serde_json::from_str(line).expect("JSON");
    message["error"]["message"].as_str().unwrap_or_else(|| panic!("no error in {line}")).to_owned()
}

/// A frame with `$ID` for its id, for comparing.
pub(crate) fn strip_id(line: &str) -> String {
    match id_of(line) {
        Some(id) => line.replacen(&format!("\"id\":{id}"), "\"id\":$ID", 1),
        None => line.to_owned(),
    }
}
