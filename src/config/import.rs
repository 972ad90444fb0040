//! The servers in a file of another tool, each as a table of our own file. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml_edit::{Array, InlineTable, Item, Table, value};

use crate::config::foreign::{self, Found};
use crate::config::node::{self, Member, Node, Value};
use crate::config::problems::{Problem, Problems};
use crate::config::yaml;

/// What a file is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// With comments and trailing commas, as most agents take it.
    Json,
    Toml,
    Yaml,
}

/// One server of another tool.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// As the file names it.
    pub name: String,
    /// Counted from 1.
    pub line: usize,
    /// The one folder that it is for.
    pub folder: Option<PathBuf>,
    /// Our own form of it.
    pub table: Table,
    /// What a person should know of what became of its settings.
    pub notes: Vec<String>,
    /// The secrets that the agent asks its person for, with what it says of each.
    pub inputs: BTreeMap<String, String>,
    /// Why it is no server.
    pub wrong: Option<String>,
}

/// What a file has.
#[derive(Debug, Default)]
pub struct ForeignFile {
    pub servers: Vec<Foreign>,
    pub problems: Vec<Problem>,
    pub notes: Vec<Problem>,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Json => "JSON",
            Self::Toml => "TOML",
            Self::Yaml => "YAML",
        })
    }
}

impl Format {
    /// By the name of a file, or else by how it begins.
    pub fn of(path: &std::path::Path, text: &str) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Self::Toml,
            Some("yaml" | "yml") => Self::Yaml,
            Some("json" | "jsonc") => Self::Json,
            Some(_) | None => match text.trim_start().chars().next() {
                Some('{' | '/') => Self::Json,
                Some('[') | None => Self::Toml,
                Some(_) => Self::Yaml,
            },
        }
    }
}

/// A file as plain values, without the places of its parts.
pub struct Tree;

impl Tree {
    /// Reads a text; the error says what is wrong with it.
    pub fn read(text: &str, format: Format) -> Result<serde_json::Value, String> {
        let mut problems = Problems::new(text);
        let root = root(text, format, &mut problems);
        let wrong =
            |found: Vec<Problem>| found.first().map(|problem| format!("line {}: {}", problem.line, problem.message));
        match (root, wrong(problems.into_found().0)) {
            (Some(root), None) => Ok(plain(root)),
            (_, reason) => Err(reason.unwrap_or_else(|| "it says nothing".to_owned())),
        }
    }
}

fn plain(node: Node) -> serde_json::Value {
    match node.value {
        Value::String(text) => text.into(),
        Value::Bool(truth) => truth.into(),
        Value::Number(number) => serde_json::from_str(&number).unwrap_or_else(|_| number.into()),
        Value::Array(items) => items.into_iter().map(plain).collect::<Vec<_>>().into(),
        Value::Table(members) => {
            serde_json::Value::Object(members.into_iter().map(|member| (member.name, plain(member.node))).collect())
        }
        Value::Other(_) => serde_json::Value::Null,
    }
}

fn root(text: &str, format: Format, problems: &mut Problems<'_>) -> Option<Node> {
    match format {
        Format::Json => node::from_json(text, problems),
        Format::Yaml => yaml::read(text, problems),
        Format::Toml => Some(node::from_toml(text, problems)).filter(|_| problems.count() == 0),
    }
}

impl ForeignFile {
    /// Reads the text of a file, a byte-order mark allowed.
    pub fn read(text: &str, format: Format) -> Self {
        let text = text.trim_start_matches('\u{feff}');
        let mut problems = Problems::new(text);
        let root = root(text, format, &mut problems);
        let Some(root) = root else { return Self::of(problems, Vec::new()) };
        let inputs = Inputs::find(&root);
        let tables = foreign::tables(root, &mut problems);
        let servers = tables.into_iter().flat_map(|found| {
            let Found { folder, members, off, .. } = found;
            let folder = folder.map(|(folder, _)| PathBuf::from(folder));
            let read = |member| {
                let mut foreign = Foreign::read(member, folder.clone(), text, &inputs);
                if off.contains(&foreign.name) {
                    foreign.table.insert("enabled", value(false));
                    foreign.notes.push("the file switches it off elsewhere: `enabled = false`".to_owned());
                }
                foreign
            };
            members.into_iter().map(read).collect::<Vec<_>>()
        });
        let servers = servers.collect();
        Self::of(problems, servers)
    }

    fn of(problems: Problems<'_>, servers: Vec<Foreign>) -> Self {
        let (problems, notes) = problems.into_found();
        Self { servers, problems, notes }
    }
}

impl Foreign {
    fn read(member: Member, folder: Option<PathBuf>, text: &str, inputs: &Inputs) -> Self {
        let mut problems = Problems::new(text);
        let (line, name) = (problems.line(member.at.start), member.name);
        let node = foreign::entry(member.node, &mut problems);
        let mut asked = BTreeMap::new();
        let table = table(node, &mut |text| inputs.replaced(text, &mut asked));
        let (problems, notes) = problems.into_found();
        let wrong = problems.first().map(|problem| problem.message.clone());
        let notes = notes.into_iter().map(|note| note.message).collect();
        Self { name, line, folder, table, notes, inputs: asked, wrong }
    }
}

/// VS Code's questions to its person, by their ids.
struct Inputs(BTreeMap<String, Input>);

struct Input {
    description: String,
    /// What is taken where the value is no secret.
    default: Option<String>,
}

impl Inputs {
    fn find(root: &Node) -> Self {
        let of = |members: &[Member], name: &str| {
            let member = members.iter().find(|member| member.name == name)?;
            member.node.value.text().map(str::to_owned)
        };
        let mut all = BTreeMap::new();
        let tables = root.value.members().iter().map(|member| &member.node.value);
        for members in std::iter::once(root.value.members()).chain(tables.map(Value::members)) {
            let list = members.iter().find(|member| member.name == "inputs").map(|member| &member.node.value);
            let Some(Value::Array(items)) = list else { continue };
            for item in items {
                let members = item.value.members();
                let Some(id) = of(members, "id") else { continue };
                let is_secret = members
                    .iter()
                    .any(|member| member.name == "password" && matches!(member.node.value, Value::Bool(true)));
                let default = of(members, "default").filter(|_| !is_secret);
                all.insert(id, Input { description: of(members, "description").unwrap_or_default(), default });
            }
        }
        Self(all)
    }

    /// A text with each `${input:ID}` replaced: by its default, or by a secret of that name.
    fn replaced(&self, text: &str, asked: &mut BTreeMap<String, String>) -> String {
        // Continue's secrets, which have their name already.
        for reference in text.split("${keyring:").skip(1) {
            if let Some((name, _)) = reference.split_once('}') {
                asked.entry(name.to_owned()).or_default();
            }
        }
        let (mut out, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("${input:") {
            let Some((id, behind)) = after.split_once('}') else { break };
            out.push_str(before);
            let input = self.0.get(id);
            match input.and_then(|input| input.default.as_ref()) {
                Some(default) => out.push_str(default),
                None => {
                    let good = |letter: char| {
                        if letter.is_ascii_alphanumeric() || "-_.".contains(letter) { letter } else { '-' }
                    };
                    let name: String = id.chars().map(good).collect();
                    out.push_str(&format!("${{keyring:{name}}}"));
                    asked.insert(name, input.map(|input| input.description.clone()).unwrap_or_default());
                }
            }
            rest = behind;
        }
        out + rest
    }
}

/// The order of our keys in a table; others stand behind.
const ORDER: [&str; 16] = [
    "command",
    "args",
    "env",
    "env_vars",
    "env_file",
    "cwd",
    "url",
    "headers",
    "oauth",
    "tools",
    "share",
    "era",
    "startup_timeout",
    "call_timeout",
    "enabled",
    "start",
];

fn table(node: Node, text: &mut impl FnMut(&str) -> String) -> Table {
    let mut members = node.value.into_members();
    let place = |name: &str| ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len());
    members.sort_by_key(|member| place(&member.name));
    let mut table = Table::new();
    for Member { name, node, .. } in members {
        if name == "enabled" && matches!(node.value, Value::Bool(true)) {
            continue;
        }
        if let Some(item) = item(node, text).filter(|_| !table.contains_key(&name)) {
            table.insert(&name, Item::Value(item));
        }
    }
    table
}

/// A value, without what is empty or has no meaning in TOML.
fn item(node: Node, text: &mut impl FnMut(&str) -> String) -> Option<toml_edit::Value> {
    match node.value {
        Value::String(string) => value(text(&string)).into_value().ok(),
        Value::Bool(truth) => value(truth).into_value().ok(),
        Value::Number(number) => number
            .parse::<i64>()
            .map(toml_edit::Value::from)
            .or_else(|_| number.parse::<f64>().map(toml_edit::Value::from))
            .ok(),
        Value::Array(items) if items.is_empty() => None,
        Value::Table(members) if members.is_empty() => None,
        Value::Array(items) => {
            Some(toml_edit::Value::Array(items.into_iter().filter_map(|item_| item(item_, text)).collect::<Array>()))
        }
        Value::Table(members) => {
            let mut inline = InlineTable::new();
            for member in members {
                if let Some(item) = item(member.node, text) {
                    inline.insert(&member.name, item);
                }
            }
            (!inline.is_empty()).then_some(toml_edit::Value::InlineTable(inline))
        }
        Value::Other(_) => None,
    }
}
