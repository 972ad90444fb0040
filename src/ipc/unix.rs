//! The Unix socket: claimed and listened on by one daemon; a client checks the folder, and who listens, before it speaks.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Mode;
use tokio::io::Interest;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};

use super::errors::{AcceptError, ListenError};
use super::peer::Peer;

pub type ReadHalf = OwnedReadHalf;
pub type WriteHalf = OwnedWriteHalf;
/// A blocking connection, for the shim.
pub type ClientStream = std::os::unix::net::UnixStream;
/// A blocking connection's reading half.
pub type Reader = std::os::unix::net::UnixStream;

/// Size of `sockaddr_un.sun_path`, less the closing zero byte.
const MAX_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The listening socket; holding it is what makes a process the daemon.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    /// What to remove at the end; nothing where the socket belongs to the service manager.
    inode: Option<u64>,
    uid: u32,
    lock: Lock,
}

/// What makes a process the daemon; given up when it is dropped, and by the system when the process ends.
#[derive(Debug, Clone)]
pub struct Lock {
    held: Arc<File>,
}

impl Lock {
    /// Names this process as the daemon no more: it ends in order.
    pub fn unname(&self) {
        if let Err(error) = self.held.set_len(0) {
            tracing::debug!(%error, "the lock still names this daemon");
        }
    }
}

/// The right to listen on a path, before anybody can connect.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    uid: u32,
    lock: Lock,
}

impl Claim {
    /// Checks the folder and takes the lock.
    pub fn new(path: &Path) -> Result<Self, ListenError> {
        let uid = rustix::process::geteuid().as_raw();
        let length = path.as_os_str().as_bytes().len();
        if length > MAX_PATH {
            return Err(ListenError::PathTooLong { path: path.to_owned(), length, most: MAX_PATH });
        }
        check_folder(folder_of(path), uid)?;
        Ok(Self { path: path.to_owned(), uid, lock: lock(path)? })
    }
}

impl Listener {
    /// Removes a stale socket and listens.
    ///
    /// Sets the process's umask for the moment of creation: call it before there are other threads that create files.
    pub fn bind(claim: Claim) -> Result<Self, ListenError> {
        let Claim { path, uid, lock } = claim;
        remove_stale(&path)?;
        let before = rustix::process::umask(Mode::from_raw_mode(0o177));
        let bound = UnixListener::bind(&path);
        rustix::process::umask(before);
        let socket = bound.map_err(io_error("listen on", &path))?;
        let inode = fs::symlink_metadata(&path).map_err(io_error("look at", &path))?.ino();
        Ok(Self { socket, path, inode: Some(inode), uid, lock })
    }

    /// Listens on a socket that the service manager made, and keeps when this process ends.
    pub fn adopt(claim: Claim, socket: std::os::unix::net::UnixListener) -> Result<Self, ListenError> {
        let Claim { path, uid, lock } = claim;
        let listening = socket.set_nonblocking(true).and_then(|()| UnixListener::from_std(socket));
        Ok(Self { socket: listening.map_err(io_error("listen on", &path))?, path, inode: None, uid, lock })
    }

    /// Whether it was this process that made the socket.
    pub fn is_own(&self) -> bool {
        self.inode.is_some()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lock, for holding on to it when listening is over.
    pub fn lock(&self) -> Lock {
        self.lock.clone()
    }

    /// The next connection of the same user.
    pub async fn accept(&self) -> Result<(ReadHalf, WriteHalf, Peer), AcceptError> {
        let (stream, _) = self.socket.accept().await?;
        let peer = stream.peer_cred()?;
        if peer.uid() != self.uid {
            return Err(AcceptError::Foreign(peer.uid()));
        }
        let (read, write) = stream.into_split();
        Ok((read, write, Peer { pid: peer.pid().and_then(|pid| u32::try_from(pid).ok()) }))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path).ok().map(|found| found.ino());
        let still_ours = self.inode.is_some() && found == self.inode;
        if still_ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the socket");
        }
    }
}

/// Whether the other side, which sends no more, does not receive any more either.
pub async fn hung_up(read: &ReadHalf) -> bool {
    // A side that still takes bytes has not hung up; one that is too full to say so has not either.
    let ready = tokio::time::timeout(Duration::from_millis(100), read.ready(Interest::WRITABLE)).await;
    ready.is_ok_and(|ready| ready.is_ok_and(|ready| ready.is_write_closed()))
}

pub async fn connect(path: &Path) -> io::Result<(ReadHalf, WriteHalf)> {
    let folder = folder_of(path);
    check_existing(folder, rustix::process::geteuid().as_raw()).map_err(as_io)?;
    let stream = UnixStream::connect(path).await?;
    check_listener(path, stream.peer_cred()?.uid()).map_err(as_io)?;
    Ok(stream.into_split())
}

pub fn connect_blocking(path: &Path) -> io::Result<(Reader, ClientStream)> {
    let folder = folder_of(path);
    check_existing(folder, rustix::process::geteuid().as_raw()).map_err(as_io)?;
    let stream = ClientStream::connect(path)?;
    check_listener(path, listener(&stream)?).map_err(as_io)?;
    Ok((stream.try_clone()?, stream))
}

/// Refuses whoever listens for another user. The service manager that listens for a daemon may be root's.
fn check_listener(path: &Path, owner: u32) -> Result<(), ListenError> {
    let you = rustix::process::geteuid().as_raw();
    if owner == you || owner == 0 {
        return Ok(());
    }
    Err(ListenError::Foreign { path: path.to_owned(), owner, you })
}

/// The user id of whoever listens at the other end.
#[cfg(target_os = "linux")]
fn listener(stream: &ClientStream) -> io::Result<u32> {
    Ok(nix::sys::socket::getsockopt(stream, nix::sys::socket::sockopt::PeerCredentials)?.uid())
}

#[cfg(not(target_os = "linux"))]
fn listener(stream: &ClientStream) -> io::Result<u32> {
    Ok(nix::unistd::getpeereid(stream)?.0.as_raw())
}

/// A folder that is not there holds no socket, which is no reason for alarm.
fn as_io(error: ListenError) -> io::Error {
    let kind = if let ListenError::Io { error, .. } = &error { error.kind() } else { io::ErrorKind::PermissionDenied };
    io::Error::new(kind, error)
}

fn folder_of(socket: &Path) -> &Path {
    socket.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The pid of the daemon that holds the lock; without one if it is about to end, and nothing if none does.
pub fn holder(socket: &Path) -> Result<Option<String>, ListenError> {
    let path = socket.with_extension("lock");
    let mut file = open_lock(&path)?;
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(io_error("read", &path))?;
            Ok(Some(pid))
        }
        Err(TryLockError::Error(error)) => Err(io_error("lock", &path)(error)),
    }
}

/// Whether a daemon runs, or the last one did not end in order. Connecting would not tell: where the service manager
/// listens, that starts one.
pub fn is_claimed(socket: &Path) -> bool {
    fs::metadata(socket.with_extension("lock")).is_ok_and(|found| found.len() > 0)
}

/// The lock that lets one of many shims start the daemon; `None` while another holds it.
pub fn start_lock(socket: &Path) -> Result<Option<File>, ListenError> {
    check_folder(folder_of(socket), rustix::process::geteuid().as_raw())?;
    let path = socket.with_extension("starting");
    let file = open_lock(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(io_error("lock", &path)(error)),
    }
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ListenError {
    let path = path.to_owned();
    move |error| ListenError::Io { doing, path, error }
}

fn check_folder(folder: &Path, uid: u32) -> Result<(), ListenError> {
    if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(folder)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(io_error("create", folder)(error));
    }
    check_existing(folder, uid)
}

fn check_existing(folder: &Path, uid: u32) -> Result<(), ListenError> {
    let found = fs::symlink_metadata(folder).map_err(io_error("look at", folder))?;
    let path = folder.to_owned();
    let mode = found.mode() & 0o7777;
    if found.is_symlink() {
        Err(ListenError::Symlink { path })
    } else if !found.is_dir() {
        Err(ListenError::NotAFolder { path })
    } else if found.uid() != uid {
        Err(ListenError::Owner { path, owner: found.uid(), you: uid })
    } else if mode & 0o077 != 0 {
        Err(ListenError::Mode { path, mode })
    } else {
        Ok(())
    }
}

fn open_lock(path: &Path) -> Result<File, ListenError> {
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(no_follow);
    options.open(path).map_err(io_error("open", path))
}

/// The file lock that makes the daemon single; its content tells the others who holds it.
fn lock(socket: &Path) -> Result<Lock, ListenError> {
    let path = socket.with_extension("lock");
    let mut file = open_lock(&path)?;
    match file.try_lock() {
        Ok(()) => {
            let write =
                file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()));
            write.map_err(io_error("write", &path))?;
            Ok(Lock { held: Arc::new(file) })
        }
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(io_error("read", &path))?;
            if pid.is_empty() {
                pid.push_str("about to end");
            }
            Err(ListenError::AlreadyRunning { path: socket.to_owned(), pid })
        }
        Err(TryLockError::Error(error)) => Err(io_error("lock", &path)(error)),
    }
}

fn remove_stale(path: &Path) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path).map_err(io_error("remove the stale", path)),
        Ok(_) => Err(ListenError::NotASocket { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("look at", path)(error)),
    }
}
