//! A real daemon in a temporary folder, gone with all its children when the test ends.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{Agent, Endpoint, eventually};

pub(crate) struct Daemon {
    folder: TempDir,
    child: Option<Child>,
}

/// The real program, with its places in `folder`.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    for (variable, place) in [
        ("TRUNKLINE_CONFIG", "config.toml"),
        ("TRUNKLINE_SOCKET", "run/trunkline.sock"),
        ("TRUNKLINE_STATE_DIR", "state"),
    ] {
        command.env(variable, folder.join(place));
    }
    // The keyring of whoever runs the tests is none of theirs.
    command.env_remove("DBUS_SESSION_BUS_ADDRESS").env("XDG_RUNTIME_DIR", folder);
    command
}

/// A configuration under which no server is started that the test does not ask for, unless it says so.
pub(crate) fn undisturbed(config: &str) -> String {
    if config.contains("discover = ") {
        config.to_owned()
    } else if config.contains("[daemon]\n") {
        config.replacen("[daemon]\n", "[daemon]\ndiscover = \"never\"\n", 1)
    } else {
        format!("{config}\n[daemon]\ndiscover = \"never\"\n")
    }
}

/// Runs the program to its end.
pub(crate) fn trunkline(folder: &Path, words: &[&str]) -> Output {
    command(folder).args(words).stdin(Stdio::null()).output().expect("the program starts")
}

impl Daemon {
    pub(crate) fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("config.toml"), undisturbed(config)).expect("written");
        Self::start_in(folder)
    }

    /// A daemon where another one was before.
    pub(crate) fn start_in(folder: TempDir) -> Self {
        Self::start_with(folder, &[])
    }

    /// A daemon with these variables in its environment.
    pub(crate) fn start_with(folder: TempDir, environment: &[(&str, &str)]) -> Self {
        let log =
            fs::File::options().append(true).create(true).open(folder.path().join("daemon.log")).expect("created");
        let mut run = command(folder.path());
        run.arg("run").envs(environment.iter().copied()).stdin(Stdio::null()).stderr(log);
        let child = run.spawn().expect("the daemon starts");
        let daemon = Self { folder, child: Some(child) };
        eventually("the daemon listens", || UnixStream::connect(daemon.socket()).is_ok());
        daemon
    }

    /// Only a configuration: the daemon is for a shim to start.
    pub(crate) fn not_started(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("config.toml"), undisturbed(config)).expect("written");
        Self { folder, child: None }
    }

    /// Ends the daemon in order; returns its folder for the next.
    pub(crate) fn restart(mut self) -> TempDir {
        assert!(self.run(&["shutdown"]).status.success());
        self.take_folder()
    }

    /// Ends the daemon with `kill -9`; returns its folder for the next.
    pub(crate) fn kill(mut self) -> TempDir {
        if let Some(child) = &mut self.child {
            child.kill().expect("killed");
            child.wait().expect("waited");
        }
        self.take_folder()
    }

    fn take_folder(&mut self) -> TempDir {
        if let Some(mut child) = self.child.take() {
            child.wait().expect("waited");
        }
        std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a temporary folder"))
    }

    /// Replaces the configuration, as an editor does that writes a new file.
    pub(crate) fn configure(&self, config: &str) {
        let new = self.folder.path().join("config.new");
        fs::write(&new, undisturbed(config)).expect("written");
        fs::rename(new, self.folder.path().join("config.toml")).expect("renamed");
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where agents attach over HTTP: to one server, or to all.
    pub(crate) fn endpoint(&self, server: Option<&str>) -> Endpoint {
        let mut url = String::new();
        eventually("the daemon listens on HTTP", || {
            url = self.status()["http"]["url"].as_str().unwrap_or_default().to_owned();
            !url.is_empty()
        });
        let rest = url.strip_prefix("http://").expect("a URL");
        let (authority, path) = rest.split_once('/').expect("a path");
        let token = fs::read_to_string(self.folder.path().join("state/http-token")).expect("a token");
        Endpoint {
            authority: authority.to_owned(),
            path: server.map_or(format!("/{path}"), |server| format!("/{path}/{server}")),
            token: token.trim().to_owned(),
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("run/trunkline.sock")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        trunkline(self.folder(), words)
    }

    pub(crate) fn status(&self) -> Value {
        let output = self.run(&["status", "--json"]);
        assert!(output.status.success(), "status: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// The status of one server.
    pub(crate) fn server(&self, name: &str) -> Value {
        let status = self.status();
        let servers = status["servers"].as_array().expect("servers").clone();
        servers.into_iter().find(|server| server["name"] == name).expect("the server")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("daemon.log")).unwrap_or_default()
    }

    /// An agent of one server's view on the socket, not yet introduced.
    pub(crate) fn attach(&self, server: &str) -> Agent {
        let mut agent = Agent::socket(&self.socket());
        let reply = agent.ask(&format!(r#"{{"jsonrpc":"2.0","id":"attach","method":"daemon.attach","params":{{"server":"{server}","client":"test"}}}}"#));
        assert!(reply.contains(r#""session":"#), "{reply}");
        agent
    }

    /// A legacy agent of one server's view, introduced.
    pub(crate) fn agent(&self, server: &str) -> Agent {
        let mut agent = self.attach(server);
        agent.greet("{}");
        agent
    }

    /// A legacy agent of the all-servers view, introduced.
    pub(crate) fn agent_of_all(&self) -> Agent {
        let mut agent = Agent::socket(&self.socket());
        agent.greet("{}");
        agent
    }

    /// An agent behind the shim, not yet introduced.
    pub(crate) fn shim(&self, words: &[&str]) -> Agent {
        Agent::process(command(self.folder()).arg("connect").args(words).current_dir(self.folder()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.socket().exists() {
            drop(self.run(&["shutdown"]));
        }
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- the daemon's log\n{}", self.log());
        }
    }
}
