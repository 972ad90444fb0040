//! What becomes of the servers of several files: one entry for each server, under a name that is free. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml_edit::{Item, Table, Value, value};

use crate::config::{Config, Foreign, ForeignFile};
use crate::names::{BadName, ServerName};
use crate::setup::entry::{decoded, is_trunkline};
use crate::setup::identity::{Identity, Kept, Known};
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

/// What its person has agreed to.
#[derive(Debug, Clone, Default)]
pub struct Agreed {
    /// Secrets go into the keyring.
    pub hide: bool,
    /// The presets are written.
    pub presets: bool,
    /// The servers that give a fixed folder up for each agent's project.
    pub moved: Vec<ServerName>,
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
    pub fn new(sources: &[Source], existing: &Config, kept: &Kept) -> Self {
        let mut plan = Self::default();
        let known = Known::of(existing, kept);
        for source in sources {
            for foreign in &source.file.servers {
                plan.take(source, foreign, existing, &known);
            }
        }
        plan.hide(existing, kept);
        plan
    }

    fn take(&mut self, source: &Source, foreign: &Foreign, existing: &Config, known: &Known) {
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
        if let Some(name) = known.find(&table, origin.folder.as_deref()) {
            self.there.push((origin, name.clone()));
            return;
        }
        let identity = Identity::of(&server);
        let twin = self.servers.iter_mut().find(|planned| planned.identity == identity);
        if let Some(twin) = twin.filter(|twin| twin.is_of_the_same_account(&table)) {
            twin.merge(&table, &origin);
            twin.inputs.extend(foreign.inputs.clone());
            twin.from.push(origin);
            return;
        }
        let name = self.free_name(&origin, existing);
        if name.as_str() != foreign.name {
            let reason = match ServerName::parse(&foreign.name) {
                Ok(_) => "another server has that name",
                Err(BadName::Empty) => "it has none",
                Err(BadName::Character(_)) => "a server's name takes ASCII letters, digits, `-` and `_` only",
                Err(BadName::Separator(_)) => {
                    "a server's name has no `__` and no `_` at its end: `__` stands before a tool's"
                }
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
    fn hide(&mut self, existing: &Config, kept: &Kept) {
        let mut known = BTreeMap::new();
        // Names that are used or kept are taken, by values that are none of these.
        let asked = self.servers.iter().flat_map(|planned| planned.inputs.keys().cloned());
        for name in existing.secret_names().into_iter().chain(asked).chain(kept.names.iter().cloned()) {
            known.insert(format!("\u{0}{name}"), name);
        }
        for planned in &mut self.servers {
            planned.literals = literal::take(planned.name.as_str(), &mut planned.hidden, &mut known);
        }
    }
}

impl Planned {
    /// Whether another entry for the same server has the same headers, or one of the two has none.
    fn is_of_the_same_account(&self, other: &Table) -> bool {
        let headers = |table: &Table| table.get("headers").map(ToString::to_string);
        match (headers(&self.table), headers(other)) {
            (Some(own), Some(others)) => own == others,
            (Some(_) | None, None) | (None, Some(_)) => true,
        }
    }

    /// Takes in what the other entry for the same server says besides.
    fn merge(&mut self, other: &Table, origin: &Origin) {
        // It is there if any of them has it.
        if other.get("enabled").is_none() {
            self.table.remove("enabled");
        }
        for (key, item) in other.iter().filter(|(key, _)| *key != "enabled") {
            match self.table.get(key) {
                None => {
                    self.table.insert(key, item.clone());
                    self.notes.push(format!("`{key}` is that of {}, and counts for all agents", origin.title));
                }
                // `npx -y` or not makes no other server.
                Some(own) if own.to_string() != item.to_string() && !matches!(key, "command" | "args") => {
                    let first = self.from.first().map(|from| from.title.clone()).unwrap_or_default();
                    self.notes.push(format!("`{key}` is that of {first}: {} has another", origin.title));
                }
                Some(_) => {}
            }
        }
        self.hidden = self.table.clone();
    }

    /// The entry with what its person has agreed to.
    pub fn agreed(&self, agreed: &Agreed) -> Table {
        let mut table = if agreed.hide { self.hidden.clone() } else { self.table.clone() };
        match &self.preset {
            Some(preset) if preset.fixed.is_some() => {
                if agreed.moved.contains(&self.name) {
                    preset.moved().apply(&mut table);
                }
            }
            Some(preset) if agreed.presets => preset.apply(&mut table),
            Some(_) | None => {}
        }
        table
    }
}

/// An entry of one folder finds its files from everywhere.
fn settle(table: &mut Table, folder: &Path, notes: &mut Vec<String>) {
    if let Some(cwd) = table.get("cwd").and_then(Item::as_str) {
        let is_relative = !cwd.starts_with(['/', '~', '$']) && Path::new(cwd).is_relative() && !cwd.contains(':');
        let joined = folder.join(cwd.trim_start_matches("./")).display().to_string();
        if is_relative {
            table.insert("cwd", value(joined));
        }
        return;
    }
    if !table.contains_key("command") {
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

/// What Windows needs to start a script is of no use elsewhere; a command in one piece is taken apart.
fn strip_cmd(table: &mut Table, notes: &mut Vec<String>) {
    let Some(command) = table.get("command").and_then(Item::as_str).map(str::to_owned) else { return };
    let args = table.get("args").and_then(Item::as_array).into_iter().flatten();
    let args: Vec<String> = args.filter_map(|word| word.as_str().map(str::to_owned)).collect();
    let is_cmd = ["cmd", "cmd.exe"].iter().any(|name| command.eq_ignore_ascii_case(name));
    let flags = args.iter().take_while(|word| word.starts_with('/')).count();
    let runs = args[..flags].iter().any(|word| word.eq_ignore_ascii_case("/c"));
    let (mut words, note) = if is_cmd && runs && cfg!(not(windows)) {
        (args[flags..].to_vec(), "`cmd /c` is for Windows: what it starts is started itself")
    } else if command.contains(' ') && !command.contains(['/', '\\', '$']) && args.is_empty() {
        (vec![command], "its `command` is a whole line: taken apart into `command` and `args`")
    } else {
        return;
    };
    if let [line] = words.as_slice()
        && let Some(apart) = shlex::split(line)
    {
        words = apart;
    }
    let Some((program, rest)) = words.split_first() else { return };
    table.insert("command", value(program));
    table.insert("args", value(rest.iter().map(String::as_str).collect::<toml_edit::Array>()));
    notes.push(note.to_owned());
}
