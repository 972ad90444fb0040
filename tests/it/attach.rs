//! One person, one daemon: whatever part of the environment reaches a program, and whatever becomes of the agent that
//! started it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Agent, error_of, eventually, own_server, text_of};

/// A person's home, with a configuration, and a folder for the sockets of their login session.
struct Home(TempDir);

impl Home {
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["home/.config/trunkline", "run", "tmp", "state"] {
            fs::create_dir_all(folder.path().join(name)).expect("created");
        }
        fs::set_permissions(folder.path().join("run"), fs::Permissions::from_mode(0o700)).expect("changed");
        let home = Self(folder);
        fs::write(home.path("home/.config/trunkline/config.toml"), crate::support::undisturbed(config))
            .expect("written");
        home
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// The program as an agent starts it, which passes little on.
    fn agents(&self) -> Command {
        self.with_little(Path::new(env!("CARGO_BIN_EXE_trunkline")))
    }

    fn with_little(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.path("home")).env("USER", "u").env("TMPDIR", self.path("tmp"));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("SHELL", "/bin/sh");
        command.current_dir(self.0.path());
        command
    }

    /// The program as the person starts it.
    fn persons(&self) -> Command {
        let mut command = self.agents();
        command.env("XDG_RUNTIME_DIR", self.path("run"));
        command
    }

    fn status(&self) -> Value {
        let output = run(self.persons().args(["status", "--json"]));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        drop(run(self.persons().arg("shutdown")));
    }
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("the program starts")
}

fn attached(command: &mut Command) -> Agent {
    let mut agent = Agent::process(command.args(["connect", "t"]).stderr(Stdio::null()));
    agent.greet("{}");
    agent
}

#[test]
fn whatever_part_of_the_environment_arrives() {
    for first_is_agents in [true, false] {
        let home = Home::new(&own_server("t", &[]));
        let (mut first, mut second) = if first_is_agents {
            (attached(&mut home.agents()), attached(&mut home.persons()))
        } else {
            (attached(&mut home.persons()), attached(&mut home.agents()))
        };
        assert_eq!(first.server_pid(), second.server_pid(), "agents first: {first_is_agents}");
        let status = home.status();
        assert_eq!(status["sessions"].as_array().map(Vec::len), Some(2));
        // With other folders in the environment, too, nobody starts a second one.
        let elsewhere = run(home.agents().env("XDG_STATE_HOME", home.path("state")).args(["status", "--json"]));
        assert_eq!(serde_json::from_slice::<Value>(&elsewhere.stdout).expect("JSON")["pid"], status["pid"]);
        let again = run(home.agents().arg("run"));
        let words = String::from_utf8_lossy(&again.stderr);
        assert!(again.status.code() == Some(1) && words.contains("already running"), "{words}");
        assert!(run(home.agents().arg("shutdown")).status.success());
        assert_eq!(run(home.persons().arg("status")).status.code(), Some(3));
        assert!(!home.path("home/.local/state/trunkline/daemon.json").exists(), "the signpost goes with it");
    }
}

#[test]
fn a_signpost_is_believed_only_if_it_is_true() {
    let home = Home::new(&own_server("t", &[]));
    let state = home.path("home/.local/state/trunkline");
    fs::create_dir_all(&state).expect("created");
    let signpost = state.join("daemon.json");
    // Of a process that runs, and is not the one that wrote it.
    let lie = format!(
        r#"{{"pid":{},"started":1,"socket":"/nowhere/s","state":"/nowhere","config":"/nowhere/c"}}"#,
        std::process::id()
    );
    fs::write(&signpost, &lie).expect("written");
    assert!(text_of(&attached(&mut home.agents()).call("1", "echo", "{}")).contains("echo"));
    assert!(fs::read_to_string(&signpost).expect("read").contains("trunkline.sock"), "and replaced by what is true");
    assert!(run(home.agents().arg("shutdown")).status.success());
    // One that others could have written.
    fs::write(&signpost, "{}").expect("written");
    fs::set_permissions(&signpost, fs::Permissions::from_mode(0o666)).expect("changed");
    assert_eq!(run(home.agents().arg("status")).status.code(), Some(3));
}

/// The fields of `/proc/PID/stat` behind the name: state, parent, group, session.
fn stat(pid: u64) -> Vec<i64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, rest) = text.rsplit_once(") ").expect("a name");
    rest.split(' ').skip(1).take(3).map(|word| word.parse().expect("a number")).collect()
}

#[test]
fn a_daemon_that_an_agent_started_is_nobodys_child() {
    let home = Home::new(&(own_server("t", &[]) + "env_vars = [\"PROFILE_SAYS\"]\n"));
    fs::write(home.path("home/.profile"), "export PROFILE_SAYS=yes SSL_CERT_FILE=/of/the/profile\necho welcome\n")
        .expect("written");
    let mut command = home.agents();
    command.env("OF_THE_AGENT", "secret").env("SSL_CERT_FILE", "/of/the/agent");
    // A descriptor that the agent left open: standard error of the shim's shell, under another number.
    let script = format!("exec 9>{}; exec \"$0\" connect t", home.path("left-open").display());
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_trunkline")]).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(home.path("home"));
    let mut agent = Agent::process(shell.stderr(Stdio::null()));
    agent.greet("{}");
    let daemon = home.status()["pid"].as_u64().expect("a pid");
    let (own, shim) = (stat(daemon), stat(u64::from(agent.child_id())));
    assert_ne!(own[0], i64::from(agent.child_id()), "not its child");
    assert!(own[1] != shim[1] && own[2] != shim[2], "neither of its group nor of its session: {own:?} {shim:?}");
    let open = fs::read_dir(format!("/proc/{daemon}/fd")).expect("there");
    let open = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    assert!(open.into_iter().all(|path| !path.ends_with("left-open")), "nothing of the agent's is open");
    let state: Value = serde_json::from_str(&text_of(&agent.call("2", "state", "{}"))).expect("JSON");
    let given = |name: &str| state["environment"][name].as_str().map(str::to_owned);
    assert_eq!(given("PROFILE_SAYS").as_deref(), Some("yes"), "the person's environment");
    assert_eq!(given("SSL_CERT_FILE").as_deref(), Some("/of/the/profile"));
    let environment = fs::read(format!("/proc/{daemon}/environ")).expect("read");
    assert!(!String::from_utf8_lossy(&environment).contains("OF_THE_AGENT"), "not the agent's");
    agent.leave();
    assert_eq!(home.status()["pid"], daemon, "it outlives the agent that started it");
}

#[test]
fn a_shim_that_cannot_attach_tells_the_agent_why() {
    let broken = Home::new("[servers.t\ncommand = 1\n");
    let unknown = Home::new(&own_server("t", &[]));
    for (home, words, expected) in [
        (&broken, &["connect"][..], "config.toml:1: not valid TOML"),
        (&unknown, &["connect", "tt"], "did you mean `t`?"),
        (&unknown, &["connect", "--profile", "x"], "no profile is named `x`"),
    ] {
        let mut agent = Agent::process(home.agents().args(words).stderr(Stdio::null()));
        agent.send(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}"#);
        let answer = agent.ask(&crate::support::legacy("{}"));
        assert!(error_of(&answer).contains(expected), "{answer}");
        assert_eq!(agent.wait().code(), Some(1));
        // An agent that asks for nothing, and leaves, is not waited for.
        let silent = run(home.agents().args(words));
        assert_eq!(silent.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&silent.stderr).contains(expected), "{silent:?}");
    }
}

#[test]
fn what_a_server_was_not_given_is_named_when_it_fails() {
    let home = Home::new(
        "[servers.github]\ncommand = \"sh\"\nargs = [\"-c\", \"echo 'GITHUB_TOKEN is required' >&2; exit 1\"]\n[servers.cert]\ncommand = \"sh\"\nargs = [\"-c\", \"echo 'self-signed certificate in chain' >&2; exit 1\"]\n[servers.given]\ncommand = \"sh\"\nargs = [\"-c\", \"echo GITHUB_TOKEN >&2; exit 1\"]\nenv_vars = [\"GITHUB_TOKEN\"]\n",
    );
    let mut daemon = home.persons();
    daemon.env("GITHUB_TOKEN", "canary").env("CORP_CA_FILE_SSL", "/x").args(["run"]);
    let mut daemon = daemon.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    eventually("it is up", || run(home.agents().arg("status")).status.success());
    for (server, expected) in
        [("github", Some("it was not given GITHUB_TOKEN")), ("cert", Some("CORP_CA_FILE_SSL")), ("given", None)]
    {
        let tools = run(home.agents().args(["tools", server]));
        let words = String::from_utf8_lossy(&tools.stderr).into_owned();
        match expected {
            Some(expected) => assert!(words.contains(expected) && words.contains("env_vars"), "{server}: {words}"),
            None => assert!(!words.contains("it was not given"), "{server}: {words}"),
        }
        assert!(!words.contains("canary"));
    }
    assert!(run(home.agents().arg("shutdown")).status.success());
    daemon.wait().expect("waited");
}

#[test]
fn a_server_that_was_stopped_stays_so_for_the_next_daemon() {
    let home = Home::new(&own_server("t", &[]));
    let mut agent = attached(&mut home.agents());
    agent.send_call("1", "hold", r#"{"key":"k"}"#);
    eventually("a call is in flight", || home.status()["sessions"][0]["in_flight"] == 1);
    let mut stop = home.agents().args(["stop", "t"]).spawn().expect("it starts");
    eventually("it is stopped", || home.status()["servers"][0]["state"] == "stopped");
    // What is in flight goes on for a while.
    agent.send_call("2", "release", r#"{"key":"k"}"#);
    assert!(error_of(&agent.answer("2")).contains("stopped by hand"));
    drop(stop.kill());
    drop(stop.wait());
    assert!(run(home.agents().arg("shutdown")).status.success());
    let words = error_of(&agent.call("3", "echo", "{}"));
    assert!(words.contains("trunkline start t"), "{words}");
    assert!(run(home.agents().args(["start", "t"])).status.success());
    assert!(text_of(&agent.call("4", "echo", "{}")).contains("echo"));
    let status = home.status();
    let sessions = status["servers"][0]["instances"][0]["sessions"].as_array().map(Vec::len);
    assert_eq!((sessions, status["sessions"].as_array().map(Vec::len)), (Some(1), Some(1)), "attached once: {status}");
}
