//! How a command ends, and where it says so.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use jsonrpsee::core::client::Error as RpcError;

use crate::envelope::reply::code;
use crate::shown::Shown;

/// Why a command did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("no trunkline daemon is running on {0}: start one with `trunkline run`, or let `trunkline connect` do it")]
    NoDaemon(String),
    #[error("{0}")]
    Daemon(String),
    /// A person must log in first.
    #[error("{0}")]
    NeedsLogin(String),
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl From<RpcError> for Trouble {
    fn from(error: RpcError) -> Self {
        if let RpcError::Call(object) = error {
            let message = object.message().to_owned();
            return if object.code() == code::NEEDS_LOGIN { Self::NeedsLogin(message) } else { Self::Daemon(message) };
        }
        if matches!(error, RpcError::RestartNeeded(_)) {
            let message = "the daemon closed the connection before it answered: it may be starting or ending; its log says more (`journalctl --user -u trunkline`, or logs/daemon.log in the state folder)";
            return Self::Daemon(message.to_owned());
        }
        Self::Daemon(format!("the daemon did not answer: {error}"))
    }
}

/// What a command ends with.
pub(super) type Done = Result<ExitCode, Trouble>;

/// Tells a person what is wrong.
pub(super) fn complain(text: &str) {
    // There is nowhere left to report that standard error is closed.
    drop(writeln!(Shown(io::stderr()), "trunkline: {text}"));
}

/// Tells a script what is wrong, with the exit status.
pub(super) fn complain_in_json(text: &str, status: u8) {
    let error = serde_json::json!({ "error": { "message": text, "status": status } });
    drop(writeln!(io::stderr(), "{error}"));
}

/// Whether a command goes on when the reader of its output goes away.
static GOES_ON: AtomicBool = AtomicBool::new(false);

/// A command that changes something finishes what it has begun, whoever reads.
pub(super) fn go_on_unread() {
    GOES_ON.store(true, Ordering::Relaxed);
}

/// Standard output.
pub(super) struct Out(io::StdoutLock<'static>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && GOES_ON.load(Ordering::Relaxed) => {
                Ok(bytes.len())
            }
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && GOES_ON.load(Ordering::Relaxed) => Ok(()),
            flushed => flushed,
        }
    }
}

/// Standard output for people: what others wrote is shown without its control characters.
pub(super) fn out() -> Shown<Out> {
    Shown(Out(io::stdout().lock()))
}
