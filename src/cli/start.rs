//! Starts a daemon when none runs: one, however many ask for it at the same moment.

#[cfg(unix)]
pub(super) mod detach;
mod launch;
mod listening;

use std::time::Duration;

use anyhow::bail;

use crate::cli::start::launch::{Launched, log_path};
use crate::cli::start::listening::try_connect;
use crate::ipc::{self, ClientStream, Reader, Signpost};
use crate::paths::Places;
use crate::retry::Backoff;

/// How long a daemon may take to listen, with the login shell that tells it of the person's environment.
const START_WAIT: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Connects to the daemon, starting it first if it does not run.
pub(super) fn connect(places: &Places) -> anyhow::Result<(Reader, ClientStream)> {
    if let Some(connected) = try_connect(places)? {
        return Ok(connected);
    }
    if places.is_a_socket_alone() {
        bail!(
            "no daemon listens on {}, and none is started where only a socket was named: start one there, forward the socket again, or name its --state-dir too",
            places.socket.display()
        );
    }
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE, START_WAIT);
    let mut lock = None;
    let mut launched: Option<Launched> = None;
    loop {
        if lock.is_none() {
            lock = ipc::start_lock(&places.socket)?;
        }
        if let Some(connected) = try_connect(places)? {
            return Ok(connected);
        }
        launched = match launched.take() {
            None if lock.is_some() => Some(Launched::new(places)?),
            None => None,
            Some(daemon) => daemon.still_up(places)?,
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

/// Whether a daemon runs, or the last one did not end in order.
pub(super) fn is_claimed(places: &Places) -> bool {
    ipc::is_claimed(&Signpost::follow(places.clone()).socket)
}
