//! The daemon's log: to standard error, and kept for `trunkline logs`.

use std::io::{self, Write};
use std::str::FromStr;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::lines::Lines;
use crate::shown;

/// How many lines are kept.
const KEPT: usize = 2_000;
/// Names a level, or levels by module, as `tracing_subscriber::filter::Targets` reads them.
const VARIABLE: &str = "TRUNKLINE_LOG";

/// Starts logging; returns what is kept. The first start in a process counts.
pub(super) fn start() -> Lines {
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
                .with_writer(|| LineWriter(io::stderr())),
        )
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
struct LineWriter<W>(W);

impl<W: Write> Write for LineWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all((line_of(bytes) + "\n").as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The line of an event that was written with its line end.
fn line_of(event: &[u8]) -> String {
    let text = String::from_utf8_lossy(event);
    shown::line(text.trim_end_matches('\n')).into_owned()
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
