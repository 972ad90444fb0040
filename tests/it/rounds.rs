//! Many agents of both eras, on all faces, asked the same under the same ids by one server: each hears and says only its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::{Agent, Daemon, Endpoint, own_server, text_of};

const AGENTS: usize = 20;
const CAPABILITIES: &str = r#"{"elicitation":{}}"#;

/// An agent that is asked something with its mark in it, and answers with the mark.
struct Marked {
    agent: Agent,
    modern: bool,
    server: &'static str,
}

impl Marked {
    fn new(number: usize, socket: &std::path::Path, endpoint: &Endpoint, server: &'static str) -> Self {
        let modern = number % 2 == 1;
        let mut agent = if number % 4 < 2 {
            let mut agent = Agent::socket(socket);
            agent.ask(&format!(
                r#"{{"jsonrpc":"2.0","id":0,"method":"daemon.attach","params":{{"server":"{server}"}}}}"#
            ));
            agent
        } else {
            Agent::http(endpoint.clone())
        };
        if !modern {
            let params = json!({ "protocolVersion": "2025-11-25", "capabilities": { "elicitation": {} }, "clientInfo": { "name": "a", "version": "1" } });
            agent.ask(&json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params }).to_string());
            agent.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        }
        Self { agent, modern, server }
    }

    fn call(&self, mark: &str, more: &str) -> String {
        let arguments = match self.server {
            "legacy" => json!({ "id": mark, "method": "elicitation/create", "params": { "message": mark } }),
            _ => json!({ "requests": { "q": { "method": "elicitation/create", "params": { "message": mark } } } }),
        };
        let meta = match self.modern {
            true => format!(
                r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{CAPABILITIES},"progressToken":1"#
            ),
            false => r#""progressToken":1"#.to_owned(),
        };
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{more}"name":"ask","arguments":{arguments},"_meta":{{{meta}}}}}}}"#
        )
    }

    /// One call, with its question; false if the server was not let through to ask.
    fn round(&mut self, mark: &str) -> bool {
        self.agent.send(&self.call(mark, ""));
        loop {
            let line = self.agent.line();
            let message: Value = serde_json::from_str(&line).expect("JSON");
            assert!(!line.contains("mark-") || line.contains(mark), "{mark} hears {line}");
            let answer = json!({ "action": "accept", "content": { "said": mark } });
            if message["method"] == "elicitation/create" {
                let id = &message["id"];
                self.agent.send(&json!({ "jsonrpc": "2.0", "id": id, "result": answer }).to_string());
            } else if message["result"]["resultType"] == "input_required" {
                let asked = message["result"]["inputRequests"].as_object().expect("questions");
                let answers: Value = asked.keys().map(|key| (key.clone(), answer.clone())).collect();
                let state = &message["result"]["requestState"];
                let more = format!(r#""inputResponses":{answers},"requestState":{state},"#);
                self.agent.send(&self.call(mark, &more));
            } else {
                let said = text_of(&line);
                if said.contains("cannot tell which") {
                    return false;
                }
                assert!(said.contains(mark) && said.contains("accept"), "{mark}: {line}");
                return true;
            }
        }
    }
}

fn rounds(server: &'static str, words: &[&str], all: usize) {
    let daemon = Daemon::start(&format!("[http]\nlisten = \"127.0.0.1:0\"\n{}", own_server(server, words)));
    let (socket, endpoint) = (daemon.socket(), daemon.endpoint(Some(server)));
    let refused = Arc::new(AtomicUsize::new(0));
    let agents: Vec<_> = (0..AGENTS)
        .map(|number| {
            let (socket, endpoint, refused) = (socket.clone(), endpoint.clone(), refused.clone());
            thread::spawn(move || {
                let mut agent = Marked::new(number, &socket, &endpoint, server);
                for round in 0..all / AGENTS {
                    let mark = format!("mark-{number}-{round}-");
                    while !agent.round(&mark) {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for agent in agents {
        agent.join().expect("no agent heard what was not its own");
    }
    // Only before it was known that the server asks: from then on each process carries one call at a time.
    assert!(refused.load(Ordering::Relaxed) <= 2 * AGENTS, "{refused:?} refused");
}

#[test]
fn ten_thousand_with_a_legacy_server() {
    rounds("legacy", &[], 10_000);
}

#[test]
fn ten_thousand_with_a_modern_server() {
    rounds("modern", &["--modern"], 10_000);
}
