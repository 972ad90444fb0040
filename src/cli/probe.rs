//! An agent's entry, started as the agent would start it: a handshake, the tools, and one call that changes nothing.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::method::Method;
use crate::setup::words;

/// How long an answer may take: the first one starts the servers.
const WAIT: Duration = Duration::from_secs(60);

/// What came of it.
pub(super) struct Probe {
    pub tools: usize,
    /// The tool that was called, if one was there that reads only and needs no arguments.
    pub called: Option<String>,
}

/// A process that does not outlive its owner.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // Fails only if it has ended, which is what is wanted.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts an entry; of servers whose names begin so, no tool is called.
pub(super) fn probe(entry: &Value, avoided: &[String]) -> anyhow::Result<Probe> {
    let words = words(entry);
    let (program, arguments) = words.split_first().context("the entry has no command")?;
    let mut child = Owned(
        Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?,
    );
    let mut to = child.0.stdin.take().context("it has no standard input")?;
    let from = child.0.stdout.take().context("it has no standard output")?;
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(from).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let mut ask = |id: u32, method: Method, params: Value| -> anyhow::Result<Value> {
        writeln!(to, "{}", json!({ "jsonrpc": "2.0", "id": id, "method": method.name(), "params": params }))?;
        loop {
            let line = lines.recv_timeout(WAIT).with_context(|| format!("no answer to {}", method.name()))?;
            let answer: Value = serde_json::from_str(&line).unwrap_or_default();
            if answer["id"] == id && answer.get("method").is_none() {
                if let Some(error) = answer.get("error") {
                    bail!("{}", error["message"].as_str().unwrap_or("it answers with an error"));
                }
                return Ok(answer["result"].clone());
            }
        }
    };
    let client = json!({ "name": "trunkline-init", "version": env!("CARGO_PKG_VERSION") });
    ask(1, Method::Initialize, json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client }))?;
    let listed = ask(2, Method::ListTools, json!({}))?;
    let tools = listed["tools"].as_array().cloned().unwrap_or_default();
    let harmless = |tool: &&Value| {
        let needs_none = tool["inputSchema"]["required"].as_array().is_none_or(Vec::is_empty);
        let is_avoided =
            avoided.iter().any(|start| tool["name"].as_str().is_some_and(|name| name.starts_with(start.as_str())));
        needs_none && tool["annotations"]["readOnlyHint"] == true && !is_avoided
    };
    let Some(name) = tools.iter().find(harmless).and_then(|tool| tool["name"].as_str()) else {
        return Ok(Probe { tools: tools.len(), called: None });
    };
    let called = ask(3, Method::CallTool, json!({ "name": name, "arguments": {} }));
    Ok(Probe { tools: tools.len(), called: called.is_ok().then(|| name.to_owned()) })
}
