//! A server's process: its command, its small environment, its group, and its end.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::{self, ExitStatus};
use std::time::Duration;

use process_wrap::tokio::{ChildWrapper, CommandWrap};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::config::{BadTemplate, Given, Stdio};
#[cfg(unix)]
use crate::descriptors;
use crate::environment;
use crate::masks::Masks;
use crate::processes::{self, Mark};
#[cfg(target_os = "linux")]
use crate::retry::Backoff;
use crate::upstream::container;
use crate::upstream::ledger::Ledger;

/// How long a server has to end after its standard input closed, and again after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);
/// The nice value of a process that nobody waits for.
#[cfg(unix)]
const LOW: i32 = 10;
/// How much a pipe to or from a server holds, in bytes.
#[cfg(target_os = "linux")]
const PIPE: usize = 256 * 1024;

/// A running server process and its process group.
#[derive(Debug)]
pub(super) struct Child {
    inner: Box<dyn ChildWrapper>,
    pub pid: u32,
    /// What all that comes from it inherits.
    mark: Mark,
    /// What runs the container that it is in.
    container: Option<container::Client>,
    ledger: Ledger,
}

/// The streams of a process that was just started.
#[derive(Debug)]
pub(super) struct Streams {
    pub stdin: ChildStdin,
    pub stdout: ChildStdout,
    pub stderr: ChildStderr,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SpawnError {
    #[error(transparent)]
    Template(#[from] BadTemplate),
    #[error("cannot start `{command}`: {}", reason(error))]
    Spawn { command: String, error: io::Error },
    #[error("the folder {0} that it is to work in is not there: make it again, or start the agent in another one")]
    Folder(PathBuf),
    #[error("cannot read the variables in {0}, named by `env_file`: {1}")]
    Variables(PathBuf, String),
    #[error("`{0}` started without standard streams")]
    Streams(String),
}

fn reason(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        return "no such program in the daemon's PATH; give the full path in `command`".to_owned();
    }
    error.to_string()
}

/// What the server's entry sets: the variables of its file, and then its own.
fn variables(server: &Stdio, given: Given<'_>) -> Result<BTreeMap<String, String>, SpawnError> {
    let mut all = BTreeMap::new();
    if let Some(file) = &server.env_file {
        let path = server.folder(&file.expand(given)?);
        // Its own words quote the line, which may hold a secret.
        let wrong = |error| {
            let reason = if let dotenvy::Error::LineParse(..) = error {
                "a line in it is not `NAME=value`".to_owned()
            } else {
                error.to_string()
            };
            SpawnError::Variables(path.clone(), reason)
        };
        for pair in dotenvy::from_path_iter(&path).map_err(wrong)? {
            let (name, value) = pair.map_err(wrong)?;
            all.insert(name, value);
        }
    }
    for (name, value) in &server.env {
        all.insert(name.clone(), value.expand(given)?);
    }
    Ok(all)
}

/// Keeps a variable out of what is recorded whose name promises a secret.
fn mask(masks: &Masks, name: &str, value: &str) {
    if environment::looks_secret(name) {
        masks.note(value);
    }
}

impl Child {
    /// Starts the server's command in a process group of its own.
    pub(super) fn spawn(
        server: &Stdio,
        given: Given<'_>,
        ledger: &Ledger,
        masks: &Masks,
    ) -> Result<(Self, Streams), SpawnError> {
        // As it stands in the file: its value may hold a secret.
        let program = server.command.text().to_owned();
        let path = server.program(&server.command.expand(given)?);
        let mut command = Command::new(&path);
        let mark = ledger.mark();
        let mut words = Vec::new();
        for argument in &server.args {
            words.push(server.placed(&argument.expand(given)?).into_os_string());
        }
        let mut container = container::label(&path, &mut words, &mark.to_string());
        command.args(words);
        command.env_clear();
        let given_to = |name: &str| environment::passes(name, server.env_vars.iter().map(String::as_str));
        let passed: Vec<_> = std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(given_to)).collect();
        passed.iter().for_each(|(name, value)| mask(masks, &name.to_string_lossy(), &value.to_string_lossy()));
        command.envs(passed);
        command.env(processes::VARIABLE, mark.to_string());
        for (name, value) in variables(server, given)? {
            container.iter_mut().for_each(|client| client.env.push((name.clone(), value.clone())));
            mask(masks, &name, &value);
            command.env(name, value);
        }
        // As directly: where the agent is, if the process belongs to one folder.
        let folder = match (&server.cwd, given.project) {
            (Some(template), _) => Some(server.folder(&template.expand(given)?)),
            (None, Some(project)) => Some(project.to_owned()),
            (None, None) => std::env::home_dir().filter(|home| home.is_dir()),
        };
        if let Some(folder) = folder {
            if !folder.is_dir() {
                return Err(SpawnError::Folder(folder));
            }
            command.current_dir(folder);
        }
        let piped = process::Stdio::piped;
        command.stdin(piped()).stdout(piped()).stderr(piped());
        #[cfg(unix)]
        begin(&mut command, mark);
        let mut command = CommandWrap::from(command);
        #[cfg(unix)]
        command.wrap(process_wrap::tokio::ProcessGroup::leader());
        #[cfg(windows)]
        command.wrap(process_wrap::tokio::JobObject);
        let mut inner = command.spawn().map_err(|error| SpawnError::Spawn { command: program.clone(), error })?;
        let streams = (inner.stdin().take(), inner.stdout().take(), inner.stderr().take(), inner.id());
        let (Some(stdin), Some(stdout), Some(stderr), Some(pid)) = streams else {
            return Err(SpawnError::Streams(program));
        };
        ledger.add(pid, mark, container.as_ref().map(|client| client.program.clone()));
        #[cfg(target_os = "linux")]
        widen(&stdin, &stdout);
        Ok((Self { inner, pid, mark, container, ledger: ledger.clone() }, Streams { stdin, stdout, stderr }))
    }

    /// Lets everything else on the machine go first.
    pub(super) fn step_back(&self) {
        #[cfg(unix)]
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw)
            && let Err(error) = rustix::process::setpriority_process(Some(pid), LOW)
        {
            tracing::debug!(%error, "priority not lowered");
        }
    }

    /// Waits until the process ends.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.inner.wait().await
    }

    /// Ends the process, whose standard input the caller has closed: waits, then SIGTERM, then SIGKILL to the group.
    pub(super) async fn stop(mut self) -> Option<ExitStatus> {
        let mut status = timeout(GRACE, self.inner.wait()).await.ok();
        if status.is_none() {
            #[cfg(unix)]
            self.signal_group(rustix::process::Signal::TERM.as_raw());
            status = timeout(GRACE, self.inner.wait()).await.ok();
        }
        // What is left of the group goes too: a grandchild that outlived its parent has nobody else to end it.
        if let Err(error) = self.inner.start_kill() {
            tracing::debug!(pid = self.pid, %error, "nothing left to kill");
        }
        if status.is_none() {
            status = timeout(GRACE, self.inner.wait()).await.ok();
        }
        if let Some(client) = &self.container {
            container::end(client, &self.mark.to_string()).await;
        }
        end_strays(self.mark).await;
        self.ledger.remove(self.pid);
        status?.ok()
    }

    #[cfg(unix)]
    fn signal_group(&self, signal: i32) {
        if let Err(error) = self.inner.signal(signal) {
            tracing::debug!(pid = self.pid, %error, "cannot signal the process group");
        }
    }
}

/// Ends what has left the group, by its mark: SIGTERM, and SIGKILL for what does not heed it.
#[cfg(target_os = "linux")]
async fn end_strays(mark: Mark) {
    use rustix::process::{Pid, Signal, kill_process};
    let find = async || {
        // Reads files of each process of the machine.
        let found = tokio::task::spawn_blocking(move || processes::marked(|found| found == mark));
        found.await.unwrap_or_default()
    };
    for signal in [Signal::TERM, Signal::KILL] {
        let strays = find().await;
        for pid in &strays {
            let sent = i32::try_from(*pid).ok().and_then(Pid::from_raw).map(|pid| kill_process(pid, signal));
            tracing::debug!(pid, ?signal, ?sent, "ending what left the group of its server");
        }
        let mut pauses = Backoff::new(Duration::from_millis(10), Duration::from_millis(200), GRACE);
        while !strays.is_empty() && !find().await.is_empty() {
            match pauses.pause() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => break,
            }
        }
        if strays.is_empty() {
            return;
        }
    }
}

#[cfg(not(target_os = "linux"))]
async fn end_strays(_mark: Mark) {}

/// Has the system end the process when the daemon does, even by SIGKILL. SIGTERM, because the command is often a launcher
/// (npx, uvx) that passes it on to the server; what does not heed it is ended by the next daemon, from the ledger.
///
/// The signal comes when the *thread* that started the process ends: the daemon's only one.
#[cfg(target_os = "linux")]
fn die_with(daemon: rustix::process::Pid) -> io::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::TERM))?;
    // The daemon may have ended before that.
    if getppid() == Some(daemon) { Ok(()) } else { Err(io::Error::from_raw_os_error(3)) }
}

/// What the new process does before it becomes the server's program.
#[cfg(unix)]
#[expect(unsafe_code, reason = "only the new process itself can do this, between fork and exec")]
fn begin(command: &mut Command, #[cfg_attr(not(target_os = "linux"), expect(unused_variables))] mark: Mark) {
    #[cfg(target_os = "linux")]
    let daemon = rustix::process::getpid();
    // SAFETY: system calls without allocation or locks, which is all that is allowed after a fork.
    unsafe {
        command.pre_exec(move || {
            descriptors::put_back()?;
            // Where it may not, the mark in its environment is left.
            #[cfg(target_os = "linux")]
            let _marked = processes::mark_self(mark);
            #[cfg(target_os = "linux")]
            die_with(daemon)?;
            Ok(())
        });
    }
}

/// Lets large messages pass in fewer turns. A user who has used up the system's allowance keeps the usual size.
#[cfg(target_os = "linux")]
fn widen(stdin: &ChildStdin, stdout: &ChildStdout) {
    for result in [rustix::pipe::fcntl_setpipe_size(stdin, PIPE), rustix::pipe::fcntl_setpipe_size(stdout, PIPE)] {
        if let Err(error) = result {
            tracing::debug!(%error, "pipe not widened");
        }
    }
}
