//! The endpoint: single, private, and each refusal with its own words.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Output, Stdio};
use std::thread;

use crate::support::{Agent, Daemon, command, eventually, own_server, trunkline};

fn refused(folder: &Path, socket: &Path) -> String {
    let output = command(folder).arg("run").arg("--socket").arg(socket).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_unsafe_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("config.toml"), "").expect("written");
    let at = |name: &str| folder.path().join(name);
    for (name, mode) in [("open", 0o755), ("private", 0o700)] {
        fs::create_dir(at(name)).expect("created");
        fs::set_permissions(at(name), Permissions::from_mode(mode)).expect("set");
    }
    symlink(at("private"), at("link")).expect("linked");
    fs::write(at("file"), "").expect("written");
    fs::create_dir(at("private/s")).expect("created");
    for (socket, why) in [
        ("open/s", "chmod 700"),
        ("link/s", "symbolic link"),
        ("private/s", "is not a socket"),
        ("file/s", "is not a folder"),
        (&format!("private/{}", "x".repeat(120)), "the system takes at most 107"),
    ] {
        let error = refused(folder.path(), &at(socket));
        assert!(error.contains(why), "{socket}: {error}");
    }
    // Another owner: only root can make such a folder.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(at("private"), Some(12345), None).expect("given away");
        assert!(refused(folder.path(), &at("private/new")).contains("belongs to user id 12345"));
    }
}

#[test]
fn another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can try this as another user");
        return;
    }
    let daemon = Daemon::start("");
    let run = daemon.folder().join("run");
    for (path, mode) in [(daemon.folder().to_owned(), 0o755), (run, 0o755), (daemon.socket(), 0o666)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("opened up");
    }
    let request = r#"{"jsonrpc":"2.0","id":1,"method":"daemon.status"}"#;
    let script = format!(
        "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect({:?})\ntry:\n  s.sendall(b'{request}\\n')\n  print(len(s.recv(100)))\nexcept (BrokenPipeError, ConnectionResetError):\n  print(0)",
        daemon.socket()
    );
    let mut other = std::process::Command::new("python3");
    std::os::unix::process::CommandExt::uid(&mut other, 12345);
    let output = other.args(["-c", &script]).env("PYTHONDONTWRITEBYTECODE", "1").output().expect("python3 starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "0", "{}", String::from_utf8_lossy(&output.stderr));
    eventually("the log says so", || daemon.log().contains("refused a connection from user id 12345"));
}

#[test]
fn the_socket_is_private_from_birth_and_gone_at_the_end() {
    let daemon = Daemon::start("");
    let socket = fs::metadata(daemon.socket()).expect("there");
    let folder = fs::metadata(daemon.folder().join("run")).expect("there");
    assert_eq!((socket.mode() & 0o777, folder.mode() & 0o777), (0o600, 0o700));
    assert!(daemon.run(&["shutdown"]).status.success());
    assert!(!daemon.socket().exists());
    let gone = daemon.run(&["status"]);
    assert_eq!(gone.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("no trunkline daemon is running"));
}

#[test]
fn a_second_daemon_says_who_runs_and_a_stale_socket_is_taken_over() {
    let daemon = Daemon::start("");
    let second = daemon.run(&["run"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains(&format!("already running (pid {})", daemon.pid())));
    assert!(UnixStream::connect(daemon.socket()).is_ok(), "the loser leaves the socket alone");
    assert!(
        std::process::Command::new("kill")
            .args(["-9", &daemon.pid().to_string()])
            .status()
            .expect("kill runs")
            .success()
    );
    eventually("it is dead", || UnixStream::connect(daemon.socket()).is_err());
    assert!(daemon.socket().exists(), "stale");
    let mut next = command(daemon.folder()).arg("run").stderr(Stdio::null()).spawn().expect("starts");
    eventually("the next one listens", || UnixStream::connect(daemon.socket()).is_ok());
    assert!(daemon.run(&["shutdown"]).status.success());
    assert!(next.wait().expect("waited").success(), "an orderly shutdown exits 0");
}

#[test]
fn a_hundred_runs_at_once_leave_one() {
    let daemon = Daemon::not_started(&own_server("t", &[]));
    let folder = daemon.folder().to_owned();
    let runs: Vec<_> = (0..100)
        .map(|_| command(&folder).arg("run").stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts"))
        .collect();
    let waits: Vec<_> =
        runs.into_iter().map(|run| thread::spawn(move || run.wait_with_output().expect("waited"))).collect();
    eventually("all but one have left", || waits.iter().filter(|wait| wait.is_finished()).count() == 99);
    let pid = daemon.status()["pid"].to_string();
    assert!(trunkline(&folder, &["shutdown"]).status.success());
    let outputs: Vec<Output> = waits.into_iter().map(|wait| wait.join().expect("no panic")).collect();
    let losers: Vec<_> = outputs.iter().filter(|output| output.status.code() == Some(1)).collect();
    assert_eq!((losers.len(), outputs.iter().filter(|output| output.status.success()).count()), (99, 1));
    assert!(losers.iter().all(|loser| String::from_utf8_lossy(&loser.stderr).contains("already running")), "{pid}");
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let daemon = Daemon::start("");
    let agent = Agent::socket(&daemon.socket());
    assert!(agent.line().contains("no message within 5s"));
    assert_eq!(agent.next(), None);
}

#[test]
fn the_first_message_decides_and_nonsense_is_refused() {
    let daemon = Daemon::start(&own_server("t", &[]));
    for (first, why) in [
        ("nonsense", "not valid JSON"),
        (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, "must be a request"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, "cannot be the first message"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"daemon.attach","params":{"server":"tt"}}"#, "did you mean `t`?"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"daemon.attach","params":{"sever":"t"}}"#, "unknown field `sever`"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"daemon.attach","params":{"profile":"p"}}"#, "has no profiles"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"daemon.attach","params":{"server":"t","profile":"p"}}"#, "not both"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"daemon.attach","params":{"cwd":"here"}}"#, "absolute path"),
    ] {
        let mut agent = Agent::socket(&daemon.socket());
        agent.send(first);
        let answer = agent.line();
        assert!(answer.contains("\"error\"") && answer.contains(why), "{first}: {answer}");
        assert_eq!(agent.next(), None, "and the connection is closed");
    }
}

/// Whoever listens there gets no word, whichever command it is.
#[test]
fn a_client_trusts_no_folder_and_no_listener_of_others() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("config.toml"), "").expect("written");
    let at = |name: &str| folder.path().join(name);
    for (name, mode) in [("open", 0o755), ("shared", 0o770), ("private", 0o700)] {
        fs::create_dir(at(name)).expect("created");
        fs::set_permissions(at(name), Permissions::from_mode(mode)).expect("set");
    }
    symlink(at("private"), at("link")).expect("linked");
    let is_root = rustix::process::geteuid().is_root();
    let mut places = vec![("open", "chmod 700"), ("shared", "chmod 700"), ("link", "symbolic link")];
    if is_root {
        fs::create_dir(at("foreign")).expect("created");
        fs::set_permissions(at("foreign"), Permissions::from_mode(0o700)).expect("set");
        std::os::unix::fs::chown(at("foreign"), Some(12345), None).expect("given away");
        places.push(("foreign", "belongs to user id 12345"));
    }
    for (place, why) in places {
        let socket = at(place).join("s");
        let listener = UnixListener::bind(&socket).expect("listens");
        listener.set_nonblocking(true).expect("set");
        for words in [&["call", "t", "echo", "secret=1"][..], &["login", "t"], &["status"], &["connect", "t"]] {
            let mut client = command(folder.path());
            client.args(words).arg("--socket").arg(&socket).stdin(Stdio::null());
            let output = client.output().expect("the program starts");
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && error.contains(why), "{place} {words:?}: {error}");
        }
        assert!(listener.accept().is_err(), "{place}: nobody has connected");
        fs::remove_file(&socket).expect("removed");
    }
}

#[test]
fn a_client_says_nothing_to_a_listener_of_another_user() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can try this as another user");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let run = folder.path().join("run");
    fs::create_dir(&run).expect("created");
    // It may make its socket there for as long as it takes.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("opened up");
    fs::set_permissions(&run, Permissions::from_mode(0o777)).expect("opened up");
    let program = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1]);s.listen();print('up',flush=True)\nwhile 1:\n c,_=s.accept();print(c.recv(99),flush=True)";
    let mut listener = std::process::Command::new("python3");
    listener.args(["-c", program]).arg(run.join("trunkline.sock")).stdout(Stdio::piped()).uid(65534);
    let mut listener = listener.spawn().expect("python3");
    let mut said = BufReader::new(listener.stdout.take().expect("a pipe")).lines();
    assert_eq!(said.next().expect("a line").expect("read"), "up");
    fs::set_permissions(&run, Permissions::from_mode(0o700)).expect("closed");
    for words in [&["call", "t", "echo", "secret=1"][..], &["login", "t"], &["connect", "t"]] {
        let output = trunkline(folder.path(), words);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains("program of user id 65534"), "{words:?}: {error}");
        assert_eq!(said.next().expect("a line").expect("read"), "b''", "{words:?}");
    }
    listener.kill().expect("ended");
    listener.wait().expect("gone");
}

#[test]
fn a_state_folder_that_others_can_write_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("config.toml"), "").expect("written");
    let state = folder.path().join("state");
    fs::create_dir(&state).expect("created");
    for mode in [0o777, 0o770, 0o702] {
        fs::set_permissions(&state, Permissions::from_mode(mode)).expect("set");
        for words in [&["run"][..], &["secret", "list"], &["connect"]] {
            let output = trunkline(folder.path(), words);
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && error.contains("chmod go-w"), "{mode:o} {words:?}: {error}");
        }
    }
    fs::set_permissions(&state, Permissions::from_mode(0o755)).expect("set");
    let output = trunkline(folder.path(), &["check"]);
    assert!(output.status.success(), "others may look: {output:?}");
}
