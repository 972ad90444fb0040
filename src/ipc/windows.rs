//! The named pipe. Not compiled where trunkline is developed: written from the sources of `interprocess`, and kept small.
//!
//! The pipe is the daemon's lock as well: Windows lets one process create its first instance. Its name holds the user's
//! SID, its descriptor admits the owner alone and inherits nothing, and connections from the network are refused.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use interprocess::os::windows::named_pipe::PipeListenerOptions;
use interprocess::os::windows::named_pipe::pipe_mode::Bytes;
use interprocess::os::windows::named_pipe::tokio::{
    DuplexPipeStream, PipeListener, PipeListenerOptionsExt, RecvPipeStream, SendPipeStream,
};
use interprocess::os::windows::security_descriptor::SecurityDescriptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use widestring::u16cstr;

use super::errors::{AcceptError, ListenError};
use super::peer::Peer;

pub type ReadHalf = RecvPipeStream<Bytes>;
pub type WriteHalf = SendPipeStream<Bytes>;
pub type ClientStream = Blocking<WriteHalf>;
pub type Reader = Blocking<ReadHalf>;

/// The listening pipe; holding its first instance is what makes a process the daemon.
pub struct Listener {
    pipe: PipeListener<Bytes, Bytes>,
    path: PathBuf,
}

/// The pipe is the lock: there is nothing to hold on to when it is gone.
#[derive(Debug, Clone)]
pub struct Lock;

/// The right to listen on a path: on Windows the first pipe of a name is that.
pub struct Claim(PathBuf);

impl Claim {
    #[expect(clippy::unnecessary_wraps, reason = "the Unix twin can fail")]
    pub fn new(path: &Path) -> Result<Self, ListenError> {
        Ok(Self(path.to_owned()))
    }
}

impl Lock {
    /// There is no name in it.
    pub fn unname(&self) {}
}

impl Listener {
    pub fn bind(claim: Claim) -> Result<Self, ListenError> {
        let path = claim.0.as_path();
        // Protected, and full access for the owner alone.
        let descriptor =
            SecurityDescriptor::deserialize(u16cstr!("D:P(A;;GA;;;OW)")).map_err(io_error("protect", path))?;
        let options = PipeListenerOptions::new().path(path).accept_remote(false).security_descriptor(Some(descriptor));
        match options.create_tokio_duplex::<Bytes>() {
            Ok(pipe) => Ok(Self { pipe, path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(ListenError::AlreadyRunning { path: path.to_owned(), pid: "unknown".to_owned() })
            }
            Err(error) => Err(io_error("listen on", path)(error)),
        }
    }

    /// There are no pipes that a service manager makes.
    pub fn adopt(_claim: Claim, socket: std::convert::Infallible) -> Result<Self, ListenError> {
        match socket {}
    }

    /// Whether it was this process that made the pipe.
    pub fn is_own(&self) -> bool {
        true
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn lock(&self) -> Lock {
        Lock
    }

    pub async fn accept(&self) -> Result<(ReadHalf, WriteHalf, Peer), AcceptError> {
        let stream = self.pipe.accept().await?;
        let pid = stream.client_process_id().ok();
        let (read, write) = stream.split();
        Ok((read, write, Peer { pid }))
    }
}

/// A pipe is closed as a whole: one whose other end sends no more does not receive either.
pub async fn hung_up(_read: &ReadHalf) -> bool {
    true
}

pub async fn connect(path: &Path) -> io::Result<(ReadHalf, WriteHalf)> {
    Ok(DuplexPipeStream::<Bytes>::connect_by_path(path).await?.split())
}

/// A half of a pipe for threads that wait. Reading and writing one synchronous pipe at the same time would wait for each
/// other, so both halves are asynchronous underneath.
pub struct Blocking<T> {
    half: T,
    runtime: Arc<Runtime>,
}

impl Read for Blocking<ReadHalf> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.runtime.block_on(self.half.read(buffer))
    }
}

impl Write for Blocking<WriteHalf> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.runtime.block_on(self.half.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.runtime.block_on(self.half.flush())
    }
}

pub fn connect_blocking(path: &Path) -> io::Result<(Reader, ClientStream)> {
    let runtime = Arc::new(Builder::new_current_thread().enable_all().build()?);
    let (read, write) = runtime.block_on(connect(path))?;
    Ok((Blocking { half: read, runtime: runtime.clone() }, Blocking { half: write, runtime }))
}

/// A daemon that hung up has given the pipe up.
pub fn holder(_socket: &Path) -> Result<Option<String>, ListenError> {
    Ok(None)
}

/// Whether a daemon runs.
pub fn is_claimed(socket: &Path) -> bool {
    socket.exists()
}

/// The lock that lets one of many shims start the daemon; `None` while another holds it.
pub fn start_lock(socket: &Path) -> Result<Option<File>, ListenError> {
    let name = socket.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let path: PathBuf = std::env::temp_dir().join(format!("{name}.starting"));
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(&path).map_err(io_error("open", &path))?;
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
