//! Fifty agents at work while every second something is killed or rewritten.
//!
//! `TRUNKLINE_CHAOS=120` has it last two minutes instead of fifteen seconds.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Agent, Daemon, eventually, id_of, kill, own_server};

const AGENTS: usize = 50;
const SERVERS: [&str; 4] = ["s0", "s1", "s2", "s3"];

/// What became of the calls of one agent.
#[derive(Default)]
struct Tally {
    /// Keys that were answered with a result.
    done: Vec<String>,
    failed: usize,
    reasons: HashMap<String, usize>,
}

fn config(folder: &Path, round: usize) -> String {
    let journal = format!("--journal={}", folder.join("journal").display());
    let extra = if round.is_multiple_of(2) { String::new() } else { own_server("extra", &[]) };
    let server = |name: &&str| {
        // One of them changes from round to round.
        let changing = format!("--round={}", if *name == "s3" { round } else { 0 });
        own_server(name, &[&journal, &changing])
    };
    SERVERS.iter().map(server).collect::<String>() + &extra
}

fn work(agent: &mut Agent, number: usize, over: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    let mut call = 0;
    while !over.load(Ordering::Relaxed) {
        call += 1;
        let (id, key) = (format!("\"{number}-{call}\""), format!("{number}-{call}"));
        let server = SERVERS[(number + call) % SERVERS.len()];
        let answer = agent.call(&id, &format!("{server}__mark"), &format!(r#"{{"key":"{key}"}}"#));
        if answer.contains(r#""result""#) {
            assert!(answer.contains(&format!(r#""text":"{key}""#)), "{answer} for {key}");
            tally.done.push(key);
        } else {
            assert!(answer.contains(r#""error""#), "{answer}");
            tally.failed += 1;
            let reason: String = answer.split("message").nth(1).unwrap_or_default().chars().skip(3).take(60).collect();
            *tally.reasons.entry(reason).or_default() += 1;
            // What failed is not tried again at once by any sensible agent.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    tally
}

fn files_of(pid: u64) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Every second ends something, or rewrites the configuration.
fn rage(daemon: &Daemon, lasts: Duration) {
    let end = Instant::now() + lasts;
    let mut round = 0;
    while Instant::now() < end {
        std::thread::sleep(Duration::from_secs(1));
        round += 1;
        match round % 3 {
            0 => daemon.configure(&config(daemon.folder(), round)),
            1 => {
                let output = daemon.run(&["status", "--json"]);
                let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
                let name = SERVERS[round / 3 % SERVERS.len()];
                let servers = status["servers"].as_array().cloned().unwrap_or_default();
                let pid =
                    servers.iter().find(|server| server["name"] == name).map(|server| &server["instances"][0]["pid"]);
                pid.and_then(serde_json::Value::as_u64).into_iter().for_each(kill);
            }
            _ => {
                let holder = fs::read_to_string(daemon.folder().join("run/trunkline.lock")).unwrap_or_default();
                holder.parse().into_iter().for_each(kill);
            }
        }
    }
}

/// Nothing was carried out twice, and what was answered was carried out.
fn check_calls(folder: &Path, tallies: &[Tally]) {
    let journal = fs::read_to_string(folder.join("journal")).expect("a journal");
    let mut carried_out: HashMap<&str, usize> = HashMap::new();
    journal.lines().for_each(|key| *carried_out.entry(key).or_default() += 1);
    let twice: Vec<_> = carried_out.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "carried out more than once: {twice:?}");
    let done: usize = tallies.iter().map(|tally| tally.done.len()).sum();
    let failed: usize = tallies.iter().map(|tally| tally.failed).sum();
    assert!(tallies.iter().all(|tally| tally.done.iter().all(|key| carried_out.contains_key(key.as_str()))));
    let mut reasons: HashMap<&str, usize> = HashMap::new();
    for (reason, times) in tallies.iter().flat_map(|tally| &tally.reasons) {
        *reasons.entry(reason).or_default() += times;
    }
    eprintln!("{done} calls done, {failed} failed: {reasons:#?}");
    assert!(tallies.iter().all(|tally| !tally.done.is_empty()), "every agent got something done");
}

#[test]
fn fifty_agents_go_on_whatever_is_killed() {
    let lasts = std::env::var("TRUNKLINE_CHAOS").ok().and_then(|text| text.parse().ok()).unwrap_or(15);
    let daemon = Daemon::not_started("");
    let folder = daemon.folder().to_owned();
    daemon.configure(&config(&folder, 0));
    let mut agents: Vec<Agent> = (0..AGENTS).map(|_| daemon.shim(&[])).collect();
    for agent in &mut agents {
        agent.greet("{}");
    }
    let shims: Vec<u64> = agents.iter().map(|agent| u64::from(agent.child_id())).collect();
    let files_before: Vec<usize> = shims.iter().map(|pid| files_of(*pid)).collect();
    let over = AtomicBool::new(false);
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let threads: Vec<_> = agents
            .iter_mut()
            .enumerate()
            .map(|(number, agent)| {
                let over = &over;
                scope.spawn(move || work(agent, number, over))
            })
            .collect();
        rage(&daemon, Duration::from_secs(lasts));
        over.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().expect("no agent failed")).collect()
    });

    check_calls(&folder, &tallies);

    // Every agent's connection is the one that it began with, and nothing that it did not ask for is left in it.
    for agent in &mut agents {
        agent.send(r#"{"jsonrpc":"2.0","id":"last","method":"ping"}"#);
        loop {
            let line = agent.line();
            match id_of(&line).as_deref() {
                Some("\"last\"") => break,
                Some(id) => panic!("a second answer to {id}: {line}"),
                None => assert!(line.contains("list_changed"), "{line}"),
            }
        }
    }
    let files_after: Vec<usize> = shims.iter().map(|pid| files_of(*pid)).collect();
    assert_eq!(files_before, files_after, "the shims hold as many files as before");

    // What runs now is what the daemon knows of.
    eventually("all sessions are there", || daemon.status()["sessions"].as_array().map(Vec::len) == Some(AGENTS));
    let last = daemon.status();
    let daemon_pid = last["pid"].as_u64().expect("a pid");
    drop(agents);
    eventually("all sessions are gone", || daemon.status()["sessions"] == serde_json::json!([]));
    let instances = || {
        let status = daemon.status();
        let servers = status["servers"].as_array().expect("servers").clone();
        servers.iter().map(|server| server["instances"].as_array().map_or(0, Vec::len)).sum::<usize>()
    };
    eventually("the processes are those of the servers", || ours(&folder) == instances());
    // Runtime, log, socket, lock, ledger and watch; four for each server and its log.
    let most = 40 + 4 * SERVERS.len();
    eventually("its files are closed", || files_of(daemon_pid) <= most);
    assert!(daemon.run(&["shutdown"]).status.success());
    assert_eq!(ours(&folder), 0, "nothing is left");
}

/// How many servers run that keep their journal in `folder`.
fn ours(folder: &Path) -> usize {
    let mark = folder.display().to_string();
    let all = fs::read_dir("/proc").expect("/proc").filter_map(|entry| Some(entry.ok()?.path().join("cmdline")));
    all.filter(|path| {
        let words = fs::read(path).unwrap_or_default();
        let words = String::from_utf8_lossy(&words);
        words.contains("test-server") && words.contains(&mark)
    })
    .count()
}
