//! A server that does one call after the other, and is slow: an agent with many calls does not keep it from the others.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{Agent, Daemon, Era, Face, eventually, id_of, modern, own_server, text_of};

/// So many calls of an agent the server has at once while others wait for it.
const AT_ONCE: usize = 4;

fn daemon(words: &[&str]) -> Daemon {
    Daemon::start(&format!("[http]\nlisten = \"127.0.0.1:0\"\n{}share = \"all\"\n", own_server("t", words)))
}

fn in_flight(daemon: &Daemon) -> u64 {
    daemon.server("t")["instances"][0]["in_flight"].as_u64().unwrap_or_default()
}

/// Has the server stand still, as if a call took it that long, or go on.
fn signal(daemon: &Daemon, signal: Signal) {
    let pid = daemon.server("t")["instances"][0]["pid"].as_i64().expect("a pid");
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    kill_process(pid, signal).expect("signalled");
}

/// The words in calls of `echo`, as `seen` tells of them.
fn words_of(seen: &str) -> Vec<String> {
    let frames: Vec<String> = serde_json::from_str(seen).expect("JSON");
    let word = |frame: &String| {
        let frame: Value = serde_json::from_str(frame).expect("JSON");
        frame["params"]["arguments"]["word"].as_str().expect("a word").to_owned()
    };
    frames.iter().map(word).collect()
}

fn send_all(agent: &mut Agent, words: impl Iterator<Item = String>) -> usize {
    let words: Vec<_> = words.collect();
    words.iter().for_each(|word| agent.send_call(&format!("\"{word}\""), "echo", &json!({ "word": word }).to_string()));
    words.len()
}

/// An agent at whose call the server is, and stands still; it has shown that it is slow.
fn at_work(daemon: &Daemon) -> Agent {
    let mut agent = daemon.agent("t");
    agent.call("1", "sleep", r#"{"ms":300}"#);
    signal(daemon, Signal::STOP);
    agent.send_call("2", "get", "{}");
    eventually("the server is at work", || in_flight(daemon) == 1);
    agent
}

/// An agent that declares nothing, and how it writes a call.
struct Caller {
    agent: Agent,
    era: Era,
}

impl Caller {
    fn attach(daemon: &Daemon, era: Era, face: Face) -> Self {
        let mut agent = match face {
            Face::Socket => daemon.attach("t"),
            Face::Shim => daemon.shim(&["t"]),
            Face::Http => Agent::http(daemon.endpoint(Some("t"))),
        };
        if era == Era::Legacy {
            agent.greet("{}");
        }
        Self { agent, era }
    }

    fn send(&mut self, id: &str, tool: &str, arguments: &Value) {
        match self.era {
            Era::Legacy => self.agent.send_call(id, tool, &arguments.to_string()),
            Era::Modern => {
                let members = format!(r#""name":"{tool}","arguments":{arguments}"#);
                self.agent.send(&modern(id, "tools/call", &members));
            }
        }
    }

    fn call(&mut self, id: &str, tool: &str, arguments: &Value) -> String {
        self.send(id, tool, arguments);
        self.agent.answer(id)
    }
}

#[test]
fn who_asks_little_is_served_before_the_rest_of_who_asks_much() {
    for (words, era, face) in [
        (&[][..], Era::Legacy, Face::Socket),
        (&[], Era::Legacy, Face::Shim),
        (&[], Era::Legacy, Face::Http),
        (&[], Era::Modern, Face::Socket),
        (&[], Era::Modern, Face::Http),
        (&["--modern"], Era::Modern, Face::Http),
        (&["--modern"], Era::Legacy, Face::Socket),
    ] {
        let daemon = daemon(words);
        let mut greedy = Caller::attach(&daemon, era, face);
        let [mut working, mut modest] = [(); 2].map(|()| Caller::attach(&daemon, era, Face::Socket));
        for caller in [&mut greedy, &mut modest, &mut working] {
            // It has shown that it is slow.
            caller.call("1", "sleep", &json!({ "ms": 300 }));
        }
        signal(&daemon, Signal::STOP);
        working.send("2", "get", &json!({}));
        eventually("the server is at work", || in_flight(&daemon) == 1);
        let names: Vec<_> = (0..20).map(|number| format!("greedy {number:02}")).collect();
        for name in &names {
            greedy.send(&format!("\"{name}\""), "echo", &json!({ "word": name }));
        }
        eventually("all are there", || in_flight(&daemon) == 1 + names.len() as u64);
        modest.send("3", "echo", &json!({ "word": "modest" }));
        eventually("all are there", || in_flight(&daemon) == 2 + names.len() as u64);
        signal(&daemon, Signal::CONT);
        modest.agent.answer("3");
        working.agent.answer("2");
        eventually("all are answered", || in_flight(&daemon) == 0);
        let seen = text_of(&working.call("4", "seen", &json!({ "what": "\"echo\"" })));
        let mut order = words_of(&seen);
        let what = format!("{words:?} {era:?} {face:?}: {order:?}");
        assert_eq!(order.iter().position(|word| word == "modest"), Some(AT_ONCE), "{what}");
        order.remove(AT_ONCE);
        if matches!(face, Face::Http) {
            // Each came by a connection of its own.
            order.sort_unstable();
        }
        assert_eq!(order, names, "{what}");
    }
}

#[test]
fn who_is_alone_waits_for_nobody() {
    let daemon = daemon(&[]);
    let mut agent = daemon.agent("t");
    agent.call("1", "sleep", r#"{"ms":300}"#);
    for number in 0..20 {
        agent.send_call(&format!("\"h{number}\""), "hold", r#"{"key":"h"}"#);
    }
    // Behind all of them.
    agent.send_call("3", "release", r#"{"key":"h"}"#);
    assert_eq!(agent.answers(21).values().filter(|answer| text_of(answer) == "h").count(), 20);
}

#[test]
fn calls_that_wait_for_one_another_are_all_given_to_the_server() {
    let daemon = daemon(&[]);
    let (mut other, mut agent) = (daemon.agent("t"), daemon.agent("t"));
    other.call("1", "sleep", r#"{"ms":300}"#);
    other.send_call("3", "hold", r#"{"key":"other"}"#);
    eventually("somebody waits", || in_flight(&daemon) == 1);
    for _ in 0..2 {
        for number in 0..20 {
            agent.send_call(&format!("\"h{number}\""), "hold", r#"{"key":"h"}"#);
        }
        agent.send_call("\"release\"", "release", r#"{"key":"h"}"#);
        assert_eq!(agent.answers(21).values().filter(|answer| text_of(answer) == "h").count(), 20);
    }
    agent.call("4", "release", r#"{"key":"other"}"#);
    other.answer("3");
}

#[test]
fn what_nobody_waits_for_any_more_is_not_sent() {
    let daemon = daemon(&[]);
    let (mut leaves, mut cancels) = (daemon.agent("t"), daemon.agent("t"));
    let mut working = at_work(&daemon);
    let count = send_all(&mut leaves, (0..8).map(|number| format!("leaves {number}")));
    let count = count + send_all(&mut cancels, (0..8).map(|number| format!("cancels {number}")));
    eventually("all are there", || in_flight(&daemon) == 1 + count as u64);
    leaves.leave();
    for number in 4..7 {
        let params = json!({ "requestId": format!("cancels {number}") });
        let frame = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
        cancels.send(&frame.to_string());
    }
    eventually("they are gone", || in_flight(&daemon) == 6);
    signal(&daemon, Signal::CONT);
    let answers: Vec<_> = (0..5).filter_map(|_| id_of(&cancels.line())).collect();
    assert_eq!(answers, [0, 1, 2, 3, 7].map(|number| format!("\"cancels {number}\"")));
    working.answer("2");
    let got = words_of(&text_of(&working.call("3", "seen", r#"{"what":"\"echo\""}"#)));
    let expected = (0..4)
        .map(|number| format!("leaves {number}"))
        .chain([0, 1, 2, 3, 7].map(|number| format!("cancels {number}")));
    let (mut got, mut expected) = (got, expected.collect::<Vec<_>>());
    got.sort_unstable();
    expected.sort_unstable();
    assert_eq!(got, expected);
}

#[test]
fn agents_take_turns_at_a_server_that_carries_one_call_at_a_time() {
    let daemon = Daemon::start(&format!("{}share = \"all\"\nmax_instances = 1\n", own_server("t", &[])));
    let [mut greedy, mut modest, mut working] = [(); 3].map(|()| daemon.agent("t"));
    // It asks while two have a call, and from then on carries one.
    working.send_call("1", "hold", r#"{"key":"k"}"#);
    eventually("a call is in flight", || in_flight(&daemon) == 1);
    let both =
        [("0", "ask", r#"{"id":1,"method":"sampling/createMessage","params":{}}"#), ("1", "release", r#"{"key":"k"}"#)];
    let both = both.map(|(id, tool, arguments)| {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#)
    });
    modest.send(&both.join("\n"));
    modest.answers(2);
    working.answer("1");
    working.send_call("2", "get", "{}");
    working.answer("2");
    signal(&daemon, Signal::STOP);
    let names: Vec<_> = (0..8).map(|number| format!("greedy {number}")).collect();
    send_all(&mut greedy, names.iter().cloned());
    let of_session = |count: u64| {
        let status = daemon.status();
        status["sessions"].as_array().expect("a list").iter().filter(|session| session["in_flight"] == count).count()
    };
    eventually("all wait", || of_session(8) == 1);
    send_all(&mut modest, (0..2).map(|number| format!("modest {number}")));
    eventually("all wait", || of_session(2) == 1);
    signal(&daemon, Signal::CONT);
    eventually("all are answered", || of_session(0) == 3);
    let order = words_of(&text_of(&working.call("3", "seen", r#"{"what":"\"echo\""}"#)));
    let ends = [0, 1].map(|number| order.iter().position(|word| *word == format!("modest {number}")));
    assert!(ends[0] <= Some(2) && ends[1] <= Some(4), "{order:?}");
    let of_one: Vec<_> = order.into_iter().filter(|word| word.starts_with("greedy")).collect();
    assert_eq!(of_one, names, "its own are carried in their order");
}

#[test]
fn calls_of_scripts_take_turns_too() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut script = Agent::socket(&daemon.socket());
    let call = |id: u64, word: &str| {
        let params = json!({ "server": "t", "tool": "echo", "arguments": { "word": word } });
        json!({ "jsonrpc": "2.0", "id": id, "method": "daemon.call_tool", "params": params }).to_string()
    };
    script.ask(&call(100, "first"));
    let [mut working, mut modest] = [(); 2].map(|()| daemon.agent("t"));
    working.call("1", "sleep", r#"{"ms":300}"#);
    assert_eq!(daemon.server("t")["instances"].as_array().map(Vec::len), Some(1));
    signal(&daemon, Signal::STOP);
    working.send_call("2", "get", "{}");
    eventually("the server is at work", || in_flight(&daemon) == 1);
    (0..10).for_each(|number| script.send(&call(number, &format!("script {number}"))));
    eventually("all are there", || in_flight(&daemon) == 11);
    modest.send_call("3", "echo", r#"{"word":"modest"}"#);
    eventually("all are there", || in_flight(&daemon) == 12);
    signal(&daemon, Signal::CONT);
    assert_eq!(script.answers(10).values().filter(|answer| answer.contains("\"result\"")).count(), 10);
    let order = words_of(&text_of(&working.call("4", "seen", r#"{"what":"\"echo\""}"#)));
    assert_eq!(order.iter().position(|word| word == "modest"), Some(1 + AT_ONCE), "{order:?}");
}
