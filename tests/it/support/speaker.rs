//! An agent that speaks either era on any face, and answers whatever it is asked.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Agent, Daemon, id_of};

/// How long it waits for anything.
pub(crate) const WAIT: Duration = Duration::from_secs(20);
/// How long to wait before a change is made once more, for those who were not heard in time.
const AGAIN: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Face {
    Socket,
    Shim,
    Http,
}

/// An agent that can be asked everything.
pub(crate) struct Speaker {
    pub agent: Agent,
    pub era: Era,
    pub server: String,
    /// Who it says that it is, in the modern era.
    pub name: String,
    pub last: u64,
    pub declines: bool,
    /// How often it was asked something.
    pub asked: u64,
    /// What the server said unasked.
    pub notices: Vec<Value>,
    /// What it says that it can do, in the modern era.
    pub capabilities: Value,
}

impl Speaker {
    pub(crate) fn attach(daemon: &Daemon, era: Era, face: Face, server: &str) -> Self {
        let agent = match face {
            Face::Socket => daemon.attach(server),
            Face::Shim => daemon.shim(&[server]),
            Face::Http => Agent::http(daemon.endpoint(Some(server))),
        };
        let mut speaker = Self {
            agent,
            era,
            server: server.to_owned(),
            name: "speaker".to_owned(),
            last: 0,
            declines: false,
            asked: 0,
            notices: Vec::new(),
            capabilities: capabilities(),
        };
        if era == Era::Legacy {
            let params = json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities(), "clientInfo": { "name": "speaker", "version": "1" } });
            let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
            speaker.agent.ask(&initialize.to_string());
            speaker.agent.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        }
        speaker
    }

    pub(crate) fn send(&mut self, method: &str, mut params: Value) -> u64 {
        self.last += 1;
        let mut meta = json!({ "progressToken": format!("t{}", self.last) });
        if self.era == Era::Modern {
            meta["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
            meta["io.modelcontextprotocol/clientInfo"] = json!({ "name": self.name, "version": "1" });
            meta["io.modelcontextprotocol/clientCapabilities"] = self.capabilities.clone();
            meta["io.modelcontextprotocol/logLevel"] = "info".into();
        }
        params["_meta"] = meta;
        let request = json!({ "jsonrpc": "2.0", "id": self.last, "method": method, "params": params });
        self.agent.send(&request.to_string());
        self.last
    }

    /// The next message that is no notice, nor a question: those are kept, or answered.
    pub(crate) fn next(&mut self) -> Result<Value, String> {
        loop {
            let line = self.agent.line_within(WAIT).ok_or("nothing comes")?;
            let message: Value = serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"))?;
            match (message["method"].as_str(), id_of(&line)) {
                (Some(method), Some(id)) => {
                    let answer = self.answer(method, &message["params"]);
                    self.agent.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{answer}}}"#));
                }
                (Some(_), None) => self.notices.push(message),
                (None, _) => return Ok(message),
            }
        }
    }

    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Result<Value, String> {
        let mut id = self.send(method, params.clone());
        loop {
            let answer = self.next()?;
            if answer["id"] != id {
                continue;
            }
            if answer.get("error").is_some() {
                return Err(format!("refused: {}", answer["error"]));
            }
            let result = answer["result"].clone();
            if result["resultType"] != "input_required" {
                return Ok(result);
            }
            let asked = result["inputRequests"].as_object().cloned().unwrap_or_default();
            let answers = asked.into_iter().map(|(key, ask)| {
                let answer = self.answer(ask["method"].as_str().unwrap_or_default(), &ask["params"]);
                (key, answer)
            });
            let mut retry = params.clone();
            retry["inputResponses"] = Value::Object(answers.collect());
            if let Some(state) = result.get("requestState") {
                retry["requestState"] = state.clone();
            }
            id = self.send(method, retry);
        }
    }

    pub(crate) fn answer(&mut self, method: &str, params: &Value) -> Value {
        self.asked += 1;
        match (method, params["mode"].as_str()) {
            ("roots/list", _) => json!({ "roots": [{ "uri": "file:///work", "name": "work" }] }),
            ("sampling/createMessage", _) => {
                json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "model says" } })
            }
            (_, Some("url")) => json!({ "action": "accept" }),
            (_, _) if self.declines => json!({ "action": "decline" }),
            (_, _) => {
                json!({ "action": "accept", "content": { "username": "ada", "email": "a@b", "name": "ada", "color": "green" } })
            }
        }
    }

    pub(crate) fn call(&mut self, tool: &str) -> Result<String, String> {
        let result = self.ask("tools/call", json!({ "name": tool, "arguments": { "prompt": "p", "message": "m" } }))?;
        Ok(result["content"][0]["text"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn says(&mut self, tool: &str, words: &str) -> Result<(), String> {
        let said = self.call(tool)?;
        if said.contains(words) { Ok(()) } else { Err(format!("{tool} says {said:?}")) }
    }

    pub(crate) fn heard(&self, method: &str) -> usize {
        self.notices.iter().filter(|notice| notice["method"] == method).count()
    }

    /// Lets the server change something until the agent hears of it.
    pub(crate) fn hears_of(&mut self, method: &str, change: &str) -> Result<(), String> {
        let end = Instant::now() + WAIT;
        while Instant::now() < end {
            self.call(change)?;
            let again = Instant::now() + AGAIN;
            while self.heard(method) == 0 && Instant::now() < again {
                if let Some(line) = self.agent.line_within(again - Instant::now()) {
                    self.notices.push(serde_json::from_str(&line).unwrap_or_default());
                }
            }
            let Some(notice) = self.notices.iter().find(|notice| notice["method"] == method) else { continue };
            let tagged = notice["params"]["_meta"].get("io.modelcontextprotocol/subscriptionId").is_some();
            return if tagged == (self.era == Era::Modern) {
                Ok(())
            } else {
                Err(format!("in the wrong form: {notice}"))
            };
        }
        Err(format!("{method} is not heard"))
    }

    /// Opens a subscription of the modern era.
    pub(crate) fn listens(&mut self, filter: Value) -> Result<(), String> {
        let id = self.send("subscriptions/listen", json!({ "notifications": filter }));
        let line = self.agent.line_within(WAIT).ok_or("no acknowledgment")?;
        let first: Value = serde_json::from_str(&line).unwrap_or_default();
        let own = first["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == id;
        let kept = first["params"]["notifications"] == filter;
        if own && kept && first["method"] == "notifications/subscriptions/acknowledged" {
            Ok(())
        } else {
            Err(format!("not acknowledged first: {line}"))
        }
    }
}

pub(crate) fn capabilities() -> Value {
    json!({ "roots": {}, "sampling": {}, "elicitation": { "form": {}, "url": {} } })
}
