//! `share = "auto"`: as few processes as are right. What an agent sees is what it would see directly.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Agent, Daemon, eventually, id_of, kill, modern, own_server, test_server, text_of};

const ALL: &str = r#"{"elicitation":{},"roots":{"listChanged":true},"sampling":{}}"#;

/// An agent that works in a folder, and names a root when it is asked.
struct At {
    agent: Agent,
    root: String,
    next: u32,
    modern: Option<String>,
}

impl At {
    fn attach(daemon: &Daemon, folder: &Path, capabilities: &str) -> Self {
        let mut agent = Agent::socket(&daemon.socket());
        let cwd = folder.display().to_string();
        let reply = agent.ask(&format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"daemon.attach","params":{{"server":"t","cwd":{cwd:?}}}}}"#
        ));
        assert!(reply.contains("session"), "{reply}");
        Self::over(agent, folder, capabilities)
    }

    fn over(agent: Agent, folder: &Path, capabilities: &str) -> Self {
        let mut at = Self { agent, root: format!("file://{}", folder.display()), next: 1, modern: None };
        at.ask("initialize", &format!(r#""protocolVersion":"2025-06-18","clientInfo":{{"name":"a","version":"1"}},"capabilities":{capabilities}"#));
        at.agent.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        at
    }

    fn modern(daemon: &Daemon, folder: &Path, capabilities: &str) -> Self {
        let mut agent = Agent::socket(&daemon.socket());
        let cwd = folder.display().to_string();
        agent.ask(&format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"daemon.attach","params":{{"server":"t","cwd":{cwd:?}}}}}"#
        ));
        let root = format!("file://{}", folder.display());
        Self { agent, root, next: 1, modern: Some(capabilities.to_owned()) }
    }

    /// The server itself, without a daemon.
    fn direct(words: &[String], folder: &Path, capabilities: &str) -> Self {
        let mut command = Command::new(test_server());
        let agent = Agent::process(command.args(words).current_dir(folder).stderr(Stdio::null()));
        Self::over(agent, folder, capabilities)
    }

    fn ask(&mut self, method: &str, members: &str) -> Value {
        self.next += 1;
        let id = self.next.to_string();
        match &self.modern {
            Some(capabilities) => {
                let frame = modern(&id, method, members);
                self.agent.send(
                    &frame.replace(r#"clientCapabilities":{}"#, &format!(r#"clientCapabilities":{capabilities}"#)),
                );
            }
            None => {
                self.agent.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{members}}}}}"#))
            }
        }
        loop {
            let line = self.agent.line();
            let message: Value = serde_json::from_str(&line).expect("JSON");
            let asked = id_of(&line).unwrap_or_default();
            if message["method"] == "roots/list" {
                let roots = json!({ "roots": [{ "uri": self.root, "name": "r" }] });
                self.agent.send(&format!(r#"{{"jsonrpc":"2.0","id":{asked},"result":{roots}}}"#));
            } else if message["method"].is_string() && !asked.is_empty() {
                self.agent.send(&format!(r#"{{"jsonrpc":"2.0","id":{asked},"result":{{"mine":"{}"}}}}"#, self.root));
            } else if asked == id {
                return message;
            }
        }
    }

    fn call(&mut self, tool: &str, arguments: &str) -> String {
        let answer = self.ask("tools/call", &format!(r#""name":"{tool}","arguments":{arguments}"#));
        text_of(&answer.to_string())
    }

    fn state(&mut self) -> Value {
        serde_json::from_str(&self.call("state", "{}")).expect("JSON")
    }

    fn pid(&mut self) -> u64 {
        self.state()["pid"].as_u64().expect("a pid")
    }

    fn tools(&mut self) -> BTreeSet<String> {
        let list = self.ask("tools/list", "");
        let tools = list["result"]["tools"].as_array().unwrap_or_else(|| panic!("no tools in {list}"));
        tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
    }

    /// The URIs of the roots that the server was told when it was greeted.
    fn roots(&mut self) -> Vec<String> {
        let roots: Value = serde_json::from_str(&self.call("roots", "{}")).expect("JSON");
        roots.as_array().into_iter().flatten().filter_map(|root| root["uri"].as_str().map(str::to_owned)).collect()
    }
}

fn folders(daemon: &Daemon) -> [std::path::PathBuf; 2] {
    ["one", "two"].map(|name| {
        let folder = daemon.folder().canonicalize().expect("there").join(name);
        fs::create_dir_all(&folder).expect("created");
        folder
    })
}

fn processes(daemon: &Daemon) -> usize {
    daemon.server("t")["instances"].as_array().map_or(0, Vec::len)
}

#[test]
fn a_server_works_where_its_agent_does_unless_it_is_known_not_to_care() {
    let free = format!("{}[packages.\"test-server\"]\nshare = \"all\"\nclients = []\n", own_server("t", &[]));
    for (config, shared) in [(own_server("t", &[]), false), (free, true)] {
        let daemon = Daemon::start(&config);
        let [one, two] = folders(&daemon);
        let (mut a, mut b) = (At::attach(&daemon, &one, "{}"), At::attach(&daemon, &two, ALL));
        let (here, there) = (a.state(), b.state());
        assert_eq!(here["pid"] == there["pid"], shared, "{config}");
        let home = std::env::home_dir().expect("a home").display().to_string();
        let expected = if shared { home } else { one.display().to_string() };
        assert_eq!(here["cwd"], expected);
        let words = daemon.server("t")["sharing"].as_str().map(str::to_owned).unwrap_or_default();
        let (starts, advised) =
            if shared { ("shared by all: test-server is known", false) } else { ("by project: ", true) };
        assert!(words.starts_with(starts), "{words}");
        assert_eq!(daemon.server("t")["advice"].is_string(), advised);
    }
}

#[test]
fn all_brands_and_eras_share_a_process_that_does_not_tell_them_apart() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let [one, _] = folders(&daemon);
    let mut first = At::attach(&daemon, &one, r#"{"roots":{}}"#);
    first.tools();
    let mut second = At::attach(&daemon, &one, "{}");
    assert_eq!(second.pid(), first.pid(), "what was promised to the first covers the second");
    let mut more = At::attach(&daemon, &one, r#"{"sampling":{}}"#);
    let apart = more.pid();
    assert_ne!(apart, second.pid(), "it could be asked what the first cannot answer");
    // The next process is promised what any of them answers, and serves them all.
    drop((first, second, more));
    assert!(daemon.run(&["stop", "t"]).status.success() && daemon.run(&["start", "t"]).status.success());
    let brands = ["{}", r#"{"roots":{}}"#, r#"{"sampling":{}}"#];
    let mut agents: Vec<_> = brands.iter().map(|brand| At::attach(&daemon, &one, brand)).collect();
    agents.push(At::modern(&daemon, &one, "{}"));
    let pids: BTreeSet<_> = agents.iter_mut().map(At::pid).collect();
    assert_eq!((pids.len(), processes(&daemon)), (1, 1), "{}", daemon.server("t"));
    // Each is greeted in its own revision.
    let greeting =
        At::attach(&daemon, &one, "{}").ask("initialize", r#""protocolVersion":"2025-03-26","capabilities":{}"#);
    assert_eq!(greeting["result"]["protocolVersion"], "2025-03-26");
}

#[test]
fn a_server_that_offers_one_client_more_has_a_process_for_each_kind() {
    let daemon = Daemon::start(&own_server("t", &["--varies"]));
    let [one, _] = folders(&daemon);
    for _ in 0..2 {
        let mut agents: Vec<_> = ["{}", r#"{"roots":{}}"#, r#"{"sampling":{}}"#]
            .iter()
            .map(|kind| At::attach(&daemon, &one, kind))
            .collect();
        let offered: Vec<_> = agents.iter_mut().map(At::tools).collect();
        let with = |kind: usize, name: &str| offered[kind].contains(&format!("with-{name}"));
        assert!(!with(0, "roots") && with(1, "roots") && with(2, "sampling") && !with(2, "roots"), "{offered:?}");
        let pids: BTreeSet<_> = agents.iter_mut().map(At::pid).collect();
        assert_eq!(pids.len(), 3);
    }
    assert!(daemon.server("t")["sharing"].to_string().contains("by project and client: "), "{}", daemon.server("t"));
}

#[test]
fn one_that_asks_is_shared_by_those_who_declared_the_same_from_then_on() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let [one, _] = folders(&daemon);
    let mut asked = At::attach(&daemon, &one, ALL);
    asked.tools();
    let mut plain = At::attach(&daemon, &one, "{}");
    assert_eq!(plain.pid(), asked.pid());
    // The one whose call it is, is asked; the other would not have been, directly, and is not.
    let question = r#"{"id":"q","method":"elicitation/create","params":{}}"#;
    let refused = plain.call("ask", question);
    assert!(refused.contains("did not declare"), "{refused}");
    assert!(asked.call("ask", question).contains("mine"));
    assert_ne!(plain.pid(), asked.pid(), "from then on it is promised what its agents can answer");
    let words = daemon.server("t")["sharing"].to_string();
    assert!(words.contains("it asks for elicitation"), "{words}");
    // What was learnt outlasts the daemon, and is dropped when the program changes.
    let daemon = Daemon::start_in(daemon.restart());
    assert!(daemon.server("t")["sharing"].to_string().contains("it asks for elicitation"));
    daemon.configure(&own_server("t", &["--tool=another"]));
    let daemon = Daemon::start_in(daemon.restart());
    assert!(!daemon.server("t")["sharing"].to_string().contains("elicitation"));
}

#[test]
fn roots_are_each_agents_own_at_any_time_in_either_era() {
    let daemon = Daemon::start(&own_server("t", &["--asks-roots"]));
    let [one, two] = folders(&daemon);
    let uri = |folder: &Path| vec![format!("file://{}", folder.display())];
    for _ in 0..2 {
        let mut agents = [
            (At::attach(&daemon, &one, ALL), &one),
            (At::attach(&daemon, &two, ALL), &two),
            (At::modern(&daemon, &one, ALL), &one),
            (At::modern(&daemon, &two, ALL), &two),
        ];
        for (agent, folder) in &mut agents {
            eventually("it knows them", || !agent.roots().is_empty());
            assert_eq!((agent.roots(), agent.state()["cwd"].as_str()), (uri(folder), folder.to_str()));
        }
        let pids: Vec<_> = agents.iter_mut().map(|(agent, _)| agent.pid()).collect();
        assert!(pids[0] != pids[1] && pids[2] != pids[3], "{pids:?}");
        let mut none = At::attach(&daemon, &one, "{}");
        assert!(none.roots().is_empty(), "who declared no roots is not asked, as directly");
    }
    // Other roots in the same folder: a process that is one agent's own is told.
    let mut agent = At::attach(&daemon, &one, ALL);
    let before = agent.pid();
    fs::create_dir(one.join("below")).expect("created");
    agent.root = format!("file://{}", one.join("below").display());
    agent.agent.send(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#);
    eventually("the new ones are known", || agent.roots() == [agent.root.clone()]);
    let folder = agent.state()["cwd"].as_str().map(str::to_owned);
    assert!(before != agent.pid() || folder.as_deref() == one.to_str(), "its first root is where it works now");
}

#[test]
fn the_first_call_at_a_process_finds_the_roots_that_its_server_asks_for() {
    let daemon = Daemon::start(&own_server("t", &["--asks-roots"]));
    let [one, two] = folders(&daemon);
    assert!(!At::attach(&daemon, &two, "{}").tools().is_empty(), "so that agents are greeted from what is known");
    // Nobody has seen it asking yet.
    let mut agent = At::attach(&daemon, &one, ALL);
    let expected = [format!("file://{}", one.display())];
    assert_eq!(agent.roots(), expected);
    let first = agent.pid();
    kill(first);
    eventually("another one takes over", || {
        let all = daemon.server("t")["instances"].as_array().cloned().unwrap_or_default();
        all.iter().any(|one| one["pid"] != first && one["sessions"].as_array().is_some_and(|all| all.len() == 1))
    });
    assert_eq!(agent.roots(), expected);
}

#[test]
fn a_call_that_was_cancelled_counts_while_the_server_may_be_at_it() {
    for killed in [false, true] {
        let daemon = Daemon::start(&own_server("t", &[]));
        let [one, _] = folders(&daemon);
        let (mut leaves, mut stays) = (At::attach(&daemon, &one, ALL), At::attach(&daemon, &one, ALL));
        assert_eq!(leaves.pid(), stays.pid());
        leaves.agent.send_call("9", "hold", r#"{"key":"k"}"#);
        eventually("it is in flight", || daemon.server("t")["instances"][0]["in_flight"] == 1);
        if killed {
            leaves.agent.leave();
        } else {
            leaves.agent.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9}}"#);
        }
        // Log messages reach the one agent at work at once; its questions, when the server has been quiet for a while.
        let log =
            json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "error", "data": "d" } });
        let frames = json!({ "frames": [log.to_string(), r#"{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}"#] });
        stays.agent.send_call("7", "raw", &frames.to_string());
        assert!(stays.agent.line().contains(r#""data":"d""#));
        stays.agent.answer("7");
        let pid = stays.pid();
        eventually("its own question reaches it", || {
            stays.call("ask", r#"{"id":"q","method":"sampling/createMessage","params":{}}"#).contains("mine")
        });
        // Meanwhile, now that it is known to ask, a sibling may carry the calls of others.
        eventually("nothing is replaced", || stays.pid() == pid);
        assert!(daemon.server("t")["ambiguous_request"].is_null(), "and nothing marked");
    }
}

/// How a random server tells its clients apart, and what a random agent declares.
fn scene() -> impl Strategy<Value = (bool, bool, Vec<(usize, usize, bool)>)> {
    let agents = prop::collection::vec((0..2usize, 0..4usize, any::<bool>()), 1..5);
    (any::<bool>(), any::<bool>(), agents)
}

#[test]
fn what_an_agent_sees_is_what_it_would_see_directly() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 24,
        // A case that never comes true takes a minute.
        max_shrink_iters: 4,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let declared = ["{}", r#"{"roots":{}}"#, r#"{"sampling":{}}"#, ALL];
    let result = runner.run(&scene(), |(asks, varies, agents)| {
        let mut words = Vec::new();
        words.extend(asks.then_some("--asks-roots"));
        words.extend(varies.then_some("--varies"));
        let daemon = Daemon::start(&own_server("t", &words));
        let folders = folders(&daemon);
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        let mut here: Vec<_> = Vec::new();
        for (folder, kind, is_modern) in &agents {
            let attach = if *is_modern { At::modern } else { At::attach };
            here.push(attach(&daemon, &folders[*folder], declared[*kind]));
        }
        // All at once, and in turns.
        for _ in 0..2 {
            for (through, (folder, kind, is_modern)) in here.iter_mut().zip(&agents) {
                let mut direct = At::direct(&words, &folders[*folder], declared[*kind]);
                // What was known of another agent is answered at once, and asked for again.
                eventually("the same tools", || through.tools() == direct.tools());
                prop_assert_eq!(&through.state()["cwd"], &direct.state()["cwd"]);
                let scene = format!("the same roots: {words:?} {agents:?} {folder} {kind} {is_modern}");
                eventually(&scene, || through.roots() == direct.roots());
                if !is_modern && *kind == 3 {
                    let question = r#"{"id":"q","method":"sampling/createMessage","params":{}}"#;
                    prop_assert_eq!(through.call("ask", question), direct.call("ask", question));
                }
            }
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
