//! What the tests stand on: a daemon of their own, agents, and the servers.

mod agent;
mod auth_server;
mod daemon;
pub(crate) mod home;
pub(crate) mod http;
mod http_agent;
pub(crate) mod keyring;
pub(crate) mod mock;
pub(crate) mod peers;
mod served;
mod speaker;

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

pub(crate) use agent::{Agent, error_of, id_of, legacy, modern, params_of, strip_id, text_of};
pub(crate) use auth_server::{AuthServer, browse, redirect_of};
pub(crate) use daemon::{Daemon, command, trunkline, undisturbed};
pub(crate) use http_agent::Endpoint;
pub(crate) use served::Served;
pub(crate) use speaker::{Era, Face, Speaker, WAIT};

/// The longest that any test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The tests' own server, built by `cargo test` beside the program.
pub(crate) fn test_server() -> String {
    example("test-server")
}

/// A program of the tests' own.
pub(crate) fn example(name: &str) -> String {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_trunkline"));
    let server = program.with_file_name("examples").join(name);
    assert!(
        server.exists(),
        "{} is missing: run plain `cargo test`, which builds it, or `cargo build --examples`",
        server.display()
    );
    server.display().to_string()
}

/// Configuration of one server that is the tests' own.
pub(crate) fn own_server(name: &str, words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("[servers.{name}]\ncommand = {:?}\nargs = [\"--name={name}\", {}]\n", test_server(), words.join(", "))
}

/// Tries until it holds; says what did not when patience ends.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < end, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Kills a process, if it has not ended by itself.
pub(crate) fn kill(pid: u64) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    if let Err(error) = kill_process(pid, Signal::KILL) {
        assert_eq!(error, rustix::io::Errno::SRCH, "it may have ended by itself");
    }
}
