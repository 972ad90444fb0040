//! What a server writes to its standard error: the last lines in memory, and a file that is rotated.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::lines::Lines;
use crate::rotated::{Rotated, stamped};

/// How many lines of a server are kept in memory.
const KEPT: usize = 1_000;
/// A file that grew past this makes place for a new one; one old file is kept.
const FILE_SIZE: u64 = 1 << 20;
/// How much of an earlier daemon's file is read back.
const READ_BACK: u64 = 64 << 10;
/// Longest line read as one.
const LINE: u64 = 16 << 10;

/// The log of one server, over all its processes. Clones share it.
#[derive(Debug, Clone)]
pub struct ServerLog {
    pub lines: Lines,
    file: Arc<Mutex<Rotated>>,
}

impl ServerLog {
    /// The log at `path`, with the lines that an earlier daemon left there.
    pub fn open(path: PathBuf) -> Self {
        let lines = Lines::new(KEPT);
        if let Ok(text) = tail(&path) {
            text.lines().for_each(|line| lines.push(line));
        }
        Self { lines, file: Arc::new(Mutex::new(Rotated::new(path, FILE_SIZE))) }
    }

    /// Adds a line, with the moment before it.
    pub fn push(&self, line: &str) {
        let line = stamped(line);
        self.lines.push(&line);
        let mut rotated = self.file.lock();
        if let Err(error) = rotated.write(&line) {
            tracing::debug!(%error, path = %rotated.path().display(), "server log not written");
        }
    }
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(READ_BACK);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // The first line may be cut.
    Ok(if from == 0 { text } else { text.split_once('\n').map_or(String::new(), |(_, rest)| rest.to_owned()) })
}

/// Keeps what a process writes to its standard error, line by line, until the stream ends: in the server's log, and in
/// `own`, which errors quote.
pub(super) async fn keep(stream: impl AsyncRead + Unpin, own: Lines, log: ServerLog) {
    let mut reader = BufReader::with_capacity(1024, stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = tokio::io::AsyncReadExt::take(&mut reader, LINE);
        match bounded.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                own.push(text.trim_end());
                log.push(text.trim_end());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_full_file_makes_place_and_the_last_lines_are_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("logs/x.log");
        let log = ServerLog::open(path.clone());
        let long = "x".repeat(4000);
        (0..600).for_each(|number| log.push(&format!("{number} {long}")));
        let sizes = [&path, &path.with_extension("log.1")].map(|path| fs::metadata(path).expect("a file").len());
        assert!(sizes.iter().all(|size| *size <= FILE_SIZE + 5_000), "{sizes:?}");
        let again = ServerLog::open(path);
        assert!(again.lines.tail(1)[0].contains("Z 599 x"));
        assert!(again.lines.tail(99).iter().all(|line| line.contains(" x")));
    }
}
