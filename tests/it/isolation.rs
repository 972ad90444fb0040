//! Many agents on one child: nothing of one reaches another.

use std::thread;

use proptest::prelude::*;
use serde_json::Value;

use crate::support::{Agent, Daemon, id_of, own_server, params_of, text_of};

const AGENTS: u64 = 50;
const CALLS_EACH: u64 = 2_000;

#[test]
fn fifty_agents_with_the_same_ids_and_tokens() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let agents: Vec<_> = (0..AGENTS).map(|_| daemon.agent("t")).collect();
    let workers: Vec<_> =
        agents.into_iter().enumerate().map(|(own, agent)| thread::spawn(move || work(agent, own))).collect();
    let mut pids: Vec<_> = workers.into_iter().map(|worker| worker.join().expect("no panic")).collect();
    pids.dedup();
    assert_eq!(pids.len(), 1, "one child");
    assert_eq!(daemon.server("t")["instances"].as_array().map(Vec::len), Some(1));
}

/// Calls with the ids 1, 2, 3 … and the token 1, a few at a time; every answer and progress message must be its own.
fn work(mut agent: Agent, own: usize) -> u64 {
    let window = 8;
    for first in (1..=CALLS_EACH).step_by(window) {
        let last = CALLS_EACH.min(first + window as u64 - 1);
        for id in first..=last {
            agent.send_call(&id.to_string(), "progress", &format!(r#"{{"total":1,"mark":"{own}/{id}"}}"#));
        }
        for id in first..=last {
            let progress = params_of(&agent.line());
            assert_eq!(
                (progress["mark"].as_str(), &progress["progressToken"]),
                (Some(format!("{own}/{id}").as_str()), &Value::from(1))
            );
            let answer = agent.line();
            assert_eq!((id_of(&answer), text_of(&answer)), (Some(id.to_string()), format!("\"{own}/{id}\"")));
        }
    }
    agent.server_pid()
}

#[test]
fn two_hundred_progress_messages_come_in_order_before_the_result() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut agents: Vec<_> = (0..4).map(|_| daemon.agent("t")).collect();
    for agent in &mut agents {
        agent.send_call("9", "progress", r#"{"total":200}"#);
    }
    for agent in &agents {
        for step in 1..=200 {
            assert_eq!(params_of(&agent.line())["progress"], step);
        }
        assert_eq!(id_of(&agent.line()).as_deref(), Some("9"));
    }
}

/// One step of a random interleaving, by agent.
#[derive(Debug, Clone)]
enum Step {
    Call(usize),
    Hold(usize),
    Cancel(usize),
    Leave(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..4usize;
    prop_oneof![
        6 => who.clone().prop_map(Step::Call),
        3 => who.clone().prop_map(Step::Hold),
        2 => who.clone().prop_map(Step::Cancel),
        1 => who.prop_map(Step::Leave),
    ]
}

#[test]
fn random_interleavings_never_cross() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let result = runner.run(&prop::collection::vec(step(), 1..60), |steps| {
        interleave(&daemon, &steps);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

struct Actor {
    agent: Agent,
    next: u64,
    held: Vec<u64>,
}

fn interleave(daemon: &Daemon, steps: &[Step]) {
    let actor = || Actor { agent: daemon.agent("t"), next: 1, held: Vec::new() };
    let mut actors: Vec<_> = (0..4).map(|_| actor()).collect();
    for step in steps {
        match step {
            Step::Call(who) => {
                let Actor { agent, next, .. } = &mut actors[*who];
                let mark = format!("{who}/{next}");
                let answer = agent.call(&next.to_string(), "progress", &format!(r#"{{"total":2,"mark":"{mark}"}}"#));
                assert_eq!(text_of(&answer), format!("\"{mark}\""));
                *next += 1;
            }
            Step::Hold(who) => {
                let Actor { agent, next, held } = &mut actors[*who];
                agent.send_call(&next.to_string(), "hold", &format!(r#"{{"key":"{who}"}}"#));
                held.push(*next);
                *next += 1;
            }
            Step::Cancel(who) => {
                let Actor { agent, held, .. } = &mut actors[*who];
                if let Some(id) = held.last() {
                    agent.send(&format!(
                        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#
                    ));
                }
            }
            Step::Leave(who) => actors[*who] = actor(),
        }
    }
    for (who, Actor { agent, next, held }) in actors.iter_mut().enumerate() {
        agent.send_call(&next.to_string(), "release", &format!(r#"{{"key":"{who}"}}"#));
        for id in held {
            assert_eq!(
                text_of(&agent.answer(&id.to_string())),
                who.to_string(),
                "a held call ends with its own answer"
            );
        }
        assert_eq!(text_of(&agent.answer(&next.to_string())), "released");
    }
}

#[test]
fn a_cancellation_names_the_servers_id_and_leaving_cancels_only_ones_own() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let (mut stays, mut leaves, mut watcher) = (daemon.agent("t"), daemon.agent("t"), daemon.agent("t"));
    stays.send_call("1", "hold", r#"{"key":"stays"}"#);
    leaves.send_call("1", "hold", r#"{"key":"leaves"}"#);
    let held = |watcher: &mut Agent, key: &str| -> Option<String> {
        let seen: Vec<String> =
            serde_json::from_str(&text_of(&watcher.call("7", "seen", r#"{"what":"\"hold\""}"#))).expect("JSON");
        seen.iter().find(|frame| frame.contains(key)).and_then(|frame| id_of(frame))
    };
    crate::support::eventually("both calls arrived", || {
        held(&mut watcher, "leaves").is_some() && held(&mut watcher, "stays").is_some()
    });
    let id = held(&mut watcher, "leaves").expect("held");
    drop(leaves);
    let mut cancelled = Vec::new();
    crate::support::eventually("the call of the agent that left is cancelled", || {
        cancelled = serde_json::from_str::<Vec<String>>(&text_of(&watcher.call(
            "8",
            "seen",
            r#"{"what":"notifications/cancelled"}"#,
        )))
        .expect("JSON");
        !cancelled.is_empty()
    });
    assert_eq!(cancelled.len(), 1);
    assert_eq!(params_of(&cancelled[0])["requestId"].to_string(), id);
    stays.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"reason":"r","requestId":"1"}}"#);
    watcher.call("9", "release", r#"{"key":"stays"}"#);
    assert_eq!(text_of(&stays.answer("1")), "stays", "an id of another type cancels nothing");
}

#[test]
fn a_cancellation_that_names_no_question_ends_nobodys_call() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let (mut waits, mut other) = (daemon.agent("t"), daemon.agent("t"));
    waits.send_call("1", "hold", r#"{"key":"k"}"#);
    let mut held = Vec::new();
    crate::support::eventually("the call arrived", || {
        let seen = text_of(&other.call("1", "seen", r#"{"what":"\"hold\""}"#));
        held = serde_json::from_str::<Vec<String>>(&seen).expect("JSON");
        !held.is_empty()
    });
    let id = id_of(&held[0]).expect("an id");
    let late = format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#);
    let frames = serde_json::json!({ "frames": [late, r#"{"jsonrpc":"2.0","id":$ID,"result":{}}"#] });
    other.call("2", "raw", &frames.to_string());
    other.call("3", "release", r#"{"key":"k"}"#);
    assert_eq!(text_of(&waits.answer("1")), "k");
}

#[test]
fn log_levels_and_messages_are_each_agents_own() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let (mut loud, mut quiet, mut other) = (daemon.agent("t"), daemon.agent("t"), daemon.agent("t"));
    for (agent, level) in [(&mut loud, "debug"), (&mut quiet, "error")] {
        let answer = agent
            .ask(&format!(r#"{{"jsonrpc":"2.0","id":3,"method":"logging/setLevel","params":{{"level":"{level}"}}}}"#));
        assert!(answer.contains("\"result\":{}"), "{answer}");
    }
    let levels: Vec<String> =
        serde_json::from_str(&text_of(&loud.call("4", "seen", r#"{"what":"logging/setLevel"}"#))).expect("JSON");
    assert!(
        levels.iter().all(|frame| params_of(frame)["level"] == "debug"),
        "the server logs at the finest level asked for: {levels:?}"
    );
    let log = |level: &str| {
        serde_json::json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": level, "data": level } }).to_string()
    };
    // In mid-call: the caller's. Behind the answer, with nothing in flight: everybody's, at their level.
    let frames = serde_json::json!({ "frames": [log("debug"), r#"{"jsonrpc":"2.0","id":$ID,"result":{}}"#, log("info"), log("error")] }).to_string();
    loud.send_call("5", "raw", &frames);
    let seen: Vec<_> =
        (0..4).map(|_| loud.line()).map(|line| params_of(&line)["data"].as_str().map(str::to_owned)).collect();
    assert_eq!(seen, [Some("debug".into()), None, Some("info".into()), Some("error".into())]);
    assert_eq!(params_of(&quiet.line())["data"], "error");
    assert_eq!(
        (params_of(&other.line())["data"].clone(), params_of(&other.line())["data"].clone()),
        ("info".into(), "error".into()),
        "no level set: info, once another set one"
    );
    // With two callers in flight a message is nobody's.
    quiet.send_call("6", "hold", r#"{"key":"k"}"#);
    other.send_call("6", "hold", r#"{"key":"k"}"#);
    let answer = loud.call(
        "7",
        "raw",
        &frames.replace("\"frames\":[", &format!("\"frames\":[{},", Value::from(log("emergency")))),
    );
    assert!(answer.contains("\"id\":7"));
    loud.call("8", "release", r#"{"key":"k"}"#);
    assert_eq!(id_of(&quiet.line()).as_deref(), Some("6"), "nothing came before the answer");
    assert!(String::from_utf8_lossy(&daemon.run(&["logs", "t"]).stdout).contains("emergency"));
}

#[test]
fn updates_reach_subscribers_only_and_subscriptions_are_counted() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let (mut one, mut two, mut none) = (daemon.agent("t"), daemon.agent("t"), daemon.agent("t"));
    let request = |method: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":4,"method":"resources/{method}","params":{{"uri":"test://a"}}}}"#)
    };
    for agent in [&mut one, &mut two] {
        agent.ask(&request("subscribe"));
    }
    let update = |agent: &mut Agent, mark: u32| {
        let updated = serde_json::json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": "test://a", "mark": mark } });
        agent.call(
            "5",
            "raw",
            &serde_json::json!({ "frames": [updated.to_string(), r#"{"jsonrpc":"2.0","id":$ID,"result":{}}"#] })
                .to_string(),
        );
    };
    update(&mut none, 1);
    assert_eq!((params_of(&one.line())["mark"].clone(), params_of(&two.line())["mark"].clone()), (1.into(), 1.into()));
    assert!(one.ask(&request("unsubscribe")).contains("\"result\":{}"));
    update(&mut none, 2);
    assert_eq!(params_of(&two.line())["mark"], 2);
    let unsubscribed = |agent: &mut Agent| {
        serde_json::from_str::<Vec<String>>(&text_of(&agent.call("6", "seen", r#"{"what":"resources/unsubscribe"}"#)))
            .expect("JSON")
            .len()
    };
    assert_eq!(unsubscribed(&mut none), 0, "another still wants it");
    assert!(one.call("7", "echo", "{}").contains("\"id\":7"), "and no update came in between");
    drop(two);
    crate::support::eventually("the last one's leaving ends the subscription", || unsubscribed(&mut none) == 1);
}

#[test]
fn list_changed_reaches_everybody() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let (mut one, two, all) = (daemon.agent("t"), daemon.agent("t"), daemon.agent_of_all());
    let mut all = all;
    all.ask(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#);
    let changed = r#"{"jsonrpc":"2.0","x":1,"method":"notifications/tools/list_changed"}"#;
    one.call(
        "1",
        "raw",
        &serde_json::json!({ "frames": [changed, r#"{"jsonrpc":"2.0","id":$ID,"result":{}}"#] }).to_string(),
    );
    assert_eq!(two.line(), changed);
    assert_eq!(all.line(), changed);
}
