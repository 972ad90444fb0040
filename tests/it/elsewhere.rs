//! Agents on another machine, or in a container, at a socket that was forwarded or mounted.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::home::{Home, said};
use crate::support::{Agent, Daemon, command, eventually, own_server, test_server};

/// A process that does not outlive its test.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Debian's sshd on a port of its own, with one key.
fn sshd(folder: &Path) -> (Started, u16) {
    for name in ["host", "user"] {
        let key = folder.join(name).display().to_string();
        let made = Command::new("ssh-keygen").args(["-qt", "ed25519", "-N", "", "-f", &key]).status();
        assert!(made.expect("ssh-keygen, which `tests/run` installs").success());
    }
    let port = TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("an address").port();
    let place = folder.display();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {place}/host\nAuthorizedKeysFile {place}/user.pub\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n"
    );
    fs::write(folder.join("config"), config).expect("written");
    // Where it separates its privileges, which a fresh system makes when it starts.
    drop(fs::create_dir_all("/run/sshd"));
    let mut server = Command::new("/usr/sbin/sshd");
    server.args(["-D", "-e", "-f"]).arg(folder.join("config")).stdin(Stdio::null()).stderr(Stdio::null());
    let server = Started(server.spawn().expect("sshd, which `tests/run` installs"));
    eventually("sshd listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    (server, port)
}

#[test]
fn a_socket_that_ssh_forwards() {
    let folder = tempfile::tempdir().expect("a folder");
    let far = folder.path().join("far");
    fs::DirBuilder::new().mode(0o700).create(&far).expect("created");
    let (_server, port) = sshd(folder.path());
    let daemon = Daemon::start(&own_server("t", &[]));
    let socket = far.join("trunkline.sock");
    let mut forward = Command::new("ssh");
    forward.args([
        "-N",
        "-p",
        &port.to_string(),
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
    ]);
    forward.arg("-i").arg(folder.path().join("user"));
    forward.arg("-R").arg(format!("{}:{}", socket.display(), daemon.socket().display()));
    let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
    let forward = forward.arg(format!("{user}@127.0.0.1")).stdin(Stdio::null()).stderr(Stdio::null()).spawn();
    let forward = Started(forward.expect("ssh, which `tests/run` installs"));
    eventually("the socket is forwarded", || UnixStream::connect(&socket).is_ok());

    let home = Home::new();
    let there = |words: &[&str]| {
        let mut command = home.command(env!("CARGO_BIN_EXE_trunkline"));
        command.env("TRUNKLINE_SOCKET", &socket).args(words);
        command
    };
    let tools = there(&["tools", "t"]).output().expect("run");
    assert!(tools.status.success() && said(&tools).0.contains("t echo"), "{tools:?}");
    let mut agent = Agent::process(&mut there(&["connect", "t"]));
    agent.greet("{}");
    assert!(agent.call("1", "echo", "{}").contains("content"));
    drop(agent);

    // Where nobody listens, none is started: that would be a daemon without servers and logins.
    drop(forward);
    eventually("the forward is gone", || UnixStream::connect(&socket).is_err());
    let tools = there(&["tools", "t"]).output().expect("run");
    assert_eq!(tools.status.code(), Some(3), "{tools:?}");
    let refused = there(&["connect", "t"]).output().expect("run");
    assert!(said(&refused).1.contains("where only a socket was named"), "{refused:?}");
    assert!(!home.path(".local/state/trunkline/ledger").exists(), "no daemon was started");
}

#[test]
fn a_folder_of_another_machine_is_no_project_here() {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(&format!(
        "{}[servers.p]\ncommand = {:?}\nargs = [\"--name=p\", \"${{project}}\"]\n",
        own_server("t", &[]),
        test_server()
    ));
    let place = folder.path().display();
    // In a mount namespace of its own, another folder lies at the same path.
    let script = format!("mount -t tmpfs none {place} && cd {place} && exec \"$0\" connect \"$1\"");
    let mut elsewhere = command(daemon.folder());
    let program = env!("CARGO_BIN_EXE_trunkline");
    let variables: Vec<_> =
        elsewhere.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
    let start = |server: &str| {
        let mut command = Command::new("unshare");
        for (name, value) in &variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.args(["--mount", "sh", "-c", &script, program, server]);
        command
    };
    let mut agent = Agent::process(&mut start("t"));
    agent.greet("{}");
    let session = daemon.status()["sessions"][0].clone();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("read");
    assert_eq!(session["host"], host.trim(), "{session}");
    assert!(session["cwd"].is_null() && session["project"].is_null(), "{session}");
    assert!(agent.call("1", "echo", "{}").contains("content"), "what needs no folder works");
    let status = daemon.run(&["status"]);
    assert!(said(&status).0.contains(&format!("on {}", host.trim())), "{status:?}");
    drop(agent);

    let mut agent = Agent::process(&mut start("p"));
    let answer = agent.ask(r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}"#);
    let answer = if answer.contains("error") { answer } else { agent.call("2", "echo", "{}") };
    assert!(answer.contains("${project} is not known"), "{answer}");
    drop(agent);

    // In the same folder of the same machine, it is one.
    let mut agent = Agent::process(elsewhere.current_dir(folder.path()).args(["connect", "p"]));
    agent.greet("{}");
    assert!(agent.call("1", "echo", "{}").contains("content"));
    assert!(daemon.status()["sessions"][0]["host"].is_null());
}
