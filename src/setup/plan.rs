//! What becomes of the servers of several files: one entry for each server, under a name that is free. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml_edit::{Item, Table, Value, value};

use crate::config::{Config, Foreign, ForeignFile};
use crate::names::{BadName, ServerName};
use crate::setup::entry::{decoded, is_trunkline};
use crate::setup::identity::Identity;
use crate::setup::literal::{self, Literal};
use crate::setup::preset::Preset;

/// A file whose servers are taken over.
#[derive(Debug)]
pub struct Source {
    /// Whose it is, in words.
    pub title: String,
    pub path: PathBuf,
    /// The folder that all of it is for.
    pub folder: Option<PathBuf>,
    pub file: ForeignFile,
}

/// One entry to be written.
#[derive(Debug, Clone)]
pub struct Planned {
    pub name: ServerName,
    pub table: Table,
    /// Where it stands, and under which name there.
    pub from: Vec<Origin>,
    pub notes: Vec<String>,
    pub preset: Option<Preset>,
    /// Secrets that stand in it as they are.
    pub literals: Vec<Literal>,
    /// The entry with `${keyring:…}` in their place.
    pub hidden: Table,
    /// Secrets that it needs and that nobody has given yet, with what the agent says of each.
    pub inputs: BTreeMap<String, String>,
    identity: Identity,
}

/// Where an entry comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub title: String,
    pub path: PathBuf,
    pub name: String,
    pub folder: Option<PathBuf>,
}

/// What is not taken over, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    pub origin: Origin,
    pub reason: String,
}

#[derive(Debug, Default)]
pub struct Plan {
    pub servers: Vec<Planned>,
    /// What the configuration has already, and under which name.
    pub there: Vec<(Origin, ServerName)>,
    pub skipped: Vec<Skipped>,
}

impl Plan {
    pub fn new(sources: &[Source], existing: &Config) -> Self {
        let mut plan = Self::default();
        for source in sources {
            for foreign in &source.file.servers {
                plan.take(source, foreign, existing);
            }
        }
        plan.hide(existing);
        plan
    }

    fn take(&mut self, source: &Source, foreign: &Foreign, existing: &Config) {
        let folder = foreign.folder.clone().or_else(|| source.folder.clone());
        let origin =
            Origin { title: source.title.clone(), path: source.path.clone(), name: foreign.name.clone(), folder };
        if let Some(reason) = &foreign.wrong {
            self.skipped.push(Skipped { origin, reason: reason.clone() });
            return;
        }
        let mut table = foreign.table.clone();
        let mut notes = foreign.notes.clone();
        if let Some(folder) = &origin.folder {
            settle(&mut table, folder, &mut notes);
        }
        strip_cmd(&mut table, &mut notes);
        let server = match decoded(&table) {
            Ok(server) => server,
            Err(reason) => {
                self.skipped.push(Skipped { origin, reason });
                return;
            }
        };
        if is_trunkline(&server) {
            let reason = "it is trunkline itself".to_owned();
            self.skipped.push(Skipped { origin, reason });
            return;
        }
        if let Some(name) = Identity::find(existing, &table, origin.folder.as_deref()) {
            self.there.push((origin, name.clone()));
            return;
        }
        let identity = Identity::of(&server);
        if let Some(twin) = self.servers.iter_mut().find(|planned| planned.identity == identity)
            && twin.merge(&table)
        {
            twin.from.push(origin);
            return;
        }
        let name = self.free_name(&origin, existing);
        if name.as_str() != foreign.name {
            let reason = match ServerName::parse(&foreign.name) {
                Ok(_) => "another server has that name",
                Err(BadName::Empty) => "it has none",
                Err(BadName::Character(_)) => "names of tools take ASCII letters, digits, `-` and `_` only",
                Err(BadName::Separator(_)) => "`__` separates server and tool",
                Err(BadName::Long(_)) => "it leaves no room for a tool's",
            };
            notes.insert(0, format!("called `{name}` here, not `{}`: {reason}", foreign.name));
        }
        let preset = Preset::find(&server, origin.folder.as_deref());
        let (from, literals) = (vec![origin], Vec::new());
        let (hidden, inputs) = (table.clone(), foreign.inputs.clone());
        self.servers.push(Planned { name, table, from, notes, preset, literals, hidden, inputs, identity });
    }

    /// A name for a server: its own, else with what tells it from the other of that name.
    fn free_name(&self, origin: &Origin, existing: &Config) -> ServerName {
        let is_free = |name: &ServerName| {
            !self.servers.iter().any(|planned| planned.name == *name)
                && !existing.servers.iter().any(|(known, _)| known == name)
        };
        let made = ServerName::parse(&origin.name).unwrap_or_else(|_| ServerName::safe(&origin.name, |_| true));
        let folder = origin.folder.as_ref().and_then(|folder| folder.file_name()).map(|name| name.to_string_lossy());
        let mark = folder.map(|name| name.into_owned()).unwrap_or_else(|| origin.title.to_lowercase());
        let marked = ServerName::safe(&format!("{made}_{mark}"), |_| true);
        let numbered = (2..).map(|number| ServerName::safe(&format!("{made}_{number}"), |_| true));
        let wanted = [made.clone(), marked].into_iter().chain(numbered).find(is_free);
        wanted.unwrap_or(made)
    }

    /// Finds the secrets in all entries: one that stands in several has one name.
    fn hide(&mut self, existing: &Config) {
        let mut known = BTreeMap::new();
        // Names that the configuration uses are taken, by values that are not known here.
        for name in existing.secret_names() {
            known.insert(format!("\u{0}{name}"), name);
        }
        for planned in &mut self.servers {
            planned.literals = literal::take(planned.name.as_str(), &mut planned.hidden, &mut known);
        }
    }
}

impl Planned {
    /// Takes the other entry for the same server in, unless the two have headers that differ.
    fn merge(&mut self, other: &Table) -> bool {
        let headers = |table: &Table| table.get("headers").map(ToString::to_string);
        match (headers(&self.table), headers(other)) {
            (Some(own), Some(others)) if own != others => return false,
            (None, Some(_)) => {
                if let Some(headers) = other.get("headers") {
                    self.table.insert("headers", headers.clone());
                    self.hidden = self.table.clone();
                }
            }
            (Some(_) | None, None) | (Some(_), Some(_)) => {}
        }
        if other.get("enabled").is_none() {
            self.table.remove("enabled");
            self.hidden.remove("enabled");
        }
        true
    }

    /// The entry with what its person has agreed to.
    pub fn agreed(&self, hide: bool, preset: bool) -> Table {
        let mut table = if hide { self.hidden.clone() } else { self.table.clone() };
        if let Some(proposal) = self.preset.as_ref().filter(|_| preset) {
            proposal.apply(&mut table);
        }
        table
    }
}

/// An entry of one folder finds its files from everywhere.
fn settle(table: &mut Table, folder: &Path, notes: &mut Vec<String>) {
    if table.contains_key("cwd") || !table.contains_key("command") {
        return;
    }
    let words = table
        .get("args")
        .and_then(Item::as_array)
        .into_iter()
        .flatten()
        .chain(table.get("command").and_then(Item::as_value));
    let is_relative = |word: &str| {
        word.starts_with("./")
            || word.starts_with("../")
            || (word.contains(['/', '.']) && !word.starts_with('-') && folder.join(word).is_file())
    };
    if words.filter_map(Value::as_str).any(is_relative) {
        table.insert("cwd", value(folder.display().to_string()));
        notes.push("its paths count from that folder, so it works there (`cwd`)".to_owned());
    }
}

/// What Windows needs to start a script is of no use elsewhere.
fn strip_cmd(table: &mut Table, notes: &mut Vec<String>) {
    let is_cmd = table.get("command").and_then(Item::as_str).is_some_and(|command| command.eq_ignore_ascii_case("cmd"));
    if cfg!(windows) || !is_cmd {
        return;
    }
    let Some(words) = table.get_mut("args").and_then(Item::as_array_mut) else { return };
    let starts = words.get(0).and_then(Value::as_str).is_some_and(|word| word.eq_ignore_ascii_case("/c"));
    if let Some(program) = words.get(1).and_then(Value::as_str).map(str::to_owned).filter(|_| starts) {
        words.remove(0);
        words.remove(0);
        table.insert("command", value(&program));
        notes.push(format!("`cmd /c` is for Windows: `{program}` is started itself"));
    }
}
