//! Every pair of eras, on every wire and face, at everything that an agent and a server do with each other.
//!
//! `cargo test --test it -- matrix --nocapture` prints the table.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Daemon, Era, Face, PATIENCE, Served, Speaker, WAIT, example, id_of};

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
    let mut asked = agent.agent.line_within(WAIT).ok_or("nothing is asked")?;
    if let Some(id) = id_of(&asked).filter(|_| asked.contains("roots/list")) {
        // Where the agent works is asked by the daemon, when it attaches.
        agent.agent.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"roots":[]}}}}"#));
        asked = agent.agent.line_within(WAIT).ok_or("nothing is asked")?;
    }
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
    assert_eq!(table.matches(" works |").count() + failed.len(), 312, "cells");
    assert!(failed.is_empty(), "{} cells:\n{}", failed.len(), failed.join("\n"));
}
