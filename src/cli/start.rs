//! Starts a daemon when none runs: one, however many ask for it at the same moment.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::ipc::{self, ClientStream, Reader};
use crate::paths::Places;
use crate::retry::Backoff;

/// How long a daemon may take to listen.
const START_WAIT: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Connects to the daemon, starting it first if it does not run.
pub(super) fn connect(places: &Places) -> anyhow::Result<(Reader, ClientStream)> {
    if let Some(connected) = try_connect(places)? {
        return Ok(connected);
    }
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE, START_WAIT);
    let mut lock = None;
    let mut started: Option<Started> = None;
    loop {
        if lock.is_none() {
            lock = ipc::start_lock(&places.socket)?;
        }
        if let Some(connected) = try_connect(places)? {
            if let Some(started) = started {
                started.leave();
            }
            return Ok(connected);
        }
        started = match started.take() {
            None if lock.is_some() => Some(Started::spawn(places)?),
            None => None,
            Some(daemon) => daemon.still_up()?,
        };
        match backoff.pause() {
            Some(pause) => std::thread::sleep(pause),
            None => bail!(
                "no daemon listens on {} after {START_WAIT:?}: see {}",
                places.socket.display(),
                log_path(places).display()
            ),
        }
    }
}

/// Connects to the daemon, if one listens.
fn try_connect(places: &Places) -> anyhow::Result<Option<(Reader, ClientStream)>> {
    match ipc::connect_blocking(&places.socket) {
        Ok(connected) => Ok(Some(connected)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot connect to {}", places.socket.display())),
    }
}

fn log_path(places: &Places) -> std::path::PathBuf {
    places.logs().join("daemon.log")
}

/// A daemon that this process started, and where its words go.
struct Started {
    child: Child,
    log: File,
    begins: u64,
}

impl Started {
    fn spawn(places: &Places) -> anyhow::Result<Self> {
        create_private(&places.logs())?;
        let path = log_path(places);
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut log = options.open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let begins = log.seek(SeekFrom::End(0))?;
        let mut command = Command::new(std::env::current_exe().context("cannot tell where trunkline itself is")?);
        command.arg("run").arg("--socket").arg(&places.socket).arg("--state-dir").arg(&places.state);
        if places.config_named {
            command.arg("--config").arg(&places.config);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.try_clone()?);
        // In a group of its own, it outlives the terminal and the agent that it was started for.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        #[cfg(windows)]
        std::os::windows::process::CommandExt::creation_flags(
            &mut command,
            DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP,
        );
        let child = command.spawn().context("cannot start the daemon")?;
        Ok(Self { child, log, begins })
    }

    /// Lets the daemon run. A shim outlives it, and must not leave a dead child behind.
    fn leave(mut self) {
        std::thread::spawn(move || drop(self.child.wait()));
    }

    /// Itself, if it still runs. Fails with its own words if it ended, unless it gave way to another daemon.
    fn still_up(mut self) -> anyhow::Result<Option<Self>> {
        let Some(status) = self.child.try_wait()? else { return Ok(Some(self)) };
        let mut words = String::new();
        self.log.seek(SeekFrom::Start(self.begins))?;
        self.log.read_to_string(&mut words)?;
        // That one is about to listen, or about to end.
        if words.contains("already running") {
            return Ok(None);
        }
        let words = words.trim();
        bail!("the daemon did not start ({status}): {}", words.strip_prefix("trunkline: ").unwrap_or(words))
    }
}

/// Makes the folder for logs, for the user only.
fn create_private(folder: &Path) -> anyhow::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).with_context(|| format!("cannot create {}", folder.display()))
}

#[cfg(windows)]
const DETACHED_PROCESS: u32 = 0x0000_0008;
#[cfg(windows)]
const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;
