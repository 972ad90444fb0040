//! Whoever has shown nothing keeps nobody out: on the socket, over HTTP, at the page of a login.

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::http::{begin, post};
use crate::support::{AuthServer, Daemon, browse, command, eventually, own_server, redirect_of, text_of};

/// More than there are places for connections that have shown nothing.
const MANY: usize = 600;

/// Whether the daemon has closed a connection.
fn is_closed(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("set");
    !matches!(stream.read(&mut [0; 1]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

fn descriptors(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it lives").count()
}

/// The soft and the hard limit on open files of a process.
fn limits(pid: u64) -> (u64, u64) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it lives");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    let mut numbers = line.split_whitespace().filter_map(|word| word.parse().ok());
    (numbers.next().expect("soft"), numbers.next().expect("hard"))
}

#[test]
fn agents_attach_beside_silent_connections() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let silent: Vec<_> = (0..MANY).map(|_| UnixStream::connect(daemon.socket()).expect("connected")).collect();
    let mut agent = daemon.agent("t");
    assert!(text_of(&agent.call("1", "echo", "{}")).contains("echo"));
    let mut said = String::new();
    silent[0].set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    (&silent[0]).read_to_string(&mut said).expect("the oldest is closed");
    assert!(said.contains("before many others came"), "{said}");
    eventually("no more are open than there are places", || descriptors(&daemon) < 400);
    drop(silent);
}

#[test]
fn agents_come_in_over_http_beside_silent_connections() {
    let daemon = Daemon::start(&format!("[http]\nlisten = \"127.0.0.1:0\"\n{}", own_server("t", &[])));
    let endpoint = daemon.endpoint(Some("t"));
    let silent: Vec<_> = (0..MANY).map(|_| TcpStream::connect(&endpoint.authority).expect("connected")).collect();
    let session = begin(&endpoint);
    let ping = r#"{"jsonrpc":"2.0","id":5,"method":"ping"}"#;
    assert!(post(&endpoint, &[("Mcp-Session-Id", &session)], ping).body.contains("result"));
    assert!(is_closed(&silent[0]), "the oldest goes");
    assert!(!is_closed(&silent[MANY - 1]), "and not all of them");
    // One that has shown the token may be silent.
    let known = TcpStream::connect(&endpoint.authority).expect("connected");
    let head = format!(
        "GET /healthz HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
        endpoint.authority, endpoint.token
    );
    std::io::Write::write_all(&mut &known, head.as_bytes()).expect("sent");
    (&known).read_exact(&mut [0; 15]).expect("an answer");
    eventually("who shows nothing is gone", || is_closed(&silent[MANY - 1]));
    known.shutdown(Shutdown::Write).expect("still open");
}

#[test]
fn a_login_ends_well_beside_silent_connections() {
    let server = AuthServer::start();
    let daemon = Daemon::start(&server.entry("guarded", ""));
    let url = daemon.begin_login("guarded");
    let redirect = redirect_of(&url);
    let place = redirect.trim_start_matches("http://").split('/').next().expect("a place").to_owned();
    let before = descriptors(&daemon);
    let silent: Vec<_> = (0..MANY).map(|_| TcpStream::connect(&place).expect("connected")).collect();
    let (page, _) = browse(&url);
    assert!(page.contains("Logged in"), "{page}");
    eventually("the oldest is closed", || is_closed(&silent[0]));
    eventually("the descriptors come back", || descriptors(&daemon) < before + 100);
}

#[test]
fn the_limit_on_open_files_is_raised_for_the_daemon_alone() {
    let daemon = Daemon::start("");
    let (soft, hard) = limits(u64::from(daemon.pid()));
    assert_eq!(soft, hard);
    // Started with a low limit, it has the high one, and its servers the low one.
    let folder = tempfile::tempdir().expect("a folder");
    let config = crate::support::undisturbed(&own_server("t", &[]));
    std::fs::write(folder.path().join("config.toml"), config).expect("written");
    let program = command(folder.path());
    let mut low = Command::new("sh");
    low.args(["-c", "ulimit -Sn 300; exec \"$0\" run"]).arg(program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => low.env(name, value),
            None => low.env_remove(name),
        };
    }
    let mut child = low.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let socket = folder.path().join("run/trunkline.sock");
    eventually("it listens", || UnixStream::connect(&socket).is_ok());
    let called = command(folder.path()).args(["call", "t", "echo"]).output().expect("runs");
    assert!(called.status.success(), "{called:?}");
    let status = command(folder.path()).args(["--json", "status"]).output().expect("runs");
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    let server = status["servers"][0]["instances"][0]["pid"].as_u64().expect("a process");
    assert_eq!(limits(u64::from(child.id())), (hard, hard));
    assert_eq!(limits(server), (300, hard));
    assert!(command(folder.path()).arg("shutdown").output().expect("runs").status.success());
    child.wait().expect("ended");
}
