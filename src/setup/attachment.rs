//! What was written into an agent's file, and what it was before: the way back. A record in the state folder has both texts.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::text_of;
use crate::files;
use crate::setup::agent::{Agent, find_agent};
use crate::setup::edit::{self, CannotEditText};

/// The longest text whose lines are compared: the work grows with what has changed in it.
const MOST_MERGED: usize = 256 << 10;
/// The folder of the records in the state folder.
const FOLDER: &str = "attached";

/// An agent's file with trunkline in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attachment {
    pub agent: String,
    pub file: PathBuf,
    /// Our entries, by name.
    pub added: BTreeMap<String, Value>,
    /// The agent's own that were taken out.
    pub taken: BTreeMap<String, Value>,
    /// Whether the file was there.
    existed: bool,
    /// Folders that were made for it, the outermost first.
    made: Vec<PathBuf>,
    before: String,
    after: String,
    /// Whether `before` is the file as it was, and not put together from what it had become.
    #[serde(default)]
    exact: bool,
    /// As the file was read for this.
    #[serde(skip)]
    read: String,
}

/// What is to be written.
#[derive(Debug)]
pub struct Wanted<'a> {
    pub agent: &'a Agent,
    pub file: PathBuf,
    /// Of the entry.
    pub name: String,
    /// The command and its arguments.
    pub words: Vec<String>,
    /// Entries of the agent to take out.
    pub out: Vec<String>,
    /// Whether an entry of that name may be replaced that is none of ours.
    pub replaces: bool,
}

/// What becomes of a file that was edited since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edits {
    /// It is left alone.
    Refuse,
    /// Our entry is taken out, and the rest stays as it is now.
    Keep,
}

#[derive(Debug, thiserror::Error)]
pub enum CannotAttach {
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, io::Error),
    #[error("cannot edit {0}: {1}")]
    Edit(PathBuf, CannotEditText),
    #[error("{0} has a server `{1}` that is none of trunkline's: name the entry otherwise with --name")]
    Taken(PathBuf, String),
    #[error("{0} was changed by somebody else meanwhile: nothing was written; try again")]
    Changed(PathBuf),
    #[error("cannot write {0}: {1}")]
    Write(PathBuf, io::Error),
}

#[derive(Debug, thiserror::Error)]
pub enum CannotDetach {
    /// The text as it was left, and as it is.
    #[error("{0} was edited since trunkline was written into it")]
    Edited(PathBuf, String, String),
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, io::Error),
    #[error("cannot edit {0}: {1}")]
    Edit(PathBuf, CannotEditText),
    #[error("cannot write {0}: {1}")]
    Write(PathBuf, io::Error),
}

/// How a file is put back.
#[derive(Debug, PartialEq, Eq)]
pub enum Undo {
    /// As it was, to the byte; `None` where it was not there.
    Exact(Option<String>),
    /// Without our entry, and with what was changed since.
    Around(String),
    /// It is as it was, or is gone.
    Nothing,
}

impl Attachment {
    /// What writing it would make of the file; nothing is written.
    pub fn plan(state: &Path, wanted: &Wanted<'_>) -> Result<Self, CannotAttach> {
        let Wanted { agent, file, name, .. } = wanted;
        let found = read(file).map_err(|error| CannotAttach::Read(file.clone(), error))?;
        let (existed, text) = (found.is_some(), found.unwrap_or_default());
        let cannot = |error| CannotAttach::Edit(file.clone(), error);
        // An earlier one is taken back first, in mind.
        let earlier = Self::find(state, file);
        let (before, exact, mut added, mut taken) = match &earlier {
            Some(earlier) if earlier.after == text => {
                (earlier.before.clone(), earlier.exact, earlier.added.clone(), earlier.taken.clone())
            }
            Some(earlier) => {
                let around = earlier.around(agent, &text).map_err(cannot)?;
                // Nothing else has changed: then it is what it was.
                let is_same = earlier.exact && edit::says_the_same(agent, &around, &earlier.before);
                let before = if is_same { earlier.before.clone() } else { around };
                (before, is_same, earlier.added.clone(), earlier.taken.clone())
            }
            None => (text.clone(), true, BTreeMap::new(), BTreeMap::new()),
        };
        let entry = agent.entry_for(name, &wanted.words);
        if let Some(there) = edit::get(agent, &text, name).filter(|there| !added.contains_key(name) && !is_ours(there))
        {
            if !wanted.replaces {
                return Err(CannotAttach::Taken(file.clone(), name.clone()));
            }
            taken.insert(name.clone(), there);
        }
        let mut after = text.clone();
        for out in &wanted.out {
            if let Some(there) = edit::get(agent, &after, out).filter(|there| !is_ours(there)) {
                after = edit::without(agent, &after, out).map_err(cannot)?;
                taken.insert(out.clone(), there);
            }
        }
        if edit::get(agent, &after, name).as_ref() != Some(&entry) {
            after = edit::with(agent, &after, name, &entry).map_err(cannot)?;
        }
        added.insert(name.clone(), entry);
        let (existed, made) =
            earlier.map_or_else(|| (existed, to_make(file)), |earlier| (earlier.existed, earlier.made));
        let (agent, file) = (agent.id.clone(), file.clone());
        Ok(Self { agent, file, added, taken, existed, made, before, after, exact, read: text })
    }

    /// The text of the file as it is, and as it would be.
    pub fn change(&self) -> (&str, &str) {
        (&self.read, &self.after)
    }

    /// Writes the record, and then the file.
    pub fn write(&self, state: &Path) -> Result<(), CannotAttach> {
        let now = read(&self.file).map_err(|error| CannotAttach::Read(self.file.clone(), error))?;
        if now.unwrap_or_default() != self.read {
            return Err(CannotAttach::Changed(self.file.clone()));
        }
        let wrong = |error| CannotAttach::Write(self.file.clone(), error);
        let record = serde_json::to_vec_pretty(self).map_err(|error| wrong(error.into()))?;
        let path = record_of(state, &self.file);
        files::replace(&path, &record).map_err(|error| CannotAttach::Write(path.clone(), error))?;
        if self.read != self.after || !self.file.exists() {
            files::rewrite(&self.file, self.after.as_bytes()).map_err(wrong)?;
        }
        Ok(())
    }

    /// The agent's own command that would write the same entry.
    pub fn own_command(&self, agent: &Agent) -> Option<String> {
        let (name, entry) = self.added.iter().next()?;
        agent.own_command(name, &words(entry))
    }

    /// Where the file is kept as it was.
    pub fn backup(state: &Path, file: &Path) -> PathBuf {
        record_of(state, file)
    }

    /// All that were written and not taken back.
    pub fn all(state: &Path) -> Vec<Self> {
        let Ok(entries) = std::fs::read_dir(state.join(FOLDER)) else { return Vec::new() };
        let read = |entry: io::Result<std::fs::DirEntry>| {
            serde_json::from_slice(&std::fs::read(entry.ok()?.path()).ok()?).ok()
        };
        let mut all: Vec<Self> = entries.filter_map(read).collect();
        all.sort_by(|one, other| one.file.cmp(&other.file));
        all
    }

    pub fn find(state: &Path, file: &Path) -> Option<Self> {
        let found: Self = serde_json::from_slice(&std::fs::read(record_of(state, file)).ok()?).ok()?;
        (found.file == file).then_some(found)
    }

    /// How the file would be put back; nothing is written.
    pub fn undo(&self, edits: Edits) -> Result<Undo, CannotDetach> {
        let found = read(&self.file).map_err(|error| CannotDetach::Read(self.file.clone(), error))?;
        let Some(text) = found else { return Ok(Undo::Nothing) };
        if text == self.after {
            return Ok(match self.existed {
                true if !self.exact => Undo::Around(self.before.clone()),
                existed => Undo::Exact(existed.then(|| self.before.clone())),
            });
        }
        if text == self.before && self.existed {
            return Ok(Undo::Nothing);
        }
        // What an agent writes beside its servers is no edit of a person's.
        let is_its_own = |agent: &Agent| agent.restless && edit::all(agent, &text) == edit::all(agent, &self.after);
        let Some(agent) = find_agent(&self.agent).filter(|agent| edits == Edits::Keep || is_its_own(agent)) else {
            return Err(CannotDetach::Edited(self.file.clone(), self.after.clone(), text));
        };
        let around = self.around(agent, &text).map_err(|error| CannotDetach::Edit(self.file.clone(), error))?;
        // Nothing else has changed in what it says: then it is what it was.
        if self.exact && self.existed && edit::says_the_same(agent, &around, &self.before) {
            return Ok(Undo::Exact(Some(self.before.clone())));
        }
        Ok(if around == text { Undo::Nothing } else { Undo::Around(around) })
    }

    /// Puts the file back, and forgets about it.
    pub fn detach(&self, state: &Path, undo: &Undo) -> Result<(), CannotDetach> {
        let wrong = |error| CannotDetach::Write(self.file.clone(), error);
        match undo {
            Undo::Exact(Some(text)) | Undo::Around(text) => {
                files::rewrite(&self.file, text.as_bytes()).map_err(wrong)?
            }
            Undo::Exact(None) => {
                std::fs::remove_file(&self.file).map_err(wrong)?;
                // One that holds something else by now stays.
                self.made.iter().rev().for_each(|folder| drop(std::fs::remove_dir(folder)));
            }
            Undo::Nothing => {}
        }
        let record = record_of(state, &self.file);
        std::fs::remove_file(&record).map_err(|error| CannotDetach::Write(record.clone(), error))?;
        // The last one leaves no folder behind.
        drop(std::fs::remove_dir(state.join(FOLDER)));
        Ok(())
    }

    /// A text without our entries, and with those that were taken out.
    fn around(&self, agent: &Agent, text: &str) -> Result<String, CannotEditText> {
        // What was changed elsewhere, put into the text as it was: comments and order stay.
        if text.len() <= MOST_MERGED
            && let Ok(merged) = diffy::merge(&self.after, &self.before, text)
            && self.added.keys().all(|name| edit::get(agent, &merged, name).is_none_or(|there| !is_ours(&there)))
            && self.taken.iter().all(|(name, entry)| edit::get(agent, &merged, name).as_ref() == Some(entry))
        {
            return Ok(merged);
        }
        let mut text = text.to_owned();
        for name in self.added.keys() {
            if edit::get(agent, &text, name).is_some_and(|there| is_ours(&there)) {
                text = edit::without(agent, &text, name)?;
            }
        }
        for (name, entry) in &self.taken {
            if edit::get(agent, &text, name).is_none() {
                text = edit::with(agent, &text, name, entry)?;
            }
        }
        Ok(text)
    }
}

/// Whether an entry starts this program's `connect`.
fn is_ours(entry: &Value) -> bool {
    let words = words(entry);
    let program = words.first().and_then(|word| Path::new(word).file_stem());
    program.is_some_and(|name| name == "trunkline") && words.iter().any(|word| word == "connect")
}

/// The command of an entry and its arguments, however the agent writes them.
pub fn words(entry: &Value) -> Vec<String> {
    let mut words = Vec::new();
    for key in ["command", "cmd", "args"] {
        match &entry[key] {
            Value::String(word) => words.push(word.clone()),
            Value::Array(all) => words.extend(all.iter().filter_map(|word| word.as_str().map(str::to_owned))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {}
        }
    }
    words
}

/// A file's text; `None` where it is not there.
fn read(path: &Path) -> io::Result<Option<String>> {
    match std::fs::read(path) {
        // One in UTF-16 could not be written back as it was.
        Ok(bytes) if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "it is in UTF-16: save it as UTF-8"))
        }
        Ok(bytes) if bytes.starts_with(&[0xef, 0xbb, 0xbf]) => {
            text_of(bytes).map(|text| Some(format!("\u{feff}{text}")))
        }
        Ok(bytes) => text_of(bytes).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The folders that must be made for a file, the outermost first.
fn to_make(file: &Path) -> Vec<PathBuf> {
    let missing = file.ancestors().skip(1).take_while(|folder| !folder.exists());
    let mut made: Vec<_> = missing.map(Path::to_owned).collect();
    made.reverse();
    made
}

/// The record of a file: a name that nobody need read, the same for the same place.
fn record_of(state: &Path, file: &Path) -> PathBuf {
    let text = file.display().to_string();
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let last =
        file.file_name().map(|name| name.to_string_lossy().trim_start_matches('.').to_owned()).unwrap_or_default();
    state.join(FOLDER).join(format!("{last}-{hash:016x}.json"))
}
