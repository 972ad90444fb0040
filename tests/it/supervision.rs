//! Servers that die, hang or loop: what their callers learn, and that nothing is left behind.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::json;

use crate::support::{Agent, Daemon, PATIENCE, error_of, eventually, kill, own_server, peers, text_of};

fn pid_of(number: u64) -> Pid {
    Pid::from_raw(i32::try_from(number).expect("a pid")).expect("a pid")
}

/// Whether the process is there and not just waiting to be reaped by somebody else.
fn is_alive(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().unwrap_or_default().chars().next();
    test_kill_process(pid_of(pid)).is_ok() && state.is_some_and(|state| state != 'Z')
}

/// The processes of a group.
fn group(leader: u64) -> Vec<u64> {
    let all =
        std::fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(|pid: &u64| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        fields.get(2).is_some_and(|group| *group == leader.to_string()) && is_alive(*pid)
    })
    .collect()
}

fn journal(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn a_server_that_answers_between_its_ends_is_not_broken() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut agent = daemon.agent("t");
    // More often than a server may fail in a row, and each time long before it counts as healthy by its age.
    for id in 10..17 {
        let mut attempt = 0;
        eventually("it answers", || {
            attempt += 1;
            agent.call(&(id * 100 + attempt).to_string(), "echo", "{}").contains("result")
        });
        kill(agent.server_pid());
        eventually("it is back", || daemon.server("t")["state"] == "ready");
    }
}

#[test]
fn a_killed_server_fails_its_calls_once_and_is_started_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let marks = folder.path().join("marks");
    let config = own_server("t", &[&format!("--journal={}", marks.display())]);
    let daemon = Daemon::start(&config);
    let (mut one, mut two) = (daemon.agent("t"), daemon.agent("t"));
    let first = one.server_pid();
    one.send_call("1", "hold", r#"{"key":"k"}"#);
    two.send_call("\"x\"", "hold", r#"{"key":"k"}"#);
    two.send(r#"{"jsonrpc":"2.0","id":77,"method":"tools/list"}"#);
    two.answer("77");
    kill(first);
    for (agent, id) in [(&one, "1"), (&two, "\"x\"")] {
        let error = error_of(&agent.answer(id));
        assert!(error.contains("signal: 9 (SIGKILL)") && error.contains("not repeated"), "{error}");
    }
    assert_eq!(text_of(&one.call("2", "mark", r#"{"key":"once"}"#)), "once");
    assert_eq!(journal(&marks), ["once"]);
    assert_ne!(one.server_pid(), first);
    assert_eq!(one.server_pid(), two.server_pid(), "they share the new one too");
    let server = daemon.server("t");
    assert_eq!((server["state"].as_str(), server["starts"].as_u64()), (Some("ready"), Some(2)));
}

#[test]
fn a_list_in_flight_is_asked_once_more() {
    // It ends when it is asked for prompts, as often as there are lines in the file.
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("server");
    std::fs::write(
        &script,
        r#"#!/bin/sh
while read -r line; do
  id=$(printf '%s' "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
  case $line in
    *initialize\"*) echo '{"jsonrpc":"2.0","id":'$id',"result":{"protocolVersion":"2025-06-18","capabilities":{"prompts":{}},"serverInfo":{"name":"s","version":"1"}}}' ;;
    *prompts/list*) if [ -e "$1/die" ]; then rm "$1/die"; exit 3; fi; echo '{"jsonrpc":"2.0","id":'$id',"result":{"prompts":[]}}' ;;
    *tools/call*) exit 4 ;;
  esac
done
"#,
    )
    .expect("written");
    let config = format!("[servers.t]\ncommand = \"sh\"\nargs = [{:?}, {:?}]\n", script, folder.path());
    let daemon = Daemon::start(&config);
    let mut agent = daemon.agent("t");
    std::fs::write(folder.path().join("die"), "").expect("written");
    let answer = agent.ask(r#"{"jsonrpc":"2.0","id":"l","method":"prompts/list"}"#);
    assert!(answer.contains(r#""prompts":[]"#), "{answer}");
    assert_eq!(daemon.server("t")["starts"], 2);
    assert!(error_of(&agent.call("8", "x", "{}")).contains("exit status: 4"));
}

#[test]
fn a_crash_loop_opens_the_breaker_and_a_restart_closes_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let works = folder.path().join("works");
    let dies = format!(
        "[servers.dies]\ncommand = \"sh\"\nargs = [\"-c\", \"[ -e {} ] && exec {} ; echo no luck >&2; exit 7\"]\n",
        works.display(),
        crate::support::test_server()
    );
    let daemon = Daemon::start(&(dies + &own_server("calm", &[])));
    let mut calm = daemon.agent("calm");
    let pid = calm.server_pid();
    let mut agent = daemon.attach("dies");
    eventually("the breaker opens", || {
        let answer = agent.ask(&crate::support::legacy("{}"));
        let error = error_of(&answer);
        assert!(error.contains("exit status: 7") && error.contains("no luck"), "{error}");
        error.contains("trunkline restart dies")
    });
    let server = daemon.server("dies");
    assert_eq!(server["state"], "broken");
    assert_eq!(calm.server_pid(), pid, "nobody else is touched");
    std::fs::write(&works, "").expect("written");
    assert!(error_of(&agent.ask(&crate::support::legacy("{}"))).contains("5 times in a row"));
    let restarted = daemon.run(&["restart", "dies"]);
    assert!(restarted.status.success(), "{}", String::from_utf8_lossy(&restarted.stderr));
    assert!(agent.ask(&crate::support::legacy("{}")).contains("serverInfo"));
    assert_eq!(daemon.server("dies")["state"], "ready");
}

#[test]
fn what_one_agent_promises_takes_a_server_from_no_other() {
    let picky = format!(
        "[servers.t]\ncommand = \"sh\"\nargs = [\"-c\", '''read -r line; case \"$line\" in *strange*) exit 7;; esac; {{ printf '%s\\n' \"$line\"; cat; }} | {}''']\n",
        crate::support::test_server()
    ).replace("\\\"", "\"");
    let daemon = Daemon::start(&picky);
    let mut strange = daemon.attach("t");
    let greeting = crate::support::legacy(r#"{"experimental":{"strange":{}}}"#);
    eventually("the breaker opens", || error_of(&strange.ask(&greeting)).contains("5 times in a row"));
    let mut plain = daemon.attach("t");
    assert!(plain.ask(&crate::support::legacy("{}")).contains("serverInfo"));
    let error = error_of(&strange.ask(&greeting));
    assert!(error.contains("it is tried again in") && error.contains("trunkline restart t"), "{error}");
    assert_eq!(daemon.server("t")["state"], "ready");
}

#[test]
fn who_waits_for_a_server_is_told_when_it_is_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let fails = format!(
        "[servers.t]\ncommand = \"sh\"\nargs = [\"-c\", \"[ -e {} ] && exit 5; exec {}\"]\n",
        folder.path().join("broken").display(),
        crate::support::test_server()
    );
    let daemon = Daemon::start(&fails);
    let mut agent = daemon.agent("t");
    std::fs::write(folder.path().join("broken"), "").expect("written");
    kill(agent.server_pid());
    eventually("it fails again and again", || daemon.server("t")["state"] == "backoff");
    agent.send_call("1", "echo", "{}");
    assert!(daemon.run(&["stop", "t"]).status.success());
    assert!(agent.answer("1").contains("\"error\""));
    std::fs::remove_file(folder.path().join("broken")).expect("removed");
    assert!(daemon.run(&["restart", "t"]).status.success());
    assert!(text_of(&agent.call("2", "echo", "{}")).contains("echo"));
}

#[test]
fn an_agent_without_a_project_harms_nobody() {
    let daemon = Daemon::start(&format!("{}share = \"project\"\n", own_server("t", &["${project}"])));
    for _ in 0..7 {
        let mut agent = daemon.attach("t");
        let error = error_of(&agent.ask(&crate::support::legacy("{}")));
        assert!(error.contains("did not say in which folder it works"), "{error}");
    }
    assert_eq!(daemon.run(&["call", "t", "echo"]).status.code(), Some(0), "the command line works somewhere");
}

#[test]
fn stop_keeps_a_server_stopped_until_start() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut agent = daemon.agent("t");
    let first = agent.server_pid();
    // A subscription is no call that would be waited for.
    agent.ask(r#"{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"a:b"}}"#);
    let begun = Instant::now();
    assert!(daemon.run(&["stop", "t"]).status.success());
    assert!(begun.elapsed() < Duration::from_secs(8), "less than the grace of calls: {:?}", begun.elapsed());
    assert!(!is_alive(first));
    assert_eq!(daemon.server("t")["state"], "stopped");
    let error = error_of(&agent.call("1", "echo", "{}"));
    assert!(error.contains("stopped by hand") && error.contains("trunkline start t"), "{error}");
    // Also under other settings.
    daemon.configure(&own_server("t", &["--changed"]));
    eventually("they are taken", || daemon.log().contains("changed=[\"t\"]"));
    assert_eq!(daemon.server("t")["state"], "stopped");
    assert!(daemon.run(&["start", "t"]).status.success());
    assert_ne!(agent.server_pid(), first);
    let second = agent.server_pid();
    assert!(daemon.run(&["restart", "t"]).status.success());
    assert_ne!(agent.server_pid(), second);
    let unknown = daemon.run(&["restart", "tt"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("did you mean `t`?"));
}

#[test]
fn a_call_has_its_time_and_a_question_to_the_user_stops_the_clock() {
    let daemon = Daemon::start(&format!("{}call_timeout = \"1s\"\n", own_server("t", &[])));
    let mut agent = daemon.attach("t");
    agent.greet(r#"{"elicitation":{}}"#);
    let error = error_of(&agent.call("1", "hold", r#"{"key":"k"}"#));
    assert!(error.contains("within 1s (call_timeout)"), "{error}");
    let cancelled = text_of(&agent.call("2", "seen", r#"{"what":"call_timeout"}"#));
    assert!(cancelled.contains("notifications/cancelled"), "the server is told: {cancelled}");
    agent.call("3", "release", r#"{"key":"k"}"#);
    agent.send_call("4", "ask", r#"{"id":1,"method":"elicitation/create","params":{}}"#);
    let question = agent.until(|line| line.contains("elicitation/create"));
    let id = crate::support::id_of(&question).expect("an id");
    // Longer than the call may take: two looks of the clock at another call show it.
    let mut other = daemon.agent("t");
    for _ in 0..2 {
        error_of(&other.call("1", "hold", r#"{"key":"o"}"#));
    }
    agent.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"accept"}}}}"#));
    assert!(text_of(&agent.answer("4")).contains("accept"));
}

#[test]
fn what_nobody_uses_stops_and_what_is_used_stays() {
    let daemon = Daemon::start(&format!(
        "[daemon]\nidle_timeout = \"500ms\"\n{}{}start = \"eager\"\n{}",
        own_server("idle", &[]),
        own_server("eager", &[]),
        own_server("subscribed", &[])
    ));
    let mut idle = daemon.agent("idle");
    let mut subscribed = daemon.agent("subscribed");
    subscribed.ask(r#"{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"a:b"}}"#);
    let kept = [daemon.server("subscribed")["instances"][0]["pid"].clone(), {
        eventually("the eager one starts by itself", || daemon.server("eager")["state"] == "ready");
        daemon.server("eager")["instances"][0]["pid"].clone()
    }];
    let first = idle.server_pid();
    eventually("it stops", || daemon.server("idle")["state"] == "idle");
    assert!(!is_alive(first));
    assert_eq!(daemon.server("subscribed")["instances"][0]["pid"], kept[0]);
    assert_eq!(daemon.server("eager")["instances"][0]["pid"], kept[1]);
    assert_ne!(idle.server_pid(), first, "and starts again for the next call");
}

#[test]
fn subscriptions_and_levels_outlive_a_process() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut agent = daemon.agent("t");
    agent.ask(r#"{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"a:b"}}"#);
    agent.ask(r#"{"jsonrpc":"2.0","id":3,"method":"logging/setLevel","params":{"level":"debug"}}"#);
    kill(agent.server_pid());
    // Nobody asks for anything: it is started for those who listen.
    eventually("it is back", || daemon.server("t")["starts"] == 2);
    let mut other = daemon.agent("t");
    eventually("the server is told again", || {
        let seen = text_of(&other.call("9", "seen", r#"{"what":"\"method\""}"#));
        seen.contains("resources/subscribe") && seen.contains("debug")
    });
    other.call("5", "raw", &json!({ "frames": [r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:b"}}"#, r#"{"jsonrpc":"2.0","id":$ID,"result":{}}"#] }).to_string());
    agent.until(|line| line.contains("resources/updated"));
}

#[test]
fn a_hung_server_is_gone_by_the_deadline_with_its_whole_group() {
    // It heeds neither the end of its input nor SIGTERM, and neither does its child.
    let hung = format!(
        "[servers.hung]\ncommand = \"sh\"\nargs = [\"-c\", \"trap '' TERM; sleep 1000 & {} ; while :; do sleep 1000; done\"]\n",
        crate::support::test_server()
    );
    let daemon = Daemon::start(&hung);
    let mut agent = daemon.agent("hung");
    agent.call("1", "echo", "{}");
    let leader = daemon.server("hung")["instances"][0]["pid"].as_u64().expect("a pid");
    assert!(group(leader).len() >= 3, "{:?}", group(leader));
    let begun = Instant::now();
    kill_process(Pid::from_raw(i32::try_from(daemon.pid()).expect("a pid")).expect("a pid"), Signal::TERM)
        .expect("sent");
    eventually("all are gone", || group(leader).is_empty());
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn a_killed_daemon_leaves_no_servers_behind() {
    let npx = peers::npx("server-everything");
    let stubborn = format!(
        "[servers.stubborn]\ncommand = \"sh\"\nargs = [\"-c\", \"trap '' TERM; {} ; while :; do sleep 1000; done\"]\n",
        crate::support::test_server()
    );
    let leaderless = format!(
        "[servers.leaderless]\ncommand = \"sh\"\nargs = [\"-c\", \"(trap '' TERM HUP; while :; do sleep 1000; done) & exec {}\"]\n",
        crate::support::test_server()
    );
    let daemon = Daemon::start(&(peers::entry("npx", &npx, "") + &stubborn + &leaderless + &own_server("t", &[])));
    let names = ["npx", "stubborn", "leaderless", "t"];
    let agents: Vec<Agent> = names.iter().map(|name| daemon.agent(name)).collect();
    let leaders = names.map(|name| daemon.server(name)["instances"][0]["pid"].as_u64().expect("a pid"));
    assert!(group(leaders[0]).len() >= 2, "npx has a child: {:?}", group(leaders[0]));
    let groups: Vec<_> = leaders.iter().flat_map(|leader| group(*leader)).collect();
    let folder = daemon.kill();
    drop(agents);
    // These go by themselves; npx passes the signal on to the server.
    eventually("the obedient ones are gone", || group(leaders[0]).is_empty() && group(leaders[3]).is_empty());
    assert!(!group(leaders[1]).is_empty() && !is_alive(leaders[2]) && !group(leaders[2]).is_empty());
    // A process that has the pid of an old server, but is not it, is left alone.
    let mut innocent = std::process::Command::new("sleep").arg("1000").spawn().expect("started");
    let ledger = folder.path().join("state/ledger");
    let line = std::fs::read_to_string(&ledger).expect("a ledger");
    let boot = line.split(' ').nth(2).expect("a boot id").to_owned();
    std::fs::write(&ledger, format!("{line}{} 1 {boot} x\nnonsense\n", innocent.id())).expect("written");
    let daemon = Daemon::start_in(folder);
    eventually("the next daemon ends the rest", || groups.iter().all(|pid| !is_alive(*pid)));
    assert!(innocent.try_wait().expect("asked").is_none());
    innocent.kill().expect("killed");
    innocent.wait().expect("waited");
    daemon.agent("t").call("1", "echo", "{}");
}

#[test]
fn one_state_folder_has_one_daemon() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let second = daemon.run(&["--socket", &daemon.folder().join("other/s.sock").display().to_string(), "run"]);
    assert_eq!(second.status.code(), Some(1));
    let words = String::from_utf8_lossy(&second.stderr);
    assert!(words.contains("keeps its state in") && words.contains("trunkline status"), "{words}");
}

#[test]
fn a_servers_words_are_kept_over_restarts() {
    let daemon = Daemon::start("[servers.dies]\ncommand = \"sh\"\nargs = [\"-c\", \"echo first words >&2; exit 1\"]\n");
    assert!(!daemon.run(&["tools", "dies"]).status.success());
    let daemon = Daemon::start_in(daemon.restart());
    let logs = daemon.run(&["logs", "dies"]);
    assert!(String::from_utf8_lossy(&logs.stdout).contains("first words"));
    let file = daemon.folder().join("state/logs/dies.log");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).expect("a file").permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn too_many_are_refused_with_the_name_of_the_limit() {
    let daemon = Daemon::start(&format!(
        "{}max_calls = 2\n{}share = \"session\"\nmax_instances = 2\n",
        own_server("calls", &[]),
        own_server("own", &[])
    ));
    let mut agent = daemon.agent("calls");
    agent.send_call("1", "hold", r#"{"key":"k"}"#);
    agent.send_call("2", "hold", r#"{"key":"k"}"#);
    assert!(error_of(&agent.call("3", "echo", "{}")).contains("max_calls"));
    let (one, _two) = (daemon.agent("own"), daemon.agent("own"));
    let mut third = daemon.attach("own");
    assert!(error_of(&third.ask(&crate::support::legacy("{}"))).contains("max_instances"));
    drop(one);
    let end = Instant::now() + PATIENCE;
    while third.ask(&crate::support::legacy("{}")).contains("max_instances") {
        assert!(Instant::now() < end, "a place is free once an agent left");
    }
}
