//! Every pair of eras, on every wire and face, at everything that an agent and a server do with each other.
//!
//! `cargo test --test it -- matrix --nocapture` prints the table, which ERAS.md shows.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Agent, Daemon, PATIENCE, Served, example, id_of};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Era {
    Legacy,
    Modern,
}

#[derive(Clone, Copy, Debug)]
enum Face {
    Socket,
    Shim,
    Http,
}

const ERAS: [Era; 2] = [Era::Legacy, Era::Modern];
const FACES: [Face; 3] = [Face::Socket, Face::Shim, Face::Http];
const SERVERS: [(&str, Era); 4] =
    [("l_stdio", Era::Legacy), ("l_http", Era::Legacy), ("m_stdio", Era::Modern), ("m_http", Era::Modern)];
type Feature = fn(&Daemon, &mut Speaker) -> Result<(), String>;
const FEATURES: [(&str, Feature); 13] = [
    ("call", |_, agent| agent.says("test_simple_text", "This is a simple text")),
    ("progress", progress),
    ("log", log),
    ("list_changed", list_changed),
    ("subscribe", subscribe),
    ("elicitation form", |_, agent| agent.says("test_elicitation", "action=accept")),
    ("elicitation URL", |_, agent| agent.says("open_page", "The page: accept")),
    ("sampling", |_, agent| agent.says("test_sampling", "LLM response: model says")),
    ("roots", |_, agent| agent.says("test_input_required_result_list_roots", "file:///work")),
    ("two rounds", |_, agent| agent.says("test_input_required_result_multi_round", "ada likes green")),
    ("decline", |_, agent| {
        agent.declines = true;
        agent.says("test_elicitation", "action=decline")
    }),
    ("agent leaves", leaves),
    ("cancel", cancel),
];
/// What leaves a call behind that the server never answers, which makes it uncertain whose its next message is.
const AFTERMATH: [&str; 2] = ["agent leaves", "cancel"];
/// How long a cell waits for anything before it counts as failed.
const WAIT: Duration = Duration::from_secs(20);
/// How long to wait before a change is made once more, for those who were not heard in time.
const AGAIN: Duration = Duration::from_millis(300);

/// An agent that can be asked everything.
struct Speaker {
    agent: Agent,
    era: Era,
    server: String,
    last: u64,
    declines: bool,
    notices: Vec<Value>,
}

impl Speaker {
    fn attach(daemon: &Daemon, era: Era, face: Face, server: &str) -> Self {
        let agent = match face {
            Face::Socket => daemon.attach(server),
            Face::Shim => daemon.shim(&[server]),
            Face::Http => Agent::http(daemon.endpoint(Some(server))),
        };
        let mut speaker = Self { agent, era, server: server.to_owned(), last: 0, declines: false, notices: Vec::new() };
        if era == Era::Legacy {
            let params = json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities(), "clientInfo": { "name": "matrix", "version": "1" } });
            let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
            speaker.agent.ask(&initialize.to_string());
            speaker.agent.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        }
        speaker
    }

    fn send(&mut self, method: &str, mut params: Value) -> u64 {
        self.last += 1;
        let mut meta = json!({ "progressToken": format!("t{}", self.last) });
        if self.era == Era::Modern {
            meta["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
            meta["io.modelcontextprotocol/clientInfo"] = json!({ "name": "matrix", "version": "1" });
            meta["io.modelcontextprotocol/clientCapabilities"] = capabilities();
            meta["io.modelcontextprotocol/logLevel"] = "info".into();
        }
        params["_meta"] = meta;
        let request = json!({ "jsonrpc": "2.0", "id": self.last, "method": method, "params": params });
        self.agent.send(&request.to_string());
        self.last
    }

    /// The next message that is no notice, nor a question: those are kept, or answered.
    fn next(&mut self) -> Result<Value, String> {
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

    fn ask(&mut self, method: &str, params: Value) -> Result<Value, String> {
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

    fn answer(&self, method: &str, params: &Value) -> Value {
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

    fn call(&mut self, tool: &str) -> Result<String, String> {
        let result = self.ask("tools/call", json!({ "name": tool, "arguments": { "prompt": "p", "message": "m" } }))?;
        Ok(result["content"][0]["text"].as_str().unwrap_or_default().to_owned())
    }

    fn says(&mut self, tool: &str, words: &str) -> Result<(), String> {
        let said = self.call(tool)?;
        if said.contains(words) { Ok(()) } else { Err(format!("{tool} says {said:?}")) }
    }

    fn heard(&self, method: &str) -> usize {
        self.notices.iter().filter(|notice| notice["method"] == method).count()
    }

    /// Lets the server change something until the agent hears of it.
    fn hears_of(&mut self, method: &str, change: &str) -> Result<(), String> {
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
    fn listens(&mut self, filter: Value) -> Result<(), String> {
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

fn capabilities() -> Value {
    json!({ "roots": {}, "sampling": {}, "elicitation": { "form": {}, "url": {} } })
}

fn progress(_: &Daemon, agent: &mut Speaker) -> Result<(), String> {
    agent.says("test_tool_with_progress", "reported")?;
    let own = json!(format!("t{}", agent.last));
    let told = agent.notices.iter().filter(|notice| notice["params"]["progressToken"] == own).count();
    if told == 3 { Ok(()) } else { Err(format!("{told} of 3 under the agent's own token: {:?}", agent.notices)) }
}

fn in_flight(daemon: &Daemon, server: &str) -> u64 {
    let instances = daemon.server(server)["instances"].as_array().cloned().unwrap_or_default();
    instances.iter().filter_map(|instance| instance["in_flight"].as_u64()).sum()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) -> Result<(), String> {
    let end = Instant::now() + WAIT;
    while !holds() {
        if Instant::now() > end {
            return Err(format!("never: {what}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn cancel(daemon: &Daemon, agent: &mut Speaker) -> Result<(), String> {
    let before = agent.call("cancelled")?;
    let quiet = in_flight(daemon, &agent.server);
    let id = agent.send("tools/call", json!({ "name": "wait", "arguments": {} }));
    let server = agent.server.clone();
    until("the call is in flight", || in_flight(daemon, &server) == quiet + 1)?;
    let params = json!({ "requestId": id, "reason": "enough" });
    agent.agent.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }).to_string());
    let end = Instant::now() + WAIT;
    while agent.call("cancelled")? == before {
        if Instant::now() > end {
            return Err("the server does not hear of it".to_owned());
        }
    }
    Ok(())
}

fn log(_: &Daemon, agent: &mut Speaker) -> Result<(), String> {
    if agent.era == Era::Legacy {
        agent.ask("logging/setLevel", json!({ "level": "info" }))?;
    }
    agent.says("test_tool_with_logging", "logged")?;
    // On another stream, they may come behind the answer.
    until("every message came", || {
        if agent.heard("notifications/message") < 3
            && let Some(line) = agent.agent.line_within(Duration::from_millis(50))
        {
            agent.notices.push(serde_json::from_str(&line).unwrap_or_default());
        }
        agent.heard("notifications/message") == 3
    })
}

fn list_changed(_: &Daemon, agent: &mut Speaker) -> Result<(), String> {
    if agent.era == Era::Modern {
        agent.listens(json!({ "toolsListChanged": true }))?;
    }
    agent.hears_of("notifications/tools/list_changed", "test_trigger_tool_change")
}

fn subscribe(_: &Daemon, agent: &mut Speaker) -> Result<(), String> {
    let uri = "test://watched-resource";
    match agent.era {
        Era::Legacy => drop(agent.ask("resources/subscribe", json!({ "uri": uri }))?),
        Era::Modern => agent.listens(json!({ "resourceSubscriptions": [uri] }))?,
    }
    agent.hears_of("notifications/resources/updated", "change_watched_resource")
}

/// The agent is asked something, and goes away: the server's call ends.
fn leaves(daemon: &Daemon, agent: &mut Speaker) -> Result<(), String> {
    agent.send("tools/call", json!({ "name": "test_elicitation", "arguments": { "message": "m" } }));
    let asked = agent.agent.line_within(WAIT).ok_or("nothing is asked")?;
    if !asked.contains("elicitation/create") {
        return Err(format!("not asked: {asked}"));
    }
    agent.agent.leave();
    let server = agent.server.clone();
    until("the server's call is over", || in_flight(daemon, &server) == 0)
}

#[test]
fn everything_works_in_every_pair() {
    assert!(WAIT < PATIENCE);
    let program = example("conformance-server");
    let served =
        ["--only=legacy", "--only=modern"].map(|only| Served::start(Command::new(&program).args(["--http", only])));
    let stdio = |name: &str, only: &str| format!("[servers.{name}]\ncommand = {program:?}\nargs = [{only:?}]\n");
    let http = |name: &str, served: &Served| format!("[servers.{name}]\nurl = {:?}\n", served.url);
    let daemon = Daemon::start(&format!(
        "[daemon]\nquestion_timeout = \"3s\"\n[http]\nlisten = \"127.0.0.1:0\"\n{}{}{}{}",
        stdio("l_stdio", "--only=legacy"),
        stdio("m_stdio", "--only=modern"),
        http("l_http", &served[0]),
        http("m_http", &served[1])
    ));
    let mut table = String::from("| agent | face | what |");
    SERVERS.iter().for_each(|(server, _)| {
        write!(table, " {} |", server.replace("l_", "legacy, ").replace("m_", "modern, ")).expect("written")
    });
    table.push_str("\n|---|---|---|---|---|---|---|\n");
    let mut failed = Vec::new();
    for (name, feature) in FEATURES {
        for agent in ERAS {
            for face in FACES {
                let (agent_name, face_name) = (format!("{agent:?}").to_lowercase(), format!("{face:?}").to_lowercase());
                write!(table, "| {agent_name} | {face_name} | {name} |").expect("written");
                for (server, era) in SERVERS {
                    if AFTERMATH.contains(&name) {
                        let restarted = daemon.run(&["restart", server]);
                        assert!(restarted.status.success(), "{}", String::from_utf8_lossy(&restarted.stderr));
                    }
                    let outcome = feature(&daemon, &mut Speaker::attach(&daemon, agent, face, server));
                    let word = if outcome.is_ok() { "works" } else { "fails" };
                    write!(table, " {word} |").expect("written");
                    if let Err(reason) = outcome {
                        failed.push(format!("{agent:?} on {server} ({era:?}), {face:?}, {name}: {reason}"));
                    }
                }
                table.push('\n');
            }
        }
    }
    println!("{table}");
    assert!(failed.is_empty(), "{} cells:\n{}", failed.len(), failed.join("\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ERAS.md");
    let page = fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("TRUNKLINE_BLESS").is_some() {
        let start = page.find("| agent |").expect("a table");
        return fs::write(&path, format!("{}{table}", &page[..start])).expect("written");
    }
    assert!(page.ends_with(&table), "ERAS.md shows another table: run this with TRUNKLINE_BLESS=1");
}
