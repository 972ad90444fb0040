//! A process that waits for the daemon to be gone: what a `kill -9` leaves behind ends then, and not with the next daemon. It
//! holds nothing but the end of a pipe. Where the service manager watches the daemon, that does the same.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use crate::paths::Places;
use crate::processes::DaemonMark;
use crate::program;
use crate::upstream::Ledger;

/// Servers were told to end when the daemon did, and have this long for it.
const GRACE: Duration = Duration::from_secs(2);

/// It, and the daemon's end of the pipe: when the daemon is gone, however that came, so is that end.
#[derive(Debug)]
pub(super) struct Guardian(Child);

impl Guardian {
    /// Starts it for the daemon that has this ledger.
    pub(super) fn start(places: &Places, ledger: &Ledger) -> anyhow::Result<Self> {
        let mut command = Command::new(program::itself()?);
        command.arg("--state-dir").arg(&places.state).arg("guard").arg(ledger.daemon().to_string());
        command.current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        #[cfg(unix)]
        {
            use std::os::unix::process::CommandExt;
            // It is no daemon, and is not to be taken for one; and what the terminal tells the daemon is not for it.
            command.arg0(crate::processes::GUARDIAN).process_group(0);
        }
        Ok(Self(command.spawn()?))
    }

    /// Ends it: the daemon ends in order, and leaves nothing behind.
    pub(super) fn dismiss(mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            tracing::debug!(%error, "the guardian is gone already");
        }
    }
}

/// Waits until the daemon of this name is gone, and ends what it left behind.
pub fn guard(state: &Path, daemon: DaemonMark) -> ExitCode {
    // Nothing ever comes; an error is an end, too.
    let _end = std::io::stdin().lock().read_to_end(&mut Vec::new());
    std::thread::sleep(GRACE);
    Ledger::end_left(state, daemon);
    ExitCode::SUCCESS
}
