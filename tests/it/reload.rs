//! Another configuration while everything runs.

use std::fs;
use std::os::unix::fs::symlink;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{Agent, Daemon, eventually, own_server, text_of};

fn many(changed: usize) -> String {
    let server = |number: usize| {
        let words = if number == changed { vec!["--tool=extra"] } else { Vec::new() };
        own_server(&format!("s{number}"), &words)
    };
    (0..30).map(server).collect()
}

fn pid(daemon: &Daemon, server: &str) -> Value {
    daemon.server(server)["instances"][0]["pid"].clone()
}

fn until_known(daemon: &Daemon, server: &str) {
    eventually("the new configuration counts", || {
        daemon.status()["servers"].as_array().is_some_and(|all| all.iter().any(|known| known["name"] == server))
    });
}

#[test]
fn of_thirty_servers_one_changed_and_twenty_nine_are_untouched() {
    let daemon = Daemon::start(&many(99));
    let mut agents: Vec<Agent> = (0..30).map(|number| daemon.agent(&format!("s{number}"))).collect();
    let before: Vec<u64> = agents.iter_mut().map(Agent::server_pid).collect();
    for agent in &mut agents {
        agent.send_call("\"held\"", "hold", r#"{"key":"k"}"#);
    }
    agents[7].ask(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#);
    daemon.configure(&many(7));
    // The agent of the changed server learns of it; its call goes on where it began.
    agents[7].until(|line| line.contains("tools/list_changed"));
    let list = agents[7].ask(r#"{"jsonrpc":"2.0","id":3,"method":"tools/list"}"#);
    assert!(list.contains("extra"), "{list}");
    let after: Vec<u64> = agents.iter_mut().map(Agent::server_pid).collect();
    let changed: Vec<_> = (0..30).filter(|number| before[*number] != after[*number]).collect();
    assert_eq!(changed, [7]);
    for (number, agent) in agents.iter_mut().enumerate().filter(|(number, _)| *number != 7) {
        agent.send_call("\"r\"", "release", r#"{"key":"k"}"#);
        assert_eq!(text_of(&agent.answer("\"held\"")), "k", "s{number}");
    }
    let old = daemon.server("s7");
    let draining = old["instances"].as_array().expect("a list").iter().map(|instance| instance["draining"].clone());
    assert_eq!(draining.collect::<Vec<_>>(), [json!(false), json!(true)], "its call is still seen: {old}");
}

#[test]
fn a_call_on_a_server_that_is_replaced_is_still_answered() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut agent = daemon.attach("t");
    agent.greet(r#"{"sampling":{}}"#);
    let first = agent.server_pid();
    agent.send_call("1", "ask", r#"{"id":1,"method":"sampling/createMessage","params":{}}"#);
    let question = agent.until(|line| line.contains("sampling/createMessage"));
    daemon.configure(&own_server("t", &["--changed"]));
    eventually("the new one is there", || {
        let now = pid(&daemon, "t");
        now.is_u64() && now != first
    });
    let id = crate::support::id_of(&question).expect("an id");
    agent.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"roots":["mine"]}}}}"#));
    assert!(text_of(&agent.answer("1")).contains("mine"));
    assert_ne!(agent.server_pid(), first);
    eventually("the old one ends", || !std::path::Path::new(&format!("/proc/{first}/cmdline")).exists());
}

#[test]
fn what_does_not_start_leaves_the_old_one_in_place() {
    let good = own_server("t", &[]);
    let daemon = Daemon::start(&good);
    let mut agent = daemon.agent("t");
    let first = agent.server_pid();
    daemon.configure("[servers.t]\ncommand = \"sh\"\nargs = [\"-c\", \"echo broken >&2; exit 9\"]\n");
    eventually("the problem is published", || daemon.status()["problems"].to_string().contains("exit status: 9"));
    assert_eq!(agent.server_pid(), first);
    let reloaded = daemon.run(&["reload"]);
    assert_eq!(reloaded.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&reloaded.stderr).contains("goes on with the old ones"), "{reloaded:?}");
    assert!(daemon.log().contains("the old one stays"));
    daemon.configure(&good);
    eventually("the problem is gone", || daemon.status()["problems"] == json!([]));
    assert_eq!(agent.server_pid(), first);
}

#[test]
fn a_file_that_is_wrong_or_gone_changes_nothing_and_is_named() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut agent = daemon.agent("t");
    let first = agent.server_pid();
    let path = daemon.folder().join("config.toml");
    let good = fs::read_to_string(&path).expect("read");
    fs::write(&path, "[servers.t\n").expect("written");
    eventually("the syntax error", || {
        daemon.status()["problems"].to_string().contains("config.toml:1: not valid TOML")
    });
    fs::remove_file(&path).expect("removed");
    eventually("the missing file", || daemon.status()["problems"].to_string().contains("cannot read"));
    assert_eq!(agent.server_pid(), first);
    let status = String::from_utf8_lossy(&daemon.run(&["status"]).stdout).into_owned();
    assert!(status.contains("configuration: cannot read"), "{status}");
    let refused = daemon.run(&["reload"]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("cannot read"));
    fs::write(&path, good + &own_server("u", &[])).expect("written");
    until_known(&daemon, "u");
    assert_eq!((agent.server_pid(), &daemon.status()["problems"]), (first, &json!([])));
}

#[test]
fn every_way_to_write_a_file_is_noticed() {
    let daemon = Daemon::start(&own_server("a", &[]));
    let path = daemon.folder().join("config.toml");
    let kept = own_server("a", &[]);
    let with = |name: &str| format!("{kept}{}", own_server(name, &[]));
    // In place, in two halves of which the first alone would be valid.
    let text = with("in-place");
    let (half, rest) = text.split_at(kept.len() + 3);
    fs::write(&path, half).expect("written");
    std::io::Write::write_all(&mut fs::File::options().append(true).open(&path).expect("opened"), rest.as_bytes())
        .expect("written");
    until_known(&daemon, "in-place");
    // As editors do: the old file aside, the new one in its place.
    fs::rename(&path, daemon.folder().join("config.toml~")).expect("renamed");
    fs::write(&path, with("aside")).expect("written");
    until_known(&daemon, "aside");
    daemon.configure(&with("renamed"));
    until_known(&daemon, "renamed");
    // A link to a folder of versions, which is then swapped.
    for version in ["v1", "v2"] {
        fs::create_dir(daemon.folder().join(version)).expect("created");
        fs::write(daemon.folder().join(version).join("real.toml"), with(version)).expect("written");
    }
    symlink("v1", daemon.folder().join("now")).expect("linked");
    fs::remove_file(&path).expect("removed");
    symlink("now/real.toml", &path).expect("linked");
    until_known(&daemon, "v1");
    symlink("v2", daemon.folder().join("next")).expect("linked");
    fs::rename(daemon.folder().join("next"), daemon.folder().join("now")).expect("renamed");
    until_known(&daemon, "v2");
    fs::write(daemon.folder().join("v2/real.toml"), with("behind-links")).expect("written");
    until_known(&daemon, "behind-links");
    // SIGHUP and `reload` read it too.
    let daemon_pid = Pid::from_raw(i32::try_from(daemon.pid()).expect("a pid")).expect("a pid");
    kill_process(daemon_pid, Signal::HUP).expect("sent");
    let reloaded = daemon.run(&["reload"]);
    assert_eq!(String::from_utf8_lossy(&reloaded.stdout), "no server changed\n");
}

#[test]
fn each_agent_concerned_is_told_once() {
    let server = |filter: &str| own_server("t", &["--tool=x"]) + filter + &own_server("other", &[]);
    let daemon = Daemon::start(&server(""));
    let (mut concerned, mut all, mut other) = (daemon.agent("t"), daemon.agent_of_all(), daemon.agent("other"));
    let list = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#;
    for agent in [&mut concerned, &mut all, &mut other] {
        agent.ask(list);
    }
    daemon.configure(&server("tools = { deny = [\"x\"] }\n"));
    for agent in [&mut concerned, &mut all] {
        let told = agent.line();
        assert!(told.contains("tools/list_changed"), "{told}");
        assert!(!agent.ask(list).contains(r#"x","#), "it is gone");
        let next = agent.ask(r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#);
        assert!(next.contains(r#""id":9"#));
    }
    // Answered in order: had it been told, that would have come first.
    other.send(r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#);
    assert!(other.line().contains(r#""id":9"#));
    daemon.configure(&own_server("other", &[]));
    all.until(|line| line.contains("tools/list_changed"));
    let gone = concerned.call("3", "echo", "{}");
    assert!(gone.contains("no server is named `t`"), "{gone}");
    daemon.configure(&format!("[daemon]\nmax_frame = \"1MiB\"\n{}", own_server("other", &[])));
    eventually("what needs a restart is named", || {
        daemon.status()["problems"].to_string().contains("daemon.max_frame")
    });
}
