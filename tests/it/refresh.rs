//! Tokens that end: refreshed once for everybody, saved before they are used, and lost in one case only.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{AuthServer, Daemon, error_of, eventually, text_of};

fn daemon(server: &AuthServer) -> Daemon {
    let daemon = Daemon::start(&server.entry("guarded", ""));
    daemon.log_in("guarded");
    daemon
}

/// Agents that call as often as they can until it is over; returns how many calls were answered, and what else was said.
fn storm(daemon: &Daemon, agents: usize, each: usize, over: &AtomicBool) -> (usize, Vec<String>) {
    let done = AtomicUsize::new(0);
    let errors = std::thread::scope(|scope| {
        let work = |number: usize| {
            let mut agent = daemon.agent("guarded");
            let mut errors = Vec::new();
            while !over.load(Ordering::Relaxed) {
                // All at once, and then all the answers.
                for call in 0..each {
                    agent.send_call(&format!("\"{number}/{call}\""), "echo", r#"{"x":1}"#);
                }
                for answer in agent.answers(each).into_values() {
                    if answer.contains(r#"{\"x\":1}"#) {
                        done.fetch_add(1, Ordering::Relaxed);
                    } else {
                        errors.push(answer);
                    }
                }
            }
            errors
        };
        let threads: Vec<_> = (0..agents).map(|number| scope.spawn(move || work(number))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    (done.into_inner(), errors)
}

/// Lets the token end without anybody asking for the next one.
fn let_it_end() {
    std::thread::sleep(Duration::from_secs(6));
}

#[test]
fn five_hundred_callers_and_one_refresh() {
    let server = AuthServer::start();
    let daemon = daemon(&server);
    let mut agents: Vec<_> = (0..50).map(|_| daemon.agent("guarded")).collect();
    let_it_end();
    // The next token lives long, so that only the storm asks for one.
    server.faults(&json!({ "ttl": 3600 }));
    server.forget_log();
    for round in 0..10 {
        agents.iter_mut().for_each(|agent| agent.send_call(&round.to_string(), "whoami", "{}"));
    }
    for agent in &agents {
        assert!(agent.answers(10).values().all(|answer| text_of(answer).contains("tester")));
    }
    let refreshed = server.grants("refresh_token");
    assert_eq!(refreshed.len(), 1, "{refreshed:?}");
    assert_eq!(refreshed[0]["resource"], server.mcp);
    assert!(server.log("mcp").iter().all(|entry| entry["status"] != 401), "nobody was sent away");
}

#[test]
fn a_storm_of_401_is_one_refresh_and_one_retry_each() {
    let server = AuthServer::start();
    server.faults(&json!({ "ttl": 3600 }));
    let daemon = daemon(&server);
    let mut agents: Vec<_> = (0..20).map(|_| daemon.agent("guarded")).collect();
    agents.iter_mut().for_each(|agent| drop(agent.call("0", "echo", "{}")));
    server.forget_log();
    server.faults(&json!({ "mcp_status": 401, "mcp_times": 100 }));
    for round in 1..=5 {
        agents.iter_mut().for_each(|agent| agent.send_call(&round.to_string(), "whoami", "{}"));
    }
    for agent in &agents {
        assert!(agent.answers(5).values().all(|answer| text_of(answer).contains("tester")));
    }
    assert_eq!(server.grants("refresh_token").len(), 1);
    let refused = server.log("mcp").iter().filter(|entry| entry["status"] == 401).count();
    assert_eq!(refused, 100, "each was sent away once");
}

#[test]
fn twenty_agents_on_short_lived_tokens_never_log_in_again() {
    let server = AuthServer::start();
    server.faults(&json!({ "ttl": 2 }));
    let daemon = daemon(&server);
    let over = AtomicBool::new(false);
    let (done, errors) = std::thread::scope(|scope| {
        let storm = scope.spawn(|| storm(&daemon, 20, 2, &over));
        std::thread::sleep(Duration::from_secs(20));
        over.store(true, Ordering::Relaxed);
        storm.join().expect("no panic")
    });
    assert_eq!(errors, [] as [String; 0]);
    let refreshes = server.grants("refresh_token");
    assert!(refreshes.iter().all(|entry| entry["status"] == 200), "{refreshes:?}");
    // One for each life, and no more: 20 s of tokens that are renewed between 1.5 and 1.75 s.
    assert!((10..=14).contains(&refreshes.len()) && done > 500, "{} refreshes, {done} calls", refreshes.len());
    assert_eq!(server.grants("authorization_code").len(), 1);
}

#[test]
fn callers_that_leave_and_a_slow_authorization_server_lose_nothing() {
    let server = AuthServer::start();
    let daemon = daemon(&server);
    let mut stays = daemon.agent("guarded");
    for round in 0..3 {
        let_it_end();
        server.faults(&json!({ "token_delay_ms": 700 }));
        let before = server.grants("refresh_token").len();
        let mut leaves: Vec<_> = (0..10).map(|_| daemon.agent("guarded")).collect();
        leaves.iter_mut().for_each(|agent| agent.send_call("1", "whoami", "{}"));
        eventually("the refresh is under way", || server.grants("refresh_token").len() > before);
        // Half of them cancel, half hang up, while the token endpoint is at it.
        for agent in leaves.iter_mut().step_by(2) {
            agent.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
        }
        drop(leaves);
        assert!(text_of(&stays.call(&round.to_string(), "whoami", "{}")).contains("tester"));
        server.faults(&json!({ "reset": true }));
    }
    assert!(server.grants("refresh_token").iter().all(|entry| entry["status"] == 200));
    let folder = daemon.restart();
    let daemon = Daemon::start_in(folder);
    let_it_end();
    assert!(
        text_of(&daemon.agent("guarded").call("1", "whoami", "{}")).contains("tester"),
        "and the next daemon has it too"
    );
}

#[test]
fn a_daemon_that_is_killed_keeps_the_login() {
    let server = AuthServer::start();
    server.faults(&json!({ "ttl": 2 }));
    let mut daemon = daemon(&server);
    for round in 0..3 {
        // Where there is a new token, it is saved before it is used.
        assert!(text_of(&daemon.agent("guarded").call("1", "whoami", "{}")).contains("tester"), "round {round}");
        daemon = Daemon::start_in(daemon.kill());
        // While the authorization server is being asked, and has done nothing yet.
        let mut agent = daemon.agent("guarded");
        let asked = server.grants("refresh_token").len();
        server.faults(&json!({ "token_hang": true, "token_times": 1 }));
        eventually("a refresh is under way", || {
            agent.send_call("2", "echo", "{}");
            server.grants("refresh_token").len() > asked
        });
        daemon = Daemon::start_in(daemon.kill());
    }
    assert!(text_of(&daemon.agent("guarded").call("1", "whoami", "{}")).contains("tester"));
    assert_eq!(server.grants("authorization_code").len(), 1);
}

#[test]
fn the_one_window_in_which_a_login_is_lost_ends_in_one_clear_word() {
    let server = AuthServer::start();
    let daemon = daemon(&server);
    // The authorization server does its work, and nobody hears of it: what a power cut in that moment leaves behind.
    let mut agent = daemon.agent("guarded");
    server.faults(&json!({ "token_lost": true, "token_times": 1 }));
    let_it_end();
    eventually("the login is known to be lost", || agent.call("1", "whoami", "{}").contains("needs a login"));
    let before = server.grants("refresh_token").len();
    for id in 2..12 {
        let error = error_of(&agent.call(&id.to_string(), "whoami", "{}"));
        assert!(error.contains("invalid_grant") && error.contains("trunkline login guarded"), "{error}");
    }
    assert_eq!(server.grants("refresh_token").len(), before, "nobody asks in vain");
    assert_eq!(daemon.login_state("guarded")["state"], "needs_login");
    daemon.log_in("guarded");
    assert!(text_of(&agent.call("13", "whoami", "{}")).contains("tester"));
}

#[test]
fn an_authorization_server_that_is_down_is_not_pressed() {
    let server = AuthServer::start();
    let daemon = daemon(&server);
    let mut agent = daemon.agent("guarded");
    let_it_end();
    server.forget_log();
    server.faults(&json!({ "token_status": 503, "retry_after": 3 }));
    let begun = Instant::now();
    let mut said = String::new();
    while begun.elapsed() < Duration::from_millis(2500) {
        said = error_of(&agent.call("1", "whoami", "{}"));
        assert!(said.contains("503") && !said.contains("login"), "{said}");
    }
    assert!(said.contains("asked again in"), "{said}");
    assert_eq!(server.grants("refresh_token").len(), 1, "Retry-After is heeded");
    assert_eq!(daemon.login_state("guarded")["state"], "ok", "and the login kept");
    server.faults(&json!({ "reset": true }));
    eventually("it is asked again, and answers", || agent.call("2", "whoami", "{}").contains("tester"));
}

#[test]
fn a_refresh_that_brings_no_refresh_token_keeps_the_old_one() {
    let server = AuthServer::start();
    server.faults(&json!({ "drop_refresh_token": true }));
    let daemon = daemon(&server);
    // The login itself had none, so that there is nothing to keep.
    let mut agent = daemon.agent("guarded");
    eventually("the token ends", || agent.call("1", "whoami", "{}").contains("needs a login"));
    server.faults(&json!({ "reset": true }));
    daemon.log_in("guarded");
    for round in 0..2 {
        server.faults(&json!({ "drop_refresh_token": true, "token_times": 1 }));
        let_it_end();
        assert!(text_of(&agent.call(&format!("{round}"), "whoami", "{}")).contains("tester"));
    }
    assert_eq!(server.grants("authorization_code").len(), 2);
}
