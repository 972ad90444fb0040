//! Word of where the user's daemon listens and keeps its state, for programs that were given too little of the
//! environment to find it by themselves.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[cfg(unix)]
use super::unix::connect_blocking;
#[cfg(windows)]
use super::windows::connect_blocking;
use crate::files::{check_ours, replace};
use crate::paths::{self, Places};
use crate::processes;

/// What the running daemon says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Signpost {
    pub pid: u32,
    /// When it started, in the system's own clock, where that is known: a pid alone may be another's by now.
    pub started: Option<u64>,
    pub socket: PathBuf,
    pub state: PathBuf,
    pub config: PathBuf,
}

impl Signpost {
    /// Of this process, which is the daemon.
    pub fn of_this(places: &Places, socket: &std::path::Path) -> Self {
        let pid = std::process::id();
        Self {
            pid,
            started: processes::start_time(pid),
            socket: socket.to_owned(),
            state: places.state.clone(),
            config: places.config.clone(),
        }
    }

    /// What the daemon that runs has written; nothing if none runs, or if somebody else could have written it.
    pub fn read() -> Option<Self> {
        let path = paths::signpost()?;
        check_ours(&path).ok()?;
        let found: Self = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        let lives = if cfg!(target_os = "linux") {
            let started = processes::start_time(found.pid);
            started.is_some() && started == found.started
        } else {
            connect_blocking(&found.socket).is_ok()
        };
        lives.then_some(found)
    }

    pub fn put(&self) -> io::Result<()> {
        let path = paths::signpost().ok_or_else(|| io::Error::other("there is no home folder"))?;
        replace(&path, &serde_json::to_vec(self)?)
    }

    /// Takes down what this process has put up.
    pub fn remove(&self) {
        let own = Self::read().is_some_and(|found| found.pid == self.pid);
        if let Some(path) = paths::signpost().filter(|_| own)
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::debug!(%error, path = %path.display(), "the signpost stays: it names a daemon that is gone");
        }
    }

    /// The places of the daemon that runs, in place of those that follow from this process's environment. What the
    /// person named stays.
    pub fn follow(mut places: Places) -> Places {
        let Some(found) = Some(()).filter(|()| places.is_default).and_then(|()| Self::read()) else { return places };
        if !places.config_named {
            places.config = found.config;
        }
        (places.socket, places.state) = (found.socket, found.state);
        places
    }
}
