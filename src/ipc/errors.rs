//! Why the endpoint cannot be opened, or a connection not accepted.

use std::io;
use std::path::PathBuf;

/// Why the endpoint cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("a trunkline daemon is already running (pid {pid}) on {path}: use it, or `trunkline shutdown` it first")]
    AlreadyRunning { path: PathBuf, pid: String },
    #[error(
        "{path} is a symbolic link: the socket's folder must be a real folder of yours; name another place with --socket"
    )]
    Symlink { path: PathBuf },
    #[error("{path} is not a folder: remove it, or name another place with --socket")]
    NotAFolder { path: PathBuf },
    #[error("{path} belongs to user id {owner}, not to you ({you}): name another place with --socket")]
    Owner { path: PathBuf, owner: u32, you: u32 },
    #[error("{path} is open to other users (mode {mode:04o}): run `chmod 700 {path}`")]
    Mode { path: PathBuf, mode: u32 },
    #[error(
        "{path} is answered by a program of user id {owner}, not by yours ({you}): nothing was sent to it; name another place with --socket"
    )]
    Foreign { path: PathBuf, owner: u32, you: u32 },
    #[error("{path} exists and is not a socket: remove it, or name another place with --socket")]
    NotASocket { path: PathBuf },
    #[error(
        "the socket path {path} has {length} bytes and the system takes at most {most}: name a shorter place with --socket"
    )]
    PathTooLong { path: PathBuf, length: usize, most: usize },
    #[error("cannot {doing} {path}: {error}")]
    Io { doing: &'static str, path: PathBuf, error: io::Error },
}

/// Why a connection was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    #[error("refused a connection from user id {0}: only your own processes may connect")]
    Foreign(u32),
    #[error(transparent)]
    Io(#[from] io::Error),
}
