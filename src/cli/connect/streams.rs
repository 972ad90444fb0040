//! The agent's side of the shim: standard input and output, and how the daemon is told that the agent has said all.

use std::fs::File;
use std::io;

use crate::ipc::ClientStream;

/// Standard input and output without the buffers of `std`.
#[cfg(unix)]
pub(super) fn raw_stdio() -> io::Result<(File, File)> {
    use std::os::fd::AsFd;
    Ok((io::stdin().as_fd().try_clone_to_owned()?.into(), io::stdout().as_fd().try_clone_to_owned()?.into()))
}

#[cfg(windows)]
pub(super) fn raw_stdio() -> io::Result<(File, File)> {
    use std::os::windows::io::AsHandle;
    Ok((io::stdin().as_handle().try_clone_to_owned()?.into(), io::stdout().as_handle().try_clone_to_owned()?.into()))
}

/// The agent says no more. If it also reads no more, it is gone, and its calls need not be finished.
#[cfg(unix)]
pub(super) fn finish(to_daemon: &ClientStream) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = io::stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    let polled = poll(&mut watched, Some(&Timespec::default()));
    let gone = polled.is_ok() && watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
    let how = if gone { std::net::Shutdown::Both } else { std::net::Shutdown::Write };
    // Fails only if the daemon hung up first, which the other direction sees too.
    drop(to_daemon.shutdown(how));
}

#[cfg(windows)]
#[expect(
    clippy::exit,
    reason = "a pipe cannot be closed on one side only, and the main thread waits for its other side"
)]
pub(super) fn finish(_to_daemon: &ClientStream) {
    std::process::exit(0);
}
