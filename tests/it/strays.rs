//! What a server leaves behind: processes of other sessions, and containers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Daemon, eventually, test_server};

/// The pids in a file, without those that are gone.
fn living(file: &Path) -> Vec<u32> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let pids = text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).is_some_and(|state| state != 'Z')
    })
    .collect()
}

/// A server beside which a process goes on that each of these commands starts.
fn with_strays(file: &Path, ways: &[&str]) -> String {
    let stray = format!("sh -c 'echo $$ >> {}; exec sleep 600'", file.display());
    let started = ways.iter().map(|way| format!("({way} {stray} &) & ")).collect::<String>();
    let script = format!("{started} exec {} --name=t", test_server());
    format!("[servers.t]\ncommand = \"/bin/sh\"\nargs = [\"-c\", {script:?}]\n")
}

/// Ways out of a server's reach: another session, no environment, no parent, and all of them.
const WAYS: [&str; 4] = [
    "setsid",
    "env -i PATH=/usr/bin:/bin",
    "env -i PATH=/usr/bin:/bin setsid",
    "setsid setsid --fork env -i PATH=/usr/bin:/bin",
];

#[test]
fn what_left_its_group_ends_with_its_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pids");
    let daemon = Daemon::start(&with_strays(&file, &WAYS));
    let start = |daemon: &Daemon| {
        assert!(daemon.agent("t").server_pid() > 0);
        eventually("all are there", || living(&file).len() == WAYS.len());
    };
    start(&daemon);
    assert!(daemon.run(&["stop", "t"]).status.success());
    eventually("they end when their server is stopped", || living(&file).is_empty());
    assert!(daemon.run(&["start", "t"]).status.success());
    start(&daemon);
    let folder = daemon.restart();
    assert!(living(&file).is_empty(), "they end with the daemon");
    let daemon = Daemon::start_in(folder);
    start(&daemon);
    let folder = daemon.kill();
    eventually("they end soon after a daemon that was killed", || living(&file).is_empty());
    drop(folder);
}

#[test]
fn what_another_daemon_marked_is_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pids");
    // The test stands for another daemon, which runs.
    let stat = fs::read_to_string("/proc/self/stat").expect("read");
    let started = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(19)).expect("a time");
    let other = format!("setsid env TRUNKLINE_DAEMON={}-{started}.1", std::process::id());
    let daemon = Daemon::start(&with_strays(&file, &["setsid", "setsid env TRUNKLINE_DAEMON=1-1.1", &other]));
    assert!(daemon.agent("t").server_pid() > 0);
    eventually("all are there", || living(&file).len() == 3);
    assert!(daemon.run(&["stop", "t"]).status.success());
    eventually("they end with the server, whatever a daemon that is gone may be called", || living(&file).len() == 1);
    drop(daemon.restart());
    let left = living(&file);
    assert_eq!(left.len(), 1, "the other one is not this daemon's");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(left[0].cast_signed()).expect("a pid"),
        rustix::process::Signal::KILL,
    )
    .expect("ended");
}

#[test]
fn a_container_that_its_program_left_behind_is_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (docker, calls) = (folder.path().join("docker"), folder.path().join("calls"));
    // Stands for docker: `run` is a server, and `ps` knows a container as long as nobody has removed it.
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {calls}\ncase $1 in\n run) exec {server} --name=t;;\n ps) grep -q '^rm' {calls} || echo 0f3a;;\nesac\n",
        calls = calls.display(),
        server = test_server()
    );
    fs::write(&docker, script).expect("written");
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755)).expect("changed");
    let config =
        format!("[servers.t]\ncommand = {:?}\nargs = [\"run\", \"-i\", \"image\"]\n", docker.display().to_string());
    let said = || fs::read_to_string(&calls).unwrap_or_default();
    let daemon = Daemon::start(&config);
    assert!(daemon.agent("t").server_pid() > 0);
    let label =
        said().split_whitespace().find_map(|word| word.strip_prefix("--label=").map(str::to_owned)).expect("a label");
    assert!(said().starts_with(&format!("run --label={label} -i image")), "{}", said());
    assert!(daemon.run(&["stop", "t"]).status.success());
    eventually("it is found and removed", || {
        said().contains(&format!("label={label}")) && said().contains("rm --force 0f3a")
    });
    // The same for one that a killed daemon had.
    fs::write(&calls, "").expect("written");
    assert!(daemon.run(&["start", "t"]).status.success());
    assert!(daemon.agent("t").server_pid() > 0);
    eventually("it runs again", || said().contains("run --label="));
    let daemon = Daemon::start_in(daemon.kill());
    eventually("it is removed", || said().contains("rm --force 0f3a"));
    drop(daemon);
}
