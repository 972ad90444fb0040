//! One of the demo's agents: attaches, calls, and checks that every answer is its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::method::Method;

const ADDITIONS: u32 = 200;
const STEPS: u64 = 5;

/// What an agent saw.
#[derive(Debug)]
pub(super) struct Seen {
    pub server_pid: u64,
    pub calls: u32,
    pub progress: u64,
    /// The median time of an addition.
    pub typical: Duration,
}

/// A connection to the daemon, whatever it runs over.
pub(super) struct Agent<W> {
    pub replies: BufReader<Box<dyn Read + Send>>,
    pub requests: W,
    /// Before the tools' names: empty with one server, `example__` with all.
    pub prefix: &'static str,
    /// Added to each sum, so that an answer that went astray is noticed.
    pub own: u32,
}

impl<W: Write> Agent<W> {
    /// Does a day's work. Every agent uses the same ids and the same progress token.
    pub(super) fn work(mut self) -> anyhow::Result<Seen> {
        let client = json!({ "name": format!("demo-agent-{}", self.own), "version": "1" });
        self.request(
            1,
            Method::Initialize,
            &json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client }),
        )?;
        self.send(&json!({ "jsonrpc": "2.0", "method": Method::Initialized.name() }))?;
        let listed = self.request(2, Method::ListTools, &json!({}))?;
        ensure!(
            listed["result"]["tools"].as_array().is_some_and(|tools| tools.len() == 3),
            "not the demo's tools: {listed}"
        );
        let (mut server_pid, mut times) = (0, Vec::new());
        for round in 0..ADDITIONS {
            let began = Instant::now();
            let answer = self.call(3 + round, "add", &json!({ "a": round, "b": self.own }), None)?;
            times.push(began.elapsed());
            let result = &answer["result"]["structuredContent"];
            ensure!(result["sum"].as_f64() == Some(f64::from(round + self.own)), "somebody else's answer: {answer}");
            server_pid = result["pid"].as_u64().context("no pid in the answer")?;
        }
        let progress = self.count_down(3 + ADDITIONS)?;
        let failed = self.call(4 + ADDITIONS, "fail", &json!({}), None)?;
        ensure!(failed["result"]["isError"] == true, "the tool that fails did not: {failed}");
        times.sort_unstable();
        Ok(Seen { server_pid, calls: ADDITIONS + 2, progress, typical: times[times.len() / 2] })
    }

    fn count_down(&mut self, id: u32) -> anyhow::Result<u64> {
        let mut seen = Vec::new();
        let answer = self.call(id, "countdown", &json!({ "from": STEPS }), Some(&mut seen))?;
        ensure!(answer["result"]["content"][0]["text"] == "lift-off", "no lift-off: {answer}");
        ensure!(seen == (1..=STEPS).collect::<Vec<_>>(), "progress out of order, or somebody else's: {seen:?}");
        Ok(STEPS)
    }

    fn call(
        &mut self,
        id: u32,
        tool: &str,
        arguments: &Value,
        progress: Option<&mut Vec<u64>>,
    ) -> anyhow::Result<Value> {
        let name = format!("{}{tool}", self.prefix);
        self.ask(
            id,
            Method::CallTool,
            &json!({ "name": name, "arguments": arguments, "_meta": { "progressToken": 1 } }),
            progress,
        )
    }

    fn request(&mut self, id: u32, method: Method, params: &Value) -> anyhow::Result<Value> {
        self.ask(id, method, params, None)
    }

    fn ask(
        &mut self,
        id: u32,
        method: Method,
        params: &Value,
        mut progress: Option<&mut Vec<u64>>,
    ) -> anyhow::Result<Value> {
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method.name(), "params": params }))?;
        loop {
            let mut line = String::new();
            if self.replies.read_line(&mut line)? == 0 {
                bail!("the daemon closed the connection");
            }
            let message: Value = serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))?;
            if message["id"] == id {
                ensure!(message.get("error").is_none(), "{method} failed: {message}");
                return Ok(message);
            }
            if let (Some(seen), Some(step)) = (&mut progress, message["params"]["progress"].as_u64()) {
                seen.push(step);
            }
        }
    }

    fn send(&mut self, message: &Value) -> anyhow::Result<()> {
        self.requests.write_all(format!("{message}\n").as_bytes())?;
        Ok(self.requests.flush()?)
    }
}
