//! The daemon under a service manager: a real `systemd --user`, `systemd-socket-activate`, and what launchd would read.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Agent, eventually, own_server, peers, text_of, trunkline};

/// A process that does not outlive its test.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn repository(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// The words of a program, which must succeed and say nothing on standard error.
fn said(program: &str, words: &[&str]) -> String {
    let output = Command::new(program)
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; run `tests/run`, which installs what the tests need"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{program} {words:?}: {} {errors}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn systemctl(words: &[&str]) -> String {
    said("systemctl", &[&["--user"], words].concat())
}

fn main_pid() -> i32 {
    systemctl(&["show", "--value", "--property=MainPID", "trunkline.service"]).parse().expect("a pid")
}

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).expect("a pid"), signal).expect("sent");
}

fn shim() -> Agent {
    let mut agent = Agent::process(Command::new(env!("CARGO_BIN_EXE_trunkline")).args(["connect", "t"]));
    agent.greet("{}");
    agent
}

/// Calls until the answer is a result: a call that was in flight when the daemon ended is an error.
fn echo(agent: &mut Agent) {
    eventually("a call is answered", || agent.call("\"echo\"", "echo", "{}").contains("content"));
}

#[test]
fn in_a_real_user_manager() {
    let test = std::env::current_exe().expect("the test program");
    let output = Command::new(repository("tests/user-manager"))
        .arg(test)
        .args(["--ignored", "--exact", "--nocapture", "service::inside_the_user_manager"])
        .stdin(Stdio::null())
        .output()
        .expect("started");
    let words = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success() && words[0].contains("1 passed"), "{}\n{}", words[0], words[1]);
}

#[test]
#[ignore = "run by `in_a_real_user_manager`, inside of it"]
fn inside_the_user_manager() {
    let home = PathBuf::from(std::env::var_os("HOME").expect("set"));
    let units = home.join(".config/systemd/user");
    fs::create_dir_all(home.join(".config/trunkline")).expect("created");
    fs::write(home.join(".config/trunkline/config.toml"), own_server("t", &[])).expect("written");
    without_units();
    let (program, service) = install(&home, &units);

    // The first connection starts it.
    let mut agent = shim();
    echo(&mut agent);
    let first = main_pid();
    assert_ne!(first, 0);
    let state: Value = serde_json::from_str(&text_of(&agent.call("1", "state", "{}"))).expect("JSON");
    let environment = state["environment"].as_object().expect("variables");
    let path = environment["PATH"].as_str().expect("text");
    assert!(path.starts_with(&format!("{}/my/bin:", home.display())), "the login shell's: {path}");
    assert_eq!(environment["HTTPS_PROXY"], "http://127.0.0.1:9/$x", "kept when the service was installed");
    let managers =
        |name: &&String| name.starts_with("LISTEN_") || name.starts_with("WATCHDOG_") || *name == "NOTIFY_SOCKET";
    assert!(!environment.keys().any(|name| managers(&name)), "{environment:?}");

    // What is shut down stays down until the agent wants something.
    said(env!("CARGO_BIN_EXE_trunkline"), &["shutdown"]);
    eventually("the manager sees its end", || main_pid() == 0);
    let state = ["show", "--value", "--property=ActiveState", "trunkline.service"];
    assert_eq!(systemctl(&state), "inactive");
    echo(&mut agent);
    let first = main_pid();

    // A killed daemon is started again, and a reload is one.
    signal(first, Signal::KILL);
    echo(&mut agent);
    let second = main_pid();
    assert_ne!(second, first);
    systemctl(&["reload", "trunkline.service"]);
    assert_eq!(main_pid(), second);

    // A restart loses nobody.
    systemctl(&["reset-failed"]);
    let mut agents: Vec<Agent> = (0..20).map(|_| shim()).collect();
    systemctl(&["restart", "trunkline.service"]);
    agents.iter_mut().for_each(echo);
    let third = main_pid();
    assert_ne!(third, second);

    // A new program takes over when nothing is in flight, and loses nobody either.
    let new = home.join("bin/new");
    fs::copy(env!("CARGO_BIN_EXE_trunkline"), &new).expect("copied");
    fs::rename(&new, &program).expect("renamed");
    let number = |path: &Path| fs::metadata(path).map(|found| found.ino()).ok();
    eventually("the new program runs", || {
        // The old one has ended: the socket starts the new one for whoever asks. One that just ends may not answer any more.
        drop(Command::new(env!("CARGO_BIN_EXE_trunkline")).arg("status").output().expect("started"));
        let runs = format!("/proc/{}/exe", main_pid());
        number(&program).is_some() && number(Path::new(&runs)) == number(&program)
    });
    agents.iter_mut().for_each(echo);

    a_daemon_that_hangs_is_noticed(&units, &mut agent);

    // What was stopped on purpose ends in order, with its servers.
    drop((agent, agents));
    systemctl(&["stop", "trunkline.socket", "trunkline.service"]);
    assert_eq!(systemctl(&["show", "--value", "--property=Result", "trunkline.service"]), "success");

    // Uninstalled, it leaves nothing, and agents start a daemon by themselves.
    said(&program.display().to_string(), &["service", "uninstall"]);
    assert!(!service.exists() && !units.join("trunkline.socket").exists());
    let left = Command::new("systemctl").args(["--user", "list-unit-files", "--no-legend", "trunkline.*"]).output();
    assert!(left.expect("started").stdout.is_empty(), "no unit is left");
    echo(&mut shim());
    said(env!("CARGO_BIN_EXE_trunkline"), &["shutdown"]);
}

/// The program installs itself, from where it lies.
fn install(home: &Path, units: &Path) -> (PathBuf, PathBuf) {
    let program = home.join("bin/trunkline");
    fs::create_dir_all(home.join("bin")).expect("created");
    fs::copy(env!("CARGO_BIN_EXE_trunkline"), &program).expect("copied");
    fs::write(home.join(".profile"), "echo hello\nexport PATH=$HOME/my/bin:$PATH\n").expect("written");
    let only_here = Command::new(&program)
        .args(["service", "install", "--yes"])
        .env("HTTPS_PROXY", "http://127.0.0.1:9/$x")
        .output();
    let only_here = only_here.expect("started");
    let told = String::from_utf8_lossy(&only_here.stdout).into_owned();
    assert!(only_here.status.success() && told.contains("The daemon is a service now"), "{only_here:?}");
    assert!(told.contains("HTTPS_PROXY=http://127.0.0.1:9/$x"), "what a service would not have is shown: {told}");
    let service = units.join("trunkline.service");
    let text = fs::read_to_string(&service).expect("written");
    assert!(text.contains(&format!("ExecStart={} run", program.display())), "{text}");
    said(
        "systemd-analyze",
        &["verify", "--user", "--man=no", "--recursive-errors=yes", &service.display().to_string()],
    );
    assert_ne!(main_pid(), 0);
    assert_eq!(systemctl(&["is-active", "trunkline.socket"]), "active");
    assert_eq!(systemctl(&["is-enabled", "trunkline.socket"]), "enabled");
    let standing = said(&program.display().to_string(), &["service", "status", "--json"]);
    assert!(standing.contains("\"running\":true") && standing.contains("\"enabled\":true"), "{standing}");
    // The socket stays, and systemd says so.
    let stopped = Command::new("systemctl").args(["--user", "stop", "trunkline.service"]).output().expect("started");
    assert!(stopped.status.success() && main_pid() == 0, "nobody has asked for it");
    (program, service)
}

fn a_daemon_that_hangs_is_noticed(units: &Path, agent: &mut Agent) {
    systemctl(&["reset-failed"]);
    fs::create_dir_all(units.join("trunkline.service.d")).expect("created");
    fs::write(units.join("trunkline.service.d/short.conf"), "[Service]\nWatchdogSec=1\n").expect("written");
    systemctl(&["daemon-reload"]);
    systemctl(&["restart", "trunkline.service"]);
    echo(agent);
    let hung = main_pid();
    signal(hung, Signal::STOP);
    eventually("another one takes over", || ![0, hung].contains(&main_pid()));
    echo(agent);
    assert!(said("journalctl", &["--no-pager"]).contains("Watchdog timeout"));
}

/// A daemon that a shim has started is the service manager's, where there is one: it outlives all that is the agent's.
fn without_units() {
    let mut agent = shim();
    echo(&mut agent);
    let status = said(env!("CARGO_BIN_EXE_trunkline"), &["status", "--json"]);
    let daemon = serde_json::from_str::<Value>(&status).expect("JSON")["pid"].clone();
    let group = |pid: &Value| fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    let own = group(&daemon);
    assert!(own.trim_end().ends_with(".service") && own.contains("/trunkline-"), "a unit of its own: {own}");
    assert_ne!(own, group(&agent.child_id().into()), "not the agent's");
    drop(agent);
    said(env!("CARGO_BIN_EXE_trunkline"), &["shutdown"]);
    eventually("nothing of the unit is left", || {
        systemctl(&["list-units", "--all", "--plain", "--no-legend", "trunkline-*"]).is_empty()
    });
}

#[test]
fn a_socket_that_somebody_else_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    fs::DirBuilder::new().mode(0o700).create(&run).expect("created");
    fs::write(folder.path().join("config.toml"), own_server("t", &[])).expect("written");
    let socket = run.join("trunkline.sock");
    let place = |name: &str, file: &str| format!("{name}={}", folder.path().join(file).display());
    let mut activated = Started(
        Command::new("systemd-socket-activate")
            .arg(format!("--listen={}", socket.display()))
            .args(["-E", &place("TRUNKLINE_CONFIG", "config.toml"), "-E", &place("TRUNKLINE_STATE_DIR", "state")])
            .args([env!("CARGO_BIN_EXE_trunkline"), "run"])
            .stderr(Stdio::null())
            .spawn()
            .expect("systemd-socket-activate, which `tests/run` installs"),
    );
    // The file is there a moment before it can be connected to.
    eventually("it listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let mut agent = Agent::socket(&socket);
    let attached = agent.ask(r#"{"jsonrpc":"2.0","id":0,"method":"daemon.attach","params":{"server":"t"}}"#);
    assert!(attached.contains("session"), "{attached}");
    agent.greet("{}");
    agent.call("1", "echo", "{}");
    assert!(trunkline(folder.path(), &["shutdown"]).status.success());
    assert!(activated.0.wait().expect("waited").success());
    assert!(socket.exists(), "it belongs to who made it");
}

#[test]
fn what_launchd_reads() {
    let script = "import json, plistlib, sys; print(json.dumps(plistlib.load(open(sys.argv[1], 'rb'))))";
    let plist = repository("launchd/org.trunkline.daemon.plist");
    let parsed = said(&peers::python().display().to_string(), &["-c", script, &plist.display().to_string()]);
    let plist: Value = serde_json::from_str(&parsed).expect("JSON");
    let socket = &plist["Sockets"]["trunkline"];
    assert_eq!(socket["SockPathMode"], 0o600);
    assert!(socket["SockPathName"].as_str().is_some_and(|path| path.ends_with("/trunkline.sock")));
    assert_eq!(plist["KeepAlive"], serde_json::json!({ "SuccessfulExit": false }));
    assert!(plist["ThrottleInterval"].is_u64() && plist["SoftResourceLimits"]["NumberOfFiles"].is_u64());
    assert_eq!(plist["ProcessType"], "Interactive");
    assert_eq!(plist["ProgramArguments"][1], "run");
}
