//! Who shares a process: everybody, those of one project, or nobody; and who sees which servers and tools.

use std::fs;

use serde_json::Value;

use crate::support::{Agent, Daemon, id_of, legacy, own_server, peers, text_of};

fn attach_in(daemon: &Daemon, server: &str, folder: &std::path::Path) -> Agent {
    let mut agent = Agent::socket(&daemon.socket());
    let reply = agent.ask(&format!(
        r#"{{"jsonrpc":"2.0","id":0,"method":"daemon.attach","params":{{"server":"{server}","cwd":{:?}}}}}"#,
        folder.display().to_string()
    ));
    assert!(reply.contains("session"), "{reply}");
    agent
}

fn state(agent: &mut Agent) -> Value {
    serde_json::from_str(&text_of(&agent.call("\"state\"", "state", "{}"))).expect("JSON")
}

fn tools(answer: &str) -> Vec<String> {
    let answer: Value = serde_json::from_str(answer).expect("JSON");
    let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("no tools in {answer}"));
    tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn projects_see_their_own_folders() {
    let words = peers::server("filesystem", &["${project}"]);
    let daemon = Daemon::start(&peers::entry("files", &words, "share = \"project\""));
    let folders = [daemon.folder().join("one"), daemon.folder().join("two")];
    let mut agents = Vec::new();
    for (number, folder) in folders.iter().enumerate() {
        fs::create_dir(folder).expect("created");
        fs::write(folder.join("name.txt"), format!("project {number}")).expect("written");
        for _ in 0..2 {
            let mut agent = attach_in(&daemon, "files", folder);
            agent.greet("{}");
            agents.push(agent);
        }
    }
    for (number, agent) in agents.iter_mut().enumerate() {
        let (own, other) = (&folders[number / 2], &folders[1 - number / 2]);
        let read = |folder: &std::path::Path| format!(r#"{{"path":{:?}}}"#, folder.join("name.txt"));
        let answer = agent.call("1", "read_text_file", &read(own));
        assert!(answer.contains(&format!("project {}", number / 2)), "{answer}");
        let answer = agent.call("2", "read_text_file", &read(other));
        assert!(answer.contains("outside allowed directories"), "{answer}");
    }
    let server = daemon.server("files");
    assert_eq!(server["instances"].as_array().map(Vec::len), Some(2), "two agents share each");
    assert_eq!(server["share"], "project");
}

#[test]
fn an_agents_roots_count_more_than_its_folder() {
    let daemon = Daemon::start(&format!("{}share = \"project\"\n", own_server("t", &["${project}"])));
    let folder = |name: &str| {
        let folder = daemon.folder().join(name);
        fs::create_dir(&folder).expect("created");
        folder
    };
    let (cwd, root, second) = (folder("cwd"), folder("a root"), folder("second"));
    let mut plain = attach_in(&daemon, "t", &cwd);
    plain.greet("{}");
    let mut rooted = attach_in(&daemon, "t", &cwd);
    rooted.greet(r#"{"roots":{"listChanged":true}}"#);
    let answer_roots = |agent: &mut Agent, folder: &std::path::Path| {
        let question = agent.until(|line| line.contains("roots/list"));
        let id = id_of(&question).expect("an id");
        let uri = format!("file://{}", folder.display()).replace(' ', "%20");
        agent.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"roots":[{{"uri":"{uri}"}}]}}}}"#));
    };
    // Asked before it is answered: what depends on it waits.
    rooted.send_call("1", "state", "{}");
    answer_roots(&mut rooted, &root);
    let seen: Value = serde_json::from_str(&text_of(&rooted.answer("1"))).expect("JSON");
    assert!(seen["args"].to_string().contains("a root") && seen["cwd"] == root.display().to_string(), "{seen}");
    assert!(state(&mut plain)["args"].to_string().contains("/cwd"));
    // The same again changes nothing; another one does, and what is in flight goes on.
    let before = state(&mut rooted)["pid"].clone();
    rooted.send(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#);
    answer_roots(&mut rooted, &root);
    assert_eq!(state(&mut rooted)["pid"], before);
    rooted.send_call("7", "sleep", r#"{"ms":300}"#);
    rooted.send(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#);
    answer_roots(&mut rooted, &second);
    assert_eq!(text_of(&rooted.answer("7")), "slept");
    assert!(state(&mut rooted)["args"].to_string().contains("/second"));
}

#[test]
fn a_session_has_a_process_of_its_own_for_as_long_as_it_lasts() {
    let daemon = Daemon::start(&format!(
        "[daemon]\nidle_timeout = \"300ms\"\n{}share = \"session\"\n",
        own_server("browser", &[])
    ));
    let mut agents: Vec<_> = (0..3).map(|_| daemon.agent("browser")).collect();
    for (number, agent) in agents.iter_mut().enumerate() {
        agent.call("1", "set", &format!(r#"{{"to":"page {number}"}}"#));
    }
    // Nobody asks anything for longer than `idle_timeout`, as another server's end shows.
    crate::support::eventually("time passes", || daemon.status()["uptime"].as_u64() >= Some(2));
    for (number, agent) in agents.iter_mut().enumerate() {
        assert_eq!(text_of(&agent.call("2", "get", "{}")), format!("page {number}"));
    }
    // It belongs to one agent, so it is told who that is.
    assert!(text_of(&agents[0].call("3", "seen", r#"{"what":"clientInfo"}"#)).contains(r#"\"name\":\"agent\""#));
    agents.remove(0);
    crate::support::eventually("its process ends with it", || {
        daemon.server("browser")["instances"].as_array().map(Vec::len) == Some(2)
    });
}

#[test]
fn who_moves_on_is_not_taken_back() {
    let daemon = Daemon::start(&format!(
        "[daemon]\nidle_timeout = \"300ms\"\n{}share = \"project\"\n",
        own_server("t", &["${project}"])
    ));
    let folders = ["p1", "p2"].map(|name| daemon.folder().join(name));
    folders.iter().for_each(|folder| fs::create_dir(folder).expect("created"));
    let (mut moves, mut stays) = (attach_in(&daemon, "t", &folders[0]), attach_in(&daemon, "t", &folders[0]));
    stays.greet("{}");
    moves.greet(r#"{"roots":{}}"#);
    let answer_roots = |agent: &mut Agent, folder: &std::path::Path| {
        let id = id_of(&agent.until(|line| line.contains("roots/list"))).expect("an id");
        let uri = format!("file://{}", folder.display());
        agent.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"roots":[{{"uri":"{uri}"}}]}}}}"#));
    };
    answer_roots(&mut moves, &folders[0]);
    assert!(state(&mut moves)["args"].to_string().contains("/p1"));
    crate::support::eventually("nobody uses it", || daemon.server("t")["state"] == "idle");
    moves.send(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#);
    answer_roots(&mut moves, &folders[1]);
    // The process of the first project is started again for the other agent: who moved is not among its agents.
    assert!(state(&mut stays)["args"].to_string().contains("/p1"));
    assert!(state(&mut moves)["args"].to_string().contains("/p2"));
}

#[test]
fn what_one_session_is_offered_is_no_others_business() {
    let names = tempfile::NamedTempFile::new().expect("a file");
    let words = format!("--tools-in={}", names.path().display());
    let daemon = Daemon::start(&format!("{}share = \"session\"\n", own_server("t", &[&words])));
    let list = r#"{"jsonrpc":"2.0","id":5,"method":"tools/list"}"#;
    fs::write(&names, "private").expect("written");
    assert!(daemon.agent("t").ask(list).contains("private"));
    fs::write(&names, "").expect("written");
    for mut agent in [daemon.agent("t"), daemon.agent_of_all()] {
        assert!(!agent.ask(list).contains("private"));
    }
    let kept = fs::read_to_string(daemon.folder().join("state/catalogs/t.json")).unwrap_or_default();
    assert!(!kept.contains("private"), "{kept}");
}

#[test]
fn denied_tools_are_absent_and_refused() {
    let names = ["--tool=get_a", "--tool=delete_a", "--tool=delete_b"];
    let filter = "tools = { deny = [\"delete_*\", \"raw\"] }\n";
    let daemon = Daemon::start(&(own_server("t", &names) + filter + &own_server("open", &[])));
    let list = r#"{"jsonrpc":"2.0","id":5,"method":"tools/list"}"#;
    let mut one = daemon.agent("t");
    // From the server, from what is known of it, and in the view of all servers.
    let answer = one.ask(list);
    assert_eq!(tools(&answer), ["echo", "get_a"]);
    assert!(answer.contains(r#""x-odd""#), "what is left is untouched: {answer}");
    assert!(daemon.run(&["stop", "t"]).status.success() && daemon.run(&["start", "t"]).status.success());
    assert_eq!(tools(&daemon.agent("t").ask(list)), ["echo", "get_a"]);
    let mut all = daemon.agent_of_all();
    assert_eq!(tools(&all.ask(list)), ["t__echo", "t__get_a", "open__echo", "open__raw"]);
    for (agent, name) in [(&mut one, "delete_a"), (&mut all, "t__delete_a")] {
        let answer = agent.call("6", name, "{}");
        assert!(answer.contains("tool `delete_a` of server `t` is not offered"), "{answer}");
    }
    let called = daemon.run(&["call", "t", "delete_a"]);
    assert!(!called.status.success() && String::from_utf8_lossy(&called.stderr).contains("not offered"));
    assert_eq!(daemon.server("t")["denied"], serde_json::json!(["delete_a", "delete_b", "raw"]));
}

#[test]
fn a_profile_is_a_choice_of_servers() {
    let config = own_server("a", &[]) + &own_server("b", &[]) + &own_server("c", &[]);
    let daemon = Daemon::start(&(config + "[profiles.work]\nservers = [\"c\", \"a\"]\n"));
    let mut agent = daemon.shim(&["--profile", "work"]);
    agent.greet("{}");
    let list = agent.ask(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#);
    assert_eq!(tools(&list), ["a__echo", "a__raw", "c__echo", "c__raw"]);
    agent.call("3", "c__echo", "{}");
    let outside = agent.call("4", "b__echo", "{}");
    assert!(outside.contains("no server is named `b`"), "{outside}");
    assert_eq!(daemon.status()["sessions"][0]["profile"], "work");
    assert_eq!(daemon.server("b")["state"], "idle", "nobody asked for it");
    let unknown = daemon.run(&["connect", "--profile", "wrk"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("did you mean `work`?"));
}

#[test]
fn every_class_of_agent_has_its_process_and_ten_of_one_class_share_it() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut pids: Vec<u64> = (0..10)
        .map(|_| {
            let mut agent = daemon.agent("t");
            agent.server_pid()
        })
        .collect();
    pids.dedup();
    assert_eq!(pids.len(), 1);
    let mut other = daemon.attach("t");
    assert!(other.ask(&legacy(r#"{"sampling":{}}"#)).contains("serverInfo"));
    assert_ne!(other.server_pid(), pids[0]);
}
