//! A server's process: its command, its small environment, its group, and its end.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use process_wrap::tokio::{ChildWrapper, CommandWrap};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::config::{BadTemplate, Server};
use crate::lines::Lines;

/// What every server gets of the daemon's environment; anything else is named in its entry.
const PASSED_ON: [&str; 11] =
    ["HOME", "LOGNAME", "PATH", "SHELL", "USER", "LANG", "LC_ALL", "TERM", "TMPDIR", "TZ", "__CF_USER_TEXT_ENCODING"];
/// What programs on Windows need besides.
const PASSED_ON_WINDOWS: [&str; 12] = [
    "APPDATA",
    "COMSPEC",
    "HOMEDRIVE",
    "HOMEPATH",
    "LOCALAPPDATA",
    "PATHEXT",
    "PROCESSOR_ARCHITECTURE",
    "PROGRAMFILES",
    "SYSTEMDRIVE",
    "SYSTEMROOT",
    "TEMP",
    "USERPROFILE",
];
/// How long a server has to end after its standard input closed, and again after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);
/// How much a pipe to or from a server holds, in bytes.
#[cfg(target_os = "linux")]
const PIPE: usize = 256 * 1024;
/// Longest line of standard error read as one.
const STDERR_LINE: u64 = 16 * 1024;

/// A running server process and its process group.
#[derive(Debug)]
pub(super) struct Child {
    inner: Box<dyn ChildWrapper>,
    pub pid: u32,
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
    #[error("`{0}` started without standard streams")]
    Streams(String),
}

fn reason(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        return "no such program, or no such folder in `cwd`; give the full path in `command`".to_owned();
    }
    error.to_string()
}

impl Child {
    /// Starts the server's command in a process group of its own.
    pub(super) fn spawn(server: &Server) -> Result<(Self, Streams), SpawnError> {
        let program = server.command.expand()?;
        let mut command = Command::new(&program);
        for argument in &server.args {
            command.arg(argument.expand()?);
        }
        command.env_clear();
        let windows = PASSED_ON_WINDOWS.iter().filter(|_| cfg!(windows)).copied();
        for name in PASSED_ON.iter().copied().chain(windows).chain(server.env_vars.iter().map(String::as_str)) {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        for (name, value) in &server.env {
            command.env(name, value.expand()?);
        }
        let folder = match &server.cwd {
            Some(template) => Some(PathBuf::from(template.expand()?)),
            None => std::env::home_dir().filter(|home| home.is_dir()),
        };
        if let Some(folder) = folder {
            command.current_dir(folder);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
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
        #[cfg(target_os = "linux")]
        widen(&stdin, &stdout);
        Ok((Self { inner, pid }, Streams { stdin, stdout, stderr }))
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
        match status {
            Some(status) => status.ok(),
            None => timeout(GRACE, self.inner.wait()).await.ok()?.ok(),
        }
    }

    #[cfg(unix)]
    fn signal_group(&self, signal: i32) {
        if let Err(error) = self.inner.signal(signal) {
            tracing::debug!(pid = self.pid, %error, "cannot signal the process group");
        }
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

/// Keeps what a server writes to its standard error, line by line, until the stream ends.
pub(super) async fn keep_stderr(stream: impl AsyncRead + Unpin, logs: [Lines; 2]) {
    let mut reader = BufReader::with_capacity(1024, stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = tokio::io::AsyncReadExt::take(&mut reader, STDERR_LINE);
        match bounded.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => logs.iter().for_each(|log| log.push(String::from_utf8_lossy(&line).trim_end())),
        }
    }
}
