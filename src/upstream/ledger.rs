//! The processes that this daemon started, on disk, so that the next one can end what a `kill -9` left behind.
//!
//! The first line is the daemon's own: boot and mark. Then one for each process: pid, start time, boot, mark, and the program
//! that runs its container, if it is one. A pid alone may be somebody else's by now; the start time tells, within one boot of the
//! system. What has left its server's group carries the mark ([`Mark`]).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::files::{check_ours, create_private, replace};
use crate::processes::{self, DaemonMark, Mark};
use crate::upstream::container;

/// Handle to the ledger of one daemon.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    daemon: DaemonMark,
    /// How many processes were started.
    started: AtomicU64,
    running: Mutex<BTreeMap<u32, Entry>>,
    /// Held as long as the daemon lives.
    _lock: File,
}

/// One process.
#[derive(Debug, Clone)]
struct Entry {
    started: u64,
    mark: Mark,
    container: Option<PathBuf>,
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
            Ok(text) => reap(&text, &processes::boot()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, path = %path.display(), "ledger not trusted: nothing is ended by it"),
        }
        let ledger = Self(Arc::new(Shared {
            path,
            daemon: processes::own_mark(),
            started: AtomicU64::new(0),
            running: Mutex::default(),
            _lock: lock,
        }));
        ledger.save(&BTreeMap::new());
        Ok(ledger)
    }

    /// Ends what this daemon, which is gone, has left behind; nothing if another one has taken its place.
    pub fn end_left(state: &Path, daemon: DaemonMark) {
        let path = state.join("ledger");
        let text = check_ours(&path).and_then(|()| std::fs::read_to_string(&path)).unwrap_or_default();
        let boot = processes::boot();
        if text.lines().next() == Some(&first_line(&boot, daemon)) {
            reap(&text, &boot);
        }
    }

    /// What this daemon is called in the ledger.
    pub fn daemon(&self) -> DaemonMark {
        self.0.daemon
    }

    /// A mark for a process that is about to start.
    pub(super) fn mark(&self) -> Mark {
        self.0.daemon.process(self.0.started.fetch_add(1, Ordering::Relaxed))
    }

    /// Notes a process that was just started under a mark, and what runs its container.
    pub(super) fn add(&self, pid: u32, mark: Mark, container: Option<PathBuf>) {
        let Some(started) = processes::start_time(pid) else { return };
        let mut running = self.0.running.lock();
        running.insert(pid, Entry { started, mark, container });
        self.save(&running);
    }

    /// Notes that a process and its group are gone.
    pub(super) fn remove(&self, pid: u32) {
        let mut running = self.0.running.lock();
        if running.remove(&pid).is_some() {
            self.save(&running);
        }
    }

    fn save(&self, running: &BTreeMap<u32, Entry>) {
        let boot = processes::boot();
        let mut text = first_line(&boot, self.0.daemon) + "\n";
        for (pid, Entry { started, mark, container }) in running {
            let container = container.as_ref().map(|program| format!(" {}", program.display())).unwrap_or_default();
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "{pid} {started} {boot} {mark}{container}");
        }
        if let Err(error) = replace(&self.0.path, text.as_bytes()) {
            tracing::warn!(%error, path = %self.0.path.display(), "ledger not written: servers may outlive a killed daemon");
        }
    }
}

fn first_line(boot: &str, daemon: DaemonMark) -> String {
    format!("daemon {boot} {daemon}")
}

/// Ends what a ledger names, and what carries its marks. All of it was asked to end when its daemon did.
#[cfg(target_os = "linux")]
fn reap(text: &str, boot: &str) {
    use rustix::process::{Pid, Signal, kill_process, kill_process_group};
    let pid_of = |pid: u32| i32::try_from(pid).ok().and_then(Pid::from_raw);
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(5, ' ').collect();
        match words.as_slice() {
            ["daemon", when, daemon] if *when == boot => {
                let Ok(daemon) = daemon.parse::<DaemonMark>() else { continue };
                for pid in processes::marked(|mark| mark.daemon == daemon) {
                    if pid_of(pid).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok()) {
                        tracing::warn!(pid, "ended what a server of the last daemon left behind");
                    }
                }
            }
            [pid, started, when, rest @ ..] if *when == boot => {
                let (Ok(pid), Ok(started)) = (pid.parse::<u32>(), started.parse::<u64>()) else { continue };
                let ours = processes::start_time(pid) == Some(started);
                if let Some(group) = pid_of(pid).filter(|_| ours)
                    && kill_process_group(group, Signal::KILL).is_ok()
                {
                    tracing::warn!(pid, "ended a server that the last daemon left behind");
                }
                if let [mark, program] = rest {
                    container::end_later(Path::new(program), mark);
                }
            }
            _ => {}
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn reap(_text: &str, _boot: &str) {}
