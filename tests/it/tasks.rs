//! Tasks: whose they are, and what an agent of the other era gets of them.

use serde_json::{Value, json};

use crate::support::{Daemon, Era, Face, Speaker, eventually, example, own_server, peers};

const HTTP: &str = "[http]\nlisten = \"127.0.0.1:0\"\n";
const FACES: [Face; 3] = [Face::Socket, Face::Shim, Face::Http];

fn legacy_server() -> Daemon {
    Daemon::start(&format!("{HTTP}{}share = \"all\"\n", own_server("jobs", &["--tasks"])))
}

fn modern_server() -> Daemon {
    let program = example("conformance-server");
    Daemon::start(&format!("{HTTP}[servers.jobs]\ncommand = {program:?}\nargs = [\"--only=modern\"]\n"))
}

/// The frames with `what` in them that the server has got.
fn seen(daemon: &Daemon, what: &str) -> Vec<Value> {
    let mut agent = Speaker::attach(daemon, Era::Legacy, Face::Socket, "jobs");
    let found = agent.ask("tools/call", json!({ "name": "seen", "arguments": { "what": what } })).expect("an answer");
    let found: Vec<String> = serde_json::from_str(found["content"][0]["text"].as_str().expect("a text")).expect("JSON");
    found.iter().map(|frame| serde_json::from_str(frame).expect("JSON")).collect()
}

fn in_flight(daemon: &Daemon) -> u64 {
    let instances = daemon.server("jobs")["instances"].as_array().cloned().unwrap_or_default();
    instances.iter().filter_map(|instance| instance["in_flight"].as_u64()).sum()
}

fn cancelled(id: u64) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#)
}

fn job(arguments: Value) -> Value {
    json!({ "name": "job", "arguments": arguments })
}

#[test]
fn a_legacy_task_is_its_agents_alone() {
    for face in FACES {
        let daemon = legacy_server();
        let mut own = Speaker::attach(&daemon, Era::Legacy, face, "jobs");
        let mut other = Speaker::attach(&daemon, Era::Legacy, face, "jobs");
        for (agent, key) in [(&mut own, "a"), (&mut other, "b")] {
            let mut call = job(json!({ "key": key }));
            call["task"] = json!({ "ttl": 60000 });
            assert_eq!(agent.ask("tools/call", call).expect("a task")["task"]["taskId"], key);
        }
        for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
            let refused = other.ask(method, json!({ "taskId": "a" })).expect_err(method);
            assert!(refused.contains("no such task"), "in the words of the server: {refused}");
        }
        for (agent, key) in [(&mut own, "a"), (&mut other, "b")] {
            let listed = agent.ask("tasks/list", json!({})).expect("a list");
            let ids: Vec<_> = listed["tasks"].as_array().expect("tasks").iter().map(|task| &task["taskId"]).collect();
            assert_eq!(ids, [key]);
            assert_eq!(agent.ask("tasks/get", json!({ "taskId": key })).expect("its own")["status"], "working");
            let told = agent.notices.iter().filter(|notice| notice["method"] == "notifications/tasks/status");
            let told: Vec<_> = told.map(|notice| &notice["params"]["taskId"]).collect();
            assert!(told.iter().all(|id| **id == key), "{told:?}");
        }
        assert_eq!(own.ask("tasks/cancel", json!({ "taskId": "a" })).expect("its own")["status"], "cancelled");
        let cancelled = seen(&daemon, "tasks/cancel");
        assert_eq!(cancelled.iter().filter(|frame| frame["params"]["taskId"] == "a").count(), 1, "{cancelled:?}");
    }
}

#[test]
fn what_is_said_and_asked_for_a_task_is_for_its_agent() {
    let named = |frame: Value| {
        let mut frame = frame;
        frame["jsonrpc"] = "2.0".into();
        frame["params"]["_meta"] = json!({ "io.modelcontextprotocol/related-task": { "taskId": "a" } });
        frame.to_string()
    };
    let frames = |ask: &str| {
        json!({ "name": "raw", "arguments": { "frames": [
            named(json!({ "method": "notifications/message", "params": { "level": "error", "data": "of a" } })),
            named(json!({ "method": "notifications/x", "params": {} })),
            named(json!({ "id": ask, "method": "elicitation/create", "params": { "message": "of a" } })),
            r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}"#,
        ] } })
    };
    for face in FACES {
        let daemon = legacy_server();
        let mut own = Speaker::attach(&daemon, Era::Legacy, face, "jobs");
        let mut other = Speaker::attach(&daemon, Era::Legacy, face, "jobs");
        let mut call = job(json!({ "key": "a" }));
        call["task"] = json!({ "ttl": 60000 });
        own.ask("tools/call", call).expect("a task");
        other.ask("tools/call", frames("first")).expect("an answer");
        eventually("its agent hears and is asked", || {
            own.ask("tasks/get", json!({ "taskId": "a" })).expect("its own");
            (own.heard("notifications/message"), own.heard("notifications/x"), own.asked) == (1, 1, 1)
        });
        // It has left: what is for it is for nobody.
        drop(own);
        eventually("it has left", || daemon.status()["sessions"].as_array().map(Vec::len) == Some(1));
        other.ask("tools/call", frames("second")).expect("an answer");
        eventually("the server was told", || {
            seen(&daemon, "second").iter().any(|frame| frame["id"] == "second" && frame.get("error").is_some())
        });
        assert_eq!((other.notices.as_slice(), other.asked), ([].as_slice(), 0), "{face:?}");
    }
}

#[test]
fn a_modern_task_is_its_agents_alone() {
    for face in [Face::Socket, Face::Shim] {
        let daemon = modern_server();
        let mut own = Speaker::attach(&daemon, Era::Modern, face, "jobs");
        let mut other = Speaker::attach(&daemon, Era::Modern, face, "jobs");
        let extension = json!({ "io.modelcontextprotocol/tasks": {} });
        [&mut own, &mut other].into_iter().for_each(|agent| agent.capabilities["extensions"] = extension.clone());
        let call = json!({ "name": "slow_compute", "arguments": { "seconds": 600, "label": "x" } });
        let begun = own.ask("tools/call", call).expect("a task");
        assert_eq!(begun["resultType"], "task", "{begun}");
        let task = json!({ "taskId": begun["taskId"] });
        let unknown = other.ask("tasks/get", json!({ "taskId": "none" })).expect_err("there is none");
        for method in ["tasks/get", "tasks/cancel"] {
            let refused = other.ask(method, task.clone()).expect_err(method);
            assert_eq!(refused.split(',').next(), unknown.split(',').next(), "as for a task that is not there");
        }
        let filter = json!({ "notifications": { "taskIds": [begun["taskId"]] } });
        assert!(other.ask("subscriptions/listen", filter).is_err());
        assert_eq!(own.ask("tasks/get", task.clone()).expect("its own")["status"], "working");
        own.ask("tasks/cancel", task).expect("its own");
    }
}

#[test]
fn a_legacy_servers_task_is_a_call_that_takes_long() {
    for face in FACES {
        let daemon = legacy_server();
        let mut agent = Speaker::attach(&daemon, Era::Modern, face, "jobs");
        // The server says that there must be a task, unless its list, which is read when it starts, has said so before.
        for (key, most) in [("one", 2), ("two", 1)] {
            let id = agent.send("tools/call", job(json!({ "key": key })));
            eventually("its result is asked for", || {
                seen(&daemon, "tasks/result").iter().any(|frame| frame["params"]["taskId"] == key)
            });
            let mut helper = Speaker::attach(&daemon, Era::Legacy, Face::Socket, "jobs");
            helper.ask("tools/call", json!({ "name": "release", "arguments": { "key": key } })).expect("released");
            let answer = agent.next().expect("an answer");
            assert_eq!((&answer["id"], &answer["result"]["resultType"]), (&json!(id), &json!("complete")), "{answer}");
            assert_eq!(answer["result"]["content"][0]["text"], key);
            let progress = agent.notices.pop().expect("progress");
            assert_eq!(progress["params"]["progressToken"], json!(format!("t{id}")), "{progress}");
            let sent = seen(&daemon, "\"job\"");
            let calls = sent.iter().filter(|frame| frame["params"]["arguments"]["key"] == key).count();
            assert!((1..=most).contains(&calls), "{calls}");
            agent.ask("tools/list", json!({})).expect("a list");
        }
        let offered = agent.ask("server/discover", json!({})).expect("an answer");
        assert!(!offered.to_string().contains("tasks"), "{offered}");
    }
}

#[test]
fn what_a_legacy_servers_task_asks_is_asked() {
    for face in FACES {
        let daemon = legacy_server();
        let (mut agent, mut other) =
            (Speaker::attach(&daemon, Era::Modern, face, "jobs"), Speaker::attach(&daemon, Era::Modern, face, "jobs"));
        // The task's name says whose it is, whatever else is in flight.
        other.send("tools/call", json!({ "name": "hold", "arguments": { "key": "h" } }));
        eventually("the other call is in flight", || in_flight(&daemon) == 1);
        let said = agent.ask("tools/call", job(json!({ "key": "q", "ask": { "message": "m" } }))).expect("an answer");
        let said = said["content"][0]["text"].as_str().expect("a text");
        assert!(said.contains("\"accept\"") && said.contains("ada") && said.contains("related-task"), "{said}");
        assert!(other.notices.is_empty());
    }
}

#[test]
fn a_call_that_rests_goes_on_as_a_task() {
    let daemon = legacy_server();
    let mut agent = Speaker::attach(&daemon, Era::Modern, Face::Socket, "jobs");
    agent.ask("tools/list", json!({})).expect("a list");
    let call = job(json!({ "key": "k", "early": true }));
    agent.send("tools/call", call.clone());
    let asked = agent.next().expect("an answer");
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    eventually("its result is asked for", || !seen(&daemon, "tasks/result").is_empty());
    let mut back = call;
    back["requestState"] = asked["result"]["requestState"].clone();
    back["inputResponses"] = json!({ "1": { "action": "accept" } });
    agent.send("tools/call", back);
    eventually("the server has its answer", || seen(&daemon, "early-k").iter().any(|frame| frame["id"] == "early-k"));
    let mut helper = Speaker::attach(&daemon, Era::Legacy, Face::Socket, "jobs");
    helper.ask("tools/call", json!({ "name": "release", "arguments": { "key": "k" } })).expect("released");
    assert_eq!(agent.next().expect("an answer")["result"]["content"][0]["text"], "k");
    eventually("nothing is in flight", || in_flight(&daemon) == 0);
}

#[test]
fn a_task_ends_with_the_call_that_it_is() {
    for face in FACES {
        let daemon = legacy_server();
        for leaves in [false, true] {
            let mut agent = Speaker::attach(&daemon, Era::Modern, face, "jobs");
            let key = format!("leaves {leaves}");
            let of_task = |method: &str| {
                seen(&daemon, method).iter().any(|frame| frame["method"] == method && frame["params"]["taskId"] == *key)
            };
            let id = agent.send("tools/call", job(json!({ "key": key })));
            eventually("its result is asked for", || of_task("tasks/result"));
            if leaves {
                agent.agent.leave();
            } else {
                agent.agent.send(&cancelled(id));
            }
            eventually("the task is cancelled", || of_task("tasks/cancel"));
            eventually("nothing is in flight", || in_flight(&daemon) == 0);
        }
    }
}

#[test]
fn a_modern_servers_task_is_a_call_that_takes_long() {
    for face in FACES {
        let daemon = modern_server();
        let mut agent = Speaker::attach(&daemon, Era::Legacy, face, "jobs");
        let mut call = |name: &str, arguments: Value| {
            let result = agent.ask("tools/call", json!({ "name": name, "arguments": arguments }))?;
            assert!(result.get("resultType").is_none_or(|kind| kind == "complete"), "{result}");
            Ok::<_, String>(result["content"][0]["text"].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(call("slow_compute", json!({ "seconds": 0.1, "label": "x" })).as_deref(), Ok("Computed \"x\""));
        assert_eq!(call("failing_job", json!({})).as_deref(), Ok("The job failed"));
        assert_eq!(call("confirm_delete", json!({ "filename": "f" })).as_deref(), Ok("Kept f"));
        assert_eq!(call("multi_input", json!({})).as_deref(), Ok("\"ada\" and null"));
        let broken = call("protocol_error_job", json!({})).expect_err("an error");
        assert!(broken.contains("the job broke") && broken.contains("-32603"), "{broken}");
        let before = agent.asked;
        let call = json!({ "name": "test_tool_with_task", "arguments": {} });
        let greeted = agent.ask("tools/call", call).expect("an answer");
        assert_eq!((&greeted["content"][0]["text"], agent.asked), (&json!("Hello, ada!"), before + 1), "asked once");
        // They are asked something, and leave, or cancel.
        for leaves in [true, false] {
            let mut agent = Speaker::attach(&daemon, Era::Legacy, face, "jobs");
            let before = agent.ask("tools/call", json!({ "name": "cancelled", "arguments": {} })).expect("a count");
            let id = agent.send("tools/call", json!({ "name": "confirm_delete", "arguments": { "filename": "f" } }));
            let asked = agent.agent.line();
            assert!(asked.contains("elicitation/create"), "{asked}");
            if leaves {
                agent.agent.leave();
            } else {
                agent.agent.send(&cancelled(id));
            }
            let mut other = Speaker::attach(&daemon, Era::Legacy, face, "jobs");
            eventually("the task is cancelled", || {
                let now = other.ask("tools/call", json!({ "name": "cancelled", "arguments": {} })).expect("a count");
                now["content"] != before["content"]
            });
        }
        // Another one cancels while nothing is asked of the server.
        let mut agent = Speaker::attach(&daemon, Era::Legacy, face, "jobs");
        let id = agent.send("tools/call", json!({ "name": "failing_job", "arguments": {} }));
        eventually("it is in flight", || in_flight(&daemon) == 1);
        agent
            .agent
            .send(&format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#));
        eventually("nothing is in flight", || in_flight(&daemon) == 0);
    }
}

#[test]
fn a_published_servers_task_reaches_a_modern_agent() {
    let words = peers::server("everything", &[]);
    let daemon = Daemon::start(&format!("{HTTP}{}", peers::entry("everything", &words, "")));
    let mut agent = Speaker::attach(&daemon, Era::Modern, Face::Http, "everything");
    agent.ask("tools/list", json!({})).expect("a list");
    let call = json!({ "name": "simulate-research-query", "arguments": { "topic": "pythons", "ambiguous": true } });
    let report = agent.ask("tools/call", call).expect("a report");
    let report = report["content"][0]["text"].as_str().expect("a text");
    assert!(report.contains("Research Report: pythons (User accepted without selection)"), "{report}");
}
