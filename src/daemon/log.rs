//! The daemon's log: to standard error, and kept for `trunkline logs`.

use std::io::{self, Write};
#[cfg(unix)]
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::lines::Lines;
use crate::rotated::Rotated;
use crate::shown;

/// How many lines are kept.
const KEPT: usize = 2_000;
/// Names a level, or levels by module, as `tracing_subscriber::filter::Targets` reads them.
const VARIABLE: &str = "TRUNKLINE_LOG";

/// Where a daemon that nobody else reads writes its log, in the folder of the logs.
pub const FILE: &str = "daemon.log";
/// A file that grew past this makes place for a new one; one old file is kept.
const FILE_SIZE: u64 = 4 << 20;

/// Starts logging; returns what is kept. The first start in a process counts. Where standard error is the file `own`, that is
/// rotated.
pub(super) fn start(own: &Path) -> Lines {
    let file = Arc::new(OwnFile::new(own));
    let copy = Arc::new(Mutex::new(Rotated::new(own.to_owned(), FILE_SIZE)));
    let is_copied = !file.is_own();
    let kept = Lines::new(KEPT);
    let wanted = std::env::var(VARIABLE).ok();
    let filter = wanted.as_deref().and_then(|text| Targets::from_str(text).ok());
    // rmcp logs payloads at INFO; jsonrpsee has nothing to say to a user.
    let filter = filter
        .unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO))
        .with_target("rmcp", LevelFilter::WARN)
        .with_target("jsonrpsee", LevelFilter::WARN);
    let to_kept = kept.clone();
    let started = tracing_subscriber::registry()
        .with(
            tracing_subscriber::fmt::layer()
                .with_ansi(false)
                .with_target(false)
                .with_writer(move || KeptWriter(to_kept.clone())),
        )
        .with(
            tracing_subscriber::fmt::layer()
                .with_ansi(false)
                .with_target(false)
                .with_writer(move || LineWriter(file.clone())),
        )
        .with(is_copied.then(|| {
            tracing_subscriber::fmt::layer()
                .with_ansi(false)
                .with_target(false)
                .with_writer(move || CopyWriter(copy.clone()))
        }))
        .with(filter)
        .try_init();
    if let Err(error) = started {
        kept.push(&format!("logging was started before: {error}"));
    }
    if wanted.is_some_and(|text| Targets::from_str(&text).is_err()) {
        tracing::warn!(
            "{VARIABLE} is not a level (error, warn, info, debug, trace) nor a list of module=level: info is used"
        );
    }
    kept
}

/// Says something before there is a log.
pub(super) fn early(message: &str) {
    // There is nowhere left to report that standard error is closed.
    drop(writeln!(io::stderr(), "trunkline: {}", shown::line(message)));
}

/// Writes one line for each event, whatever is in it.
struct LineWriter(Arc<OwnFile>);

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = line_of(bytes) + "\n";
        self.0.make_place(line.len());
        io::stderr().write_all(line.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The file that standard error is, where it is this daemon's alone: nobody else would rotate it.
#[derive(Debug)]
struct OwnFile {
    path: PathBuf,
    /// Its size; nothing where standard error is another's.
    size: Mutex<Option<u64>>,
}

impl OwnFile {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), size: Mutex::new(size_if_own(path)) }
    }

    fn is_own(&self) -> bool {
        self.size.lock().is_some()
    }

    /// Begins a new file if this one is full. Where that fails, the old one goes on.
    fn make_place(&self, line: usize) {
        let mut size = self.size.lock();
        let Some(size) = &mut *size else { return };
        *size += line as u64;
        if *size > FILE_SIZE && renew(&self.path).is_ok() {
            *size = line as u64;
        }
    }
}

#[cfg(unix)]
fn size_if_own(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    let open = std::fs::File::from(io::stderr().as_fd().try_clone_to_owned().ok()?).metadata().ok()?;
    let named = std::fs::metadata(path).ok()?;
    (named.dev() == open.dev() && named.ino() == open.ino()).then_some(named.len())
}

#[cfg(unix)]
fn renew(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    match std::fs::rename(path, path.with_extension("log.1")) {
        // It was moved before, and no new one could be made then.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    Ok(rustix::stdio::dup2_stderr(file)?)
}

/// On Windows, an open file keeps its name.
#[cfg(windows)]
fn size_if_own(_path: &Path) -> Option<u64> {
    None
}

#[cfg(windows)]
fn renew(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// The line of an event that was written with its line end.
fn line_of(event: &[u8]) -> String {
    let text = String::from_utf8_lossy(event);
    shown::line(text.trim_end_matches('\n')).into_owned()
}

/// Writes what somebody else reads from standard error to the file too, for `trunkline logs`.
struct CopyWriter(Arc<Mutex<Rotated>>);

impl Write for CopyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // That it cannot be written is seen where the log is looked for; what is said goes on.
        drop(self.0.lock().write(&line_of(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct KeptWriter(Lines);

impl Write for KeptWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(&line_of(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
