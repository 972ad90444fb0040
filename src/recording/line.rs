//! One line of a recording.

use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::recording::direction::Direction;
use crate::recording::tee::Heard;

/// One message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// In RFC 3339, with microseconds.
    pub at: String,
    pub direction: Direction,
    /// The server's name, or the agent's.
    pub of: String,
    /// Which connection of the server it was on, or which session of the agent.
    pub connection: u64,
    /// The message as the wire had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Box<RawValue>>,
    /// What is no message, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// What a recording says besides messages.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Note {
    /// Messages that are missing here, because they came faster than they could be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
    /// Which form the file has, in its first line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trunkline_recording: Option<u32>,
}

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read {0}: {1}")]
    Io(PathBuf, std::io::Error),
    #[error("{0}:{1}: no line of a recording: {2}")]
    Line(PathBuf, usize, serde_json::Error),
    #[error("{0} has no message: it is no recording, or nothing was said while it was made")]
    Empty(PathBuf),
}

impl Line {
    /// A message that was heard; `text` is it without secrets.
    pub fn new(heard: &Heard, of: &str, text: &str) -> Self {
        let at = DateTime::<Utc>::from(heard.at).to_rfc3339_opts(SecondsFormat::Micros, true);
        let message = RawValue::from_string(text.to_owned()).ok();
        let text = message.is_none().then(|| text.to_owned());
        Self { at, direction: heard.direction, of: of.to_owned(), connection: heard.connection, message, text }
    }
}

/// What a file has.
#[derive(Debug, Default)]
pub struct Recording {
    pub lines: Vec<Line>,
    /// How many messages came faster than they could be written.
    pub missed: u64,
    /// Its last line is not whole: who recorded was ended.
    pub is_cut: bool,
}

/// Reads a recording.
pub fn read(path: &Path) -> Result<Recording, ReadError> {
    let bytes = std::fs::read(path).map_err(|error| ReadError::Io(path.to_owned(), error))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut recording = Recording::default();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match serde_json::from_str::<Line>(line) {
            Ok(line) => recording.lines.push(line),
            Err(error) if at + 1 == text.lines().count() && error.is_eof() => recording.is_cut = true,
            Err(error) => {
                let note: Note = serde_json::from_str(line).unwrap_or_default();
                if note.missed.is_none() && note.trunkline_recording.is_none() {
                    return Err(ReadError::Line(path.to_owned(), at + 1, error));
                }
                recording.missed = recording.missed.saturating_add(note.missed.unwrap_or_default());
            }
        }
    }
    if recording.lines.is_empty() { Err(ReadError::Empty(path.to_owned())) } else { Ok(recording) }
}
