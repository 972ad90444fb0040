//! A log file of bounded size: a full one makes place for a new one, and one old one is kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chrono::{SecondsFormat, Utc};

use crate::files::create_private;

/// A file that lines are written to.
#[derive(Debug)]
pub struct Rotated {
    path: PathBuf,
    /// How large it may become, in bytes.
    most: u64,
    file: Option<(File, u64)>,
}

impl Rotated {
    /// The file at `path`, which is made with the first line.
    pub fn new(path: PathBuf, most: u64) -> Self {
        Self { path, most, file: None }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn write(&mut self, line: &str) -> io::Result<()> {
        let (mut file, size) = match self.file.take() {
            Some((file, size)) if size < self.most => (file, size),
            Some(_) => {
                fs::rename(&self.path, self.path.with_extension("log.1"))?;
                open(&self.path)?
            }
            None => open(&self.path)?,
        };
        file.write_all(format!("{line}\n").as_bytes())?;
        self.file = Some((file, size + line.len() as u64 + 1));
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    if let Some(folder) = path.parent() {
        create_private(folder)?;
    }
    let file = options.open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

/// A line with the moment before it, in RFC 3339.
pub fn stamped(line: &str) -> String {
    format!("{} {line}", Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true))
}
