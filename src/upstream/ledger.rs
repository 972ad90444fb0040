//! The processes that this daemon started, on disk, so that the next one can end what a `kill -9` left behind.
//!
//! One line for each: pid, start time, boot, mark. A pid alone may be somebody else's by now; the start time tells, within
//! one boot of the system. Where the leader of a group is gone, the mark in its members' environment tells that they
//! are ours.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::files::{check_ours, create_private, replace};
use crate::processes;

/// The variable that every server's environment carries: which daemon started it.
pub(super) const MARK: &str = "TRUNKLINE_DAEMON";

/// Handle to the ledger of one daemon.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    mark: String,
    /// Start times by pid.
    running: Mutex<BTreeMap<u32, u64>>,
    /// Held as long as the daemon lives.
    _lock: File,
}

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error(
        "a trunkline daemon that keeps its state in {0} is already running: `trunkline status` shows it, and `trunkline shutdown` ends it"
    )]
    InUse(PathBuf),
    #[error("cannot write to the state folder {0}: {1}; name another with --state-dir")]
    Io(PathBuf, io::Error),
}

impl Ledger {
    /// Takes a state folder for this daemon alone, ends what the last one left behind, and opens an empty ledger.
    pub fn open(state: &Path) -> Result<Self, StateError> {
        let io_error = |error| StateError::Io(state.to_owned(), error);
        create_private(state).map_err(io_error)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let lock = options.open(state.join("ledger.lock")).map_err(io_error)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::InUse(state.to_owned())),
            Err(TryLockError::Error(error)) => return Err(io_error(error)),
        }
        let path = state.join("ledger");
        match check_ours(&path).and_then(|()| std::fs::read_to_string(&path)) {
            Ok(text) => text.lines().for_each(|line| reap(line, &processes::boot())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, path = %path.display(), "ledger not trusted: nothing is ended by it"),
        }
        let pid = std::process::id();
        let mark = format!("{pid}-{}", processes::start_time(pid).unwrap_or_default());
        let ledger = Self(Arc::new(Shared { path, mark, running: Mutex::default(), _lock: lock }));
        ledger.save(&BTreeMap::new());
        Ok(ledger)
    }

    pub(super) fn mark(&self) -> &str {
        &self.0.mark
    }

    /// Notes a process that was just started.
    pub(super) fn add(&self, pid: u32) {
        let Some(started) = processes::start_time(pid) else { return };
        let mut running = self.0.running.lock();
        running.insert(pid, started);
        self.save(&running);
    }

    /// Notes that a process and its group are gone.
    pub(super) fn remove(&self, pid: u32) {
        let mut running = self.0.running.lock();
        if running.remove(&pid).is_some() {
            self.save(&running);
        }
    }

    fn save(&self, running: &BTreeMap<u32, u64>) {
        let mut text = String::new();
        for (pid, started) in running {
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "{pid} {started} {} {}", processes::boot(), self.0.mark);
        }
        if let Err(error) = replace(&self.0.path, text.as_bytes()) {
            tracing::warn!(%error, path = %self.0.path.display(), "ledger not written: servers may outlive a killed daemon");
        }
    }
}

/// Ends the group that a line names, if it is still the one that was noted. It was asked to end when its daemon did.
#[cfg(target_os = "linux")]
fn reap(line: &str, boot: &str) {
    let mut words = line.split(' ');
    let mut number = || words.next()?.parse::<u64>().ok();
    let (Some(pid), Some(started)) = (number().and_then(|pid| u32::try_from(pid).ok()), number()) else { return };
    if words.next() != Some(boot) {
        return;
    }
    let ours = match processes::start_time(pid) {
        Some(found) => found == started,
        None => words.next().is_some_and(|mark| processes::marked(pid, MARK, mark)),
    };
    let group = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).filter(|_| ours);
    let Some(group) = group else { return };
    match rustix::process::kill_process_group(group, rustix::process::Signal::KILL) {
        Ok(()) => tracing::warn!(pid, "ended a server that the last daemon left behind"),
        Err(error) => tracing::debug!(pid, %error, "nothing left to end"),
    }
}

#[cfg(not(target_os = "linux"))]
fn reap(_line: &str, _boot: &str) {}
