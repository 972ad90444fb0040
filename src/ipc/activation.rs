//! The socket that a service manager made before the daemon ran: systemd's `LISTEN_FDS`, launchd's `Sockets`.

use std::io;
use std::os::unix::net::UnixListener;

/// The socket that this process was started with, if it was. It is not passed on to children, nor is what names it.
#[cfg(target_os = "linux")]
pub fn activated() -> io::Result<Option<UnixListener>> {
    listenfd::ListenFd::from_env().take_unix_listener(0)
}

#[cfg(target_os = "macos")]
#[expect(unsafe_code, reason = "launchd hands out a number, and only this can make it a socket")]
pub fn activated() -> io::Result<Option<UnixListener>> {
    use std::os::fd::{AsFd, FromRawFd};
    // Fails outside of launchd, or without the key in the property list.
    let Ok(descriptors) = raunch::activate_socket("trunkline") else { return Ok(None) };
    let Some(descriptor) = descriptors.first() else { return Ok(None) };
    // SAFETY: launchd has just given this descriptor away, and nobody else knows of it.
    let socket = unsafe { UnixListener::from_raw_fd(*descriptor) };
    rustix::io::fcntl_setfd(socket.as_fd(), rustix::io::FdFlags::CLOEXEC)?;
    Ok(Some(socket))
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub fn activated() -> io::Result<Option<UnixListener>> {
    Ok(None)
}
