//! `logs`: the daemon's log, or a server's standard error, from their files: also while no daemon runs.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use chrono::{DateTime, Local};

use crate::cli::done::{Done, Trouble, complain, out};
use crate::config::Config;
use crate::control::LogLine;
use crate::daemon;
use crate::names;
use crate::paths::Places;
use crate::record::moment;

/// How often a file is looked at for more.
const LOOK: Duration = Duration::from_millis(150);

/// Which lines.
pub(super) struct Logs<'a> {
    pub server: Option<&'a str>,
    pub lines: usize,
    pub since: Option<&'a str>,
    pub follow: bool,
    pub json: bool,
}

pub(super) fn run(logs: &Logs<'_>, places: &Places) -> Done {
    let file = match logs.server {
        None => places.logs().join(daemon::LOG_FILE),
        Some(server) => of_server(server, places)?,
    };
    let since = logs.since.map(|text| moment(text, SystemTime::now())).transpose().map_err(anyhow::Error::from)?;
    let mut followed = Followed { path: file.clone(), file: None, rest: Vec::new() };
    // What was put aside for its size comes first.
    let mut lines = read(&file.with_extension("log.1"));
    lines.extend(followed.more());
    if lines.is_empty() && !logs.follow {
        let what = logs.server.map_or("the daemon has".to_owned(), |server| format!("`{server}` has"));
        complain(&format!("{what} written nothing yet"));
    }
    let from = since.and_then(|since| lines.iter().position(|line| at(line).is_some_and(|at| at >= since)));
    let from = if since.is_some() { from.unwrap_or(lines.len()) } else { 0 };
    let first = from.max(lines.len().saturating_sub(logs.lines));
    lines.drain(..first).for_each(drop);
    loop {
        lines.iter().try_for_each(|line| print(line, logs.json))?;
        if !logs.follow {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(LOOK);
        lines = followed.more();
    }
}

/// The log of a server, which the configuration has, or has had.
fn of_server(server: &str, places: &Places) -> Result<PathBuf, Trouble> {
    let config = Config::load(&places.config).unwrap_or_default();
    let known: Vec<_> = config.servers.iter().map(|(name, _)| name.as_str()).collect();
    let written = config.servers.iter().find(|(_, settings)| settings.written.as_deref() == Some(server));
    let name = written.map_or(server, |(name, _)| name.as_str());
    let file = places.logs().join(format!("{name}.log"));
    let is_name = names::ServerName::parse(name).is_ok();
    if known.contains(&name) || is_name && file.exists() {
        return Ok(file);
    }
    let near = names::nearest(server, known.iter().copied());
    let hint = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
    Err(anyhow!("no server is named `{server}`{hint}").into())
}

/// When a line was written, if it begins with that.
fn at(line: &str) -> Option<SystemTime> {
    let first = line.split(' ').next()?;
    DateTime::parse_from_rfc3339(first).ok().map(Into::into)
}

fn read(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
}

/// A file that grows, and gives way to another one when it is full.
struct Followed {
    path: PathBuf,
    file: Option<File>,
    /// The beginning of a line that is not written whole.
    rest: Vec<u8>,
}

impl Followed {
    /// The lines that have come.
    fn more(&mut self) -> Vec<String> {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        let Some(file) = &mut self.file else { return Vec::new() };
        let mut bytes = std::mem::take(&mut self.rest);
        if file.read_to_end(&mut bytes).is_err() {
            self.file = None;
            return Vec::new();
        }
        if is_another(file, &self.path) {
            self.file = None;
        }
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.rest = bytes.split_off(end);
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }
}

/// Whether another file has taken this one's place, or it was begun anew.
fn is_another(file: &mut File, path: &Path) -> bool {
    let Ok(found) = std::fs::metadata(path) else { return true };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if file.metadata().is_ok_and(|open| open.ino() != found.ino()) {
            return true;
        }
    }
    let cut = file.stream_position().is_ok_and(|at| at > found.len());
    cut && file.seek(SeekFrom::Start(0)).is_err()
}

fn print(line: &str, json: bool) -> io::Result<()> {
    if json {
        let line = serde_json::to_string(&LogLine { line: line.to_owned() }).map_err(io::Error::other)?;
        return writeln!(io::stdout(), "{line}");
    }
    let mut out = out();
    writeln!(out, "{}", by_the_wall(line))?;
    out.flush()
}

/// A line whose moment is by the clock on the wall, as it is everywhere else.
pub(super) fn by_the_wall(line: &str) -> String {
    let Some((first, rest)) = line.split_once(' ') else { return line.to_owned() };
    match DateTime::parse_from_rfc3339(first) {
        Ok(at) => format!("{} {rest}", at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S%.3f")),
        Err(_) => line.to_owned(),
    }
}
