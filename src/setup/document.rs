//! The configuration file as a person keeps it: entries come and go, comments and order stay.

use std::io;
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, Table};

use crate::config::{Config, text_of};
use crate::files;
use crate::names::ServerName;

/// A TOML configuration that is edited.
#[derive(Debug, Clone)]
pub struct Document {
    path: PathBuf,
    /// As the file is; empty where there is none.
    before: String,
    document: DocumentMut,
    /// How many entries were added.
    added: usize,
}

/// Why a configuration cannot be edited.
#[derive(Debug, thiserror::Error)]
pub enum CannotEdit {
    #[error("cannot read {path}: {error}")]
    Read { path: PathBuf, error: io::Error },
    #[error("{0} is JSON, and entries are written into TOML only: edit it by hand, or name another file with --config")]
    Json(PathBuf),
    #[error("{path} is not valid TOML: {reason}; `trunkline check` names the line")]
    Toml { path: PathBuf, reason: String },
    #[error("{0}: `servers` is no table: `trunkline check` names the line")]
    NoTable(PathBuf),
    #[error("cannot write {path}: {error}")]
    Write { path: PathBuf, error: io::Error },
    #[error("{0} was changed by somebody else meanwhile: nothing was written; try again")]
    Changed(PathBuf),
}

/// What stands at the top of a file that is made here.
const HEAD: &str = "# The servers of trunkline. `trunkline check` names every mistake with its line; docs/reference/configuration.md has all keys.\n";

impl Document {
    /// Opens a file; one that is not there is empty.
    pub fn open(path: &Path) -> Result<Self, CannotEdit> {
        let before = read(path)?;
        let is_json = path.extension().is_some_and(|extension| extension == "json" || extension == "jsonc");
        if is_json || before.trim_start().starts_with('{') {
            return Err(CannotEdit::Json(path.to_owned()));
        }
        let wrong = |error: toml_edit::TomlError| CannotEdit::Toml {
            path: path.to_owned(),
            reason: error.message().to_owned(),
        };
        let document = before.parse::<DocumentMut>().map_err(wrong)?;
        Ok(Self { path: path.to_owned(), before, document, added: 0 })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file says now, with every problem in it.
    pub fn config(&self) -> Config {
        let mut config = Config::from_toml(&self.before).unwrap_or_default();
        config.set_base(&self.path);
        config
    }

    /// The names that entries have, also of those that are wrong.
    pub fn names(&self) -> Vec<String> {
        let servers = self.document.get("servers").and_then(Item::as_table_like);
        servers.map(|servers| servers.iter().map(|(name, _)| name.to_owned()).collect()).unwrap_or_default()
    }

    /// Adds an entry behind the others, with lines of comment above it.
    pub fn add(&mut self, name: &ServerName, entry: &Table, comment: &[String]) -> Result<(), CannotEdit> {
        let no_table = || CannotEdit::NoTable(self.path.clone());
        let is_inline = matches!(self.document.get("servers"), Some(Item::Value(_)));
        if self.document.get("servers").is_none() {
            let mut servers = Table::new();
            servers.set_implicit(true);
            self.document.insert("servers", Item::Table(servers));
        }
        let is_empty = self.before.trim().is_empty() && self.added == 0;
        self.added += 1;
        let servers = self.document.get_mut("servers").and_then(Item::as_table_like_mut).ok_or_else(no_table)?;
        if is_inline {
            servers.insert(name.as_str(), toml_edit::value(entry.clone().into_inline_table()));
            return Ok(());
        }
        let mut entry = entry.clone();
        let lines: String = comment.iter().map(|line| format!("# {}\n", line.replace(char::is_control, " "))).collect();
        // A comment alone is at the end of what follows, so the head stands with the first entry.
        let head = if is_empty { HEAD } else { "" };
        entry.decor_mut().set_prefix(format!("{head}\n{lines}"));
        entry.set_position(None);
        servers.insert(name.as_str(), Item::Table(entry));
        Ok(())
    }

    /// Takes an entry out, with the comment above it; whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let Some(servers) = self.document.get_mut("servers").and_then(Item::as_table_like_mut) else { return false };
        servers.remove(name).is_some()
    }

    /// The text as it is now, and as it would be written.
    pub fn change(&self) -> (&str, String) {
        (&self.before, self.document.to_string())
    }

    /// Writes it, unless somebody else has written meanwhile.
    pub fn save(&self) -> Result<(), CannotEdit> {
        if read(&self.path)? != self.before {
            return Err(CannotEdit::Changed(self.path.clone()));
        }
        let written = files::rewrite(&self.path, self.document.to_string().as_bytes());
        written.map_err(|error| CannotEdit::Write { path: self.path.clone(), error })
    }
}

fn read(path: &Path) -> Result<String, CannotEdit> {
    match std::fs::read(path).and_then(text_of) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(CannotEdit::Read { path: path.to_owned(), error }),
    }
}
