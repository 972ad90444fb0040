//! Logins and secrets at rest: written in one step, encrypted, kept from everybody else, and never given up silently.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::keyring::{Keyring, Lock};
use crate::support::{AuthServer, Daemon, browse, command, eventually, own_server, text_of, trunkline};

fn set_with(folder: &Path, name: &str, value: &str, environment: &[(&str, &str)]) -> Output {
    let mut set = command(folder);
    set.args(["secret", "set", name]).envs(environment.iter().copied());
    let mut set =
        set.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    // One that refuses at once reads nothing.
    drop(set.stdin.take().expect("piped").write_all(value.as_bytes()));
    set.wait_with_output().expect("ended")
}

fn set(folder: &Path, name: &str, value: &str) {
    let output = set_with(folder, name, value, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn names(folder: &Path) -> Vec<String> {
    let output = trunkline(folder, &["secret", "list"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn files(folder: &Path) -> BTreeSet<String> {
    let all = fs::read_dir(folder.join("state")).expect("a folder");
    all.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn whoever_is_killed_in_a_write_leaves_the_old_or_the_new() {
    let folder = tempfile::tempdir().expect("a folder");
    set(folder.path(), "a", "1");
    for (point, there) in
        [("created", false), ("half", false), ("written", false), ("synced", false), ("renamed", true), ("done", true)]
    {
        let output = set_with(folder.path(), point, "2", &[("TRUNKLINE_CRASH_AT", point)]);
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(9), "killed at `{point}`");
        let names = names(folder.path());
        assert_eq!(
            (names.contains(&"a".to_owned()), names.contains(&point.to_owned())),
            (true, there),
            "{point}: {names:?}"
        );
        for file in files(folder.path()).iter().filter(|file| file.contains("credentials")) {
            let mode = fs::metadata(folder.path().join("state").join(file)).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file} at `{point}`");
        }
    }
    set(folder.path(), "b", "3");
    assert_eq!(files(folder.path()), ["credentials", "credentials.key", "credentials.lock"].map(str::to_owned).into());
}

#[test]
fn many_write_at_once_and_nothing_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    set(folder.path(), "first", "1");
    std::thread::scope(|scope| {
        (0..16).for_each(|number| {
            drop(scope.spawn({
                let folder = folder.path();
                move || set(folder, &format!("n{number}"), "x")
            }))
        });
    });
    assert_eq!(names(folder.path()).len(), 17);
    assert!(trunkline(folder.path(), &["secret", "remove", "n3"]).status.success());
    let again = trunkline(folder.path(), &["secret", "remove", "n3"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("no secret is named `n3`"));
    for (name, value, said) in [("a b", "x", "no name for a secret"), ("a", "\n", "is empty")] {
        let refused = set_with(folder.path(), name, value, &[]);
        assert!(String::from_utf8_lossy(&refused.stderr).contains(said), "{refused:?}");
    }
}

#[test]
fn a_secret_reaches_its_server_and_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = own_server("t", &[]) + "env = { KEY = \"k ${keyring:mine}\" }\n" + &own_server("other", &[]);
    fs::write(folder.path().join("config.toml"), config).expect("written");
    let checked = trunkline(folder.path(), &["check"]);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(said.contains("no secret is named mine") && said.contains("trunkline secret set mine"), "{said}");
    let daemon = Daemon::start_in(folder);
    let refused = daemon.run(&["call", "t", "state"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("trunkline secret set mine"));
    set(daemon.folder(), "mine", "canary-in-env\n");
    let state = |server: &str| text_of(&daemon.agent(server).call("1", "state", "{}"));
    assert!(state("t").contains(r#""KEY":"k canary-in-env""#));
    assert!(!state("other").contains("canary"));
    assert!(!daemon.log().contains("canary") && !daemon.status().to_string().contains("canary"));
    assert!(trunkline(daemon.folder(), &["check"]).status.success());
}

#[test]
fn a_damaged_file_is_put_aside_and_said_so() {
    let server = AuthServer::start();
    let daemon = Daemon::start(&server.entry("guarded", ""));
    daemon.log_in("guarded");
    let folder = daemon.restart();
    let path = folder.path().join("state/credentials");
    let mut bytes = fs::read(&path).expect("there");
    *bytes.last_mut().expect("bytes") ^= 1;
    fs::write(&path, &bytes).expect("written");
    let daemon = Daemon::start_in(folder);
    let called = daemon.run(&["call", "guarded", "whoami"]);
    assert_eq!(called.status.code(), Some(4));
    let notice = daemon.status()["credentials"]["notice"].as_str().expect("a notice").to_owned();
    assert!(notice.contains("put aside") && notice.contains("log in again"), "{notice}");
    assert!(files(daemon.folder()).iter().any(|file| file.starts_with("credentials.rejected-")));
    daemon.log_in("guarded");
    assert!(daemon.run(&["call", "guarded", "whoami"]).status.success());
}

#[test]
fn the_key_is_in_the_keyring_and_nowhere_else() {
    let keyring = Keyring::start(Lock::Unlocked);
    let folder = tempfile::tempdir().expect("a folder");
    let bus = [("DBUS_SESSION_BUS_ADDRESS", keyring.address.as_str())];
    let run = |words: &[&str]| command(folder.path()).args(words).envs(bus).output().expect("the program starts");
    assert!(set_with(folder.path(), "a", "1", &bus).status.success());
    assert_eq!(String::from_utf8_lossy(&run(&["secret", "list"]).stdout), "a\n");
    assert_eq!(files(folder.path()), ["credentials", "credentials.lock"].map(str::to_owned).into());
    // Without the keyring nothing is read, nothing is lost, and no other key is made.
    let without = trunkline(folder.path(), &["secret", "list"]);
    let said = String::from_utf8_lossy(&without.stderr).into_owned();
    assert!(!without.status.success() && said.contains("their key is in the keyring"), "{said}");
    assert!(!set_with(folder.path(), "b", "2", &[]).status.success());
    assert_eq!(files(folder.path()), ["credentials", "credentials.lock"].map(str::to_owned).into());
    // A daemon that starts before the session's bus does not stay without a keyring for ever.
    assert_eq!(String::from_utf8_lossy(&run(&["secret", "list"]).stdout), "a\n");
}

#[test]
fn a_locked_keyring_is_no_reason_for_a_key_file() {
    let keyring = Keyring::start(Lock::Locked);
    let folder = tempfile::tempdir().expect("a folder");
    let refused = set_with(folder.path(), "a", "1", &[("DBUS_SESSION_BUS_ADDRESS", &keyring.address)]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("locked"), "{said}");
    assert!(!folder.path().join("state/credentials.key").exists());
}

#[test]
fn a_keyring_that_hangs_holds_nobody_else_up() {
    let keyring = Keyring::start(Lock::Unlocked);
    let folder = tempfile::tempdir().expect("a folder");
    let bus = [("DBUS_SESSION_BUS_ADDRESS", keyring.address.as_str())];
    assert!(set_with(folder.path(), "mine", "1", &bus).status.success());
    let config = own_server("t", &[]) + "env = { KEY = \"${keyring:mine}\" }\n" + &own_server("other", &[]);
    fs::write(folder.path().join("config.toml"), config).expect("written");
    kill_process(Pid::from_raw(keyring.pid).expect("a pid"), Signal::STOP).expect("stopped");
    let daemon = Daemon::start_with(folder, &bus);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| daemon.run(&["call", "t", "echo"]));
        let mut other = daemon.agent("other");
        for id in 0..20 {
            other.call(&id.to_string(), "echo", "{}");
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "the others go on at once");
        let waited = waits.join().expect("no panic");
        let said = String::from_utf8_lossy(&waited.stderr).into_owned();
        assert!(said.contains("keyring has not answered within"), "{said}");
    });
    kill_process(Pid::from_raw(keyring.pid).expect("a pid"), Signal::CONT).expect("goes on");
    eventually("the secret is there again", || daemon.run(&["call", "t", "echo"]).status.success());
}

/// A daemon whose state is on a small disk of its own, in a namespace whose shell the test commands.
struct SmallDisk {
    shell: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl SmallDisk {
    fn run(&mut self, script: &str) {
        writeln!(self.shell.stdin.as_mut().expect("piped"), "{script}\necho done").expect("sent");
        let mut line = String::new();
        self.said.read_line(&mut line).expect("a line");
        assert_eq!(line, "done\n", "{script}");
    }
}

#[test]
fn a_full_disk_costs_no_login() {
    let server = AuthServer::start();
    let daemon = Daemon::not_started(&server.entry("guarded", ""));
    fs::create_dir(daemon.folder().join("state")).expect("made");
    let mut shell = Command::new("unshare");
    shell.args([
        "-rm",
        "bash",
        "-c",
        "mount -t tmpfs -o size=512k,mode=0700 none state && while read -r line; do eval \"$line\"; done; kill -9 $!",
    ]);
    for (name, value) in command(daemon.folder()).get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    shell.env("PROGRAM", env!("CARGO_BIN_EXE_trunkline")).current_dir(daemon.folder());
    let mut shell =
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("unshare starts");
    let said = BufReader::new(shell.stdout.take().expect("piped"));
    let mut disk = SmallDisk { shell, said };
    let start = "\"$PROGRAM\" run >/dev/null 2>>daemon.log &";
    disk.run(start);
    let up = || eventually("the daemon listens", || daemon.run(&["status"]).status.success());
    up();
    daemon.log_in("guarded");
    disk.run("head -c 1000000 /dev/zero >state/fill 2>/dev/null");
    let mut agent = daemon.agent("guarded");
    eventually("it says that it cannot save", || {
        assert!(text_of(&agent.call("1", "whoami", "{}")).contains("tester"), "and works all the same");
        daemon.login_state("guarded")["reason"].as_str().is_some_and(|reason| reason.contains("not saved"))
    });
    // The next refresh is with the token that only memory has.
    let before = server.grants("refresh_token").len();
    eventually("another refresh", || {
        assert!(text_of(&agent.call("2", "whoami", "{}")).contains("tester"));
        server.grants("refresh_token").len() > before
    });
    disk.run("rm state/fill");
    eventually("it is saved", || daemon.login_state("guarded")["reason"].is_null());
    disk.run("kill -9 $!; wait $!");
    disk.run(start);
    up();
    std::thread::sleep(Duration::from_secs(5));
    assert!(text_of(&daemon.agent("guarded").call("3", "whoami", "{}")).contains("tester"));
    assert!(server.grants("refresh_token").iter().all(|entry| entry["status"] == 200));
    drop(disk.shell.stdin.take());
    disk.shell.wait().expect("ended");
}

#[test]
fn no_token_is_where_it_does_not_belong() {
    let server = AuthServer::start();
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("config.toml"), server.entry("guarded", "") + &own_server("child", &[]))
        .expect("written");
    let daemon = Daemon::start_with(folder, &[("TRUNKLINE_LOG", "trace")]);
    let mut agent = daemon.agent("guarded");
    let (page, _) = browse(&daemon.begin_login("guarded"));
    let mut said = vec![page];
    eventually("there was a login and a refresh", || {
        said.push(agent.call("1", "echo", "{}"));
        said.push(agent.call("2", "admin", "{}"));
        server.issued().len() >= 4
    });
    server.faults(&json!({ "revoke_all": true }));
    eventually("the refresh is refused", || {
        said.push(agent.call("9", "echo", "{}"));
        said.last().is_some_and(|said| said.contains("needs a login"))
    });
    let child = text_of(&daemon.agent("child").call("1", "state", "{}"));
    said.extend([child, daemon.log(), daemon.status().to_string()]);
    said.extend(["logs", "status"].map(|word| String::from_utf8_lossy(&daemon.run(&[word]).stdout).into_owned()));
    for process in fs::read_dir("/proc").expect("/proc").filter_map(Result::ok) {
        said.extend(["cmdline", "environ"].map(|file| {
            String::from_utf8_lossy(&fs::read(process.path().join(file)).unwrap_or_default()).into_owned()
        }));
    }
    let mut folders = vec![daemon.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            match entry.is_dir() {
                true => folders.push(entry),
                false => said.push(String::from_utf8_lossy(&fs::read(entry).unwrap_or_default()).into_owned()),
            }
        }
    }
    for token in &server.issued() {
        // Also what is left of it if somebody cut it.
        for part in [token.as_str(), &token[token.len() - 20..]] {
            assert!(!said.iter().any(|said| said.contains(part)), "a token is where it does not belong");
        }
    }
    assert!(server.log("mcp").iter().any(|entry| entry["authorization"] == true), "they were used, though");
}

#[test]
fn no_other_process_looks_into_the_daemons_memory() {
    assert!(rustix::process::getuid().is_root(), "run as root: it starts a daemon as another user");
    let folder = tempfile::tempdir().expect("a folder");
    let nobody = 65_534;
    // That user cannot reach where the program was built.
    let program = folder.path().join("trunkline");
    fs::copy(env!("CARGO_BIN_EXE_trunkline"), &program).expect("copied");
    fs::write(folder.path().join("config.toml"), "").expect("written");
    std::os::unix::fs::chown(folder.path(), Some(nobody), Some(nobody)).expect("given");
    let mut run = Command::new(&program);
    run.arg("run").uid(nobody).gid(nobody).stderr(Stdio::null());
    for (name, value) in command(folder.path()).get_envs() {
        run.env(name, value.unwrap_or_default());
    }
    let mut daemon = run.spawn().expect("the program starts");
    let owner = |file: &str| fs::metadata(format!("/proc/{}/{file}", daemon.id())).map(|found| found.uid()).ok();
    eventually("it cannot be looked into", || owner("environ") == Some(0));
    daemon.kill().expect("killed");
    daemon.wait().expect("waited");
}
