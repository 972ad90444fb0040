//! A configuration file as a tree that knows where each part stands, the same for TOML and JSON.

use std::collections::HashMap;
use std::ops::Range;

use crate::config::problems::Problems;
use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use toml::de::{DeTable, DeValue};

/// How many syntax errors of a file are named: one that is something else altogether has an error on each line.
const NAMED: usize = 5;

/// One value and where it stands in the text, in bytes.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub at: Range<usize>,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    String(String),
    Bool(bool),
    /// A number as it is written.
    Number(String),
    Array(Vec<Node>),
    Table(Vec<Member>),
    /// A value of a kind that no setting has; the text says which.
    Other(&'static str),
}

#[derive(Debug, Clone)]
pub(super) struct Member {
    pub name: String,
    pub at: Range<usize>,
    pub node: Node,
}

impl Node {
    /// How many values it holds, with itself.
    pub(super) fn size(&self) -> usize {
        match &self.value {
            Value::Array(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Value::Table(members) => 1 + members.iter().map(|member| member.node.size()).sum::<usize>(),
            Value::String(_) | Value::Bool(_) | Value::Number(_) | Value::Other(_) => 1,
        }
    }
}

impl Value {
    /// A string, or what is written as a word without quotes.
    pub(super) fn into_text(self) -> Option<String> {
        match self {
            Self::String(text) | Self::Number(text) => Some(text),
            Self::Bool(value) => Some(value.to_string()),
            Self::Array(_) | Self::Table(_) | Self::Other(_) => None,
        }
    }

    /// The items of a list, or the value that is none.
    pub(super) fn into_items(self) -> Result<Vec<Node>, Self> {
        match self {
            Self::Array(items) => Ok(items),
            other @ (Self::String(_) | Self::Bool(_) | Self::Number(_) | Self::Table(_) | Self::Other(_)) => Err(other),
        }
    }

    /// The members of a table; none of anything else.
    pub(super) fn into_members(self) -> Vec<Member> {
        match self {
            Self::Table(members) => members,
            Self::String(_) | Self::Bool(_) | Self::Number(_) | Self::Array(_) | Self::Other(_) => Vec::new(),
        }
    }

    pub(super) fn members(&self) -> &[Member] {
        match self {
            Self::Table(members) => members,
            Self::String(_) | Self::Bool(_) | Self::Number(_) | Self::Array(_) | Self::Other(_) => &[],
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Bool(_) | Self::Number(_) | Self::Array(_) | Self::Table(_) | Self::Other(_) => None,
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

/// Reads TOML; every syntax error becomes a problem and what can be read is returned.
pub(super) fn from_toml(text: &str, problems: &mut Problems<'_>) -> Node {
    let (table, errors) = DeTable::parse_recoverable(text);
    let more = errors.len().saturating_sub(NAMED);
    for error in errors.into_iter().take(NAMED) {
        let at = error.span().unwrap_or_default();
        problems.add(at.start, format!("not valid TOML: {}", error.message()));
    }
    if more > 0 {
        problems
            .add(text.len(), format!("not valid TOML: and {more} more errors; is this a configuration of trunkline?"));
    }
    let at = table.span();
    Node { at, value: toml_table(table.into_inner()) }
}

fn toml_table(table: DeTable<'_>) -> Value {
    let mut members: Vec<_> = table
        .into_iter()
        .map(|(key, value)| Member { at: key.span(), name: key.into_inner().into_owned(), node: toml_node(value) })
        .collect();
    members.sort_by_key(|member| member.at.start);
    Value::Table(members)
}

fn toml_node(value: toml::Spanned<DeValue<'_>>) -> Node {
    let at = value.span();
    let value = match value.into_inner() {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Array(items) => Value::Array(items.into_iter().map(toml_node).collect()),
        DeValue::Table(table) => toml_table(table),
        DeValue::Integer(number) => Value::Number(number.as_str().to_owned()),
        DeValue::Float(number) => Value::Number(number.as_str().to_owned()),
        DeValue::Datetime(_) => Value::Other("a date"),
    };
    Node { at, value }
}

/// Reads JSON, comments allowed; `None` after a syntax error, which becomes a problem.
pub(super) fn from_json(text: &str, problems: &mut Problems<'_>) -> Option<Node> {
    match jsonc_parser::parse_to_ast(text, &Default::default(), &Default::default()) {
        Ok(parsed) => match parsed.value {
            Some(value) => Some(json_node(value, text, problems)),
            None => {
                problems.add(0, "the file is empty".to_owned());
                None
            }
        },
        Err(error) => {
            problems.add(error.range().start, format!("not valid JSON: {}", error.kind()));
            None
        }
    }
}

fn json_node(value: ast::Value<'_>, source: &str, problems: &mut Problems<'_>) -> Node {
    let range = value.range();
    let value = match value {
        ast::Value::StringLit(_) if has_wrong_escape(source.get(range.start..range.end).unwrap_or_default()) => {
            Value::Other("a text with a backslash that JSON does not know: write `\\\\` for each that is meant")
        }
        ast::Value::StringLit(text) => Value::String(text.value.into_owned()),
        ast::Value::BooleanLit(literal) => Value::Bool(literal.value),
        ast::Value::Array(array) => {
            Value::Array(array.elements.into_iter().map(|element| json_node(element, source, problems)).collect())
        }
        ast::Value::Object(object) => json_table(object, source, problems),
        ast::Value::NumberLit(number) => Value::Number(number.value.to_owned()),
        ast::Value::NullKeyword(_) => Value::Other("null"),
    };
    Node { at: range.start..range.end, value }
}

/// Whether a string, as it stands in the file, has an escape that is none (RFC 8259 section 7).
fn has_wrong_escape(raw: &str) -> bool {
    let mut letters = raw.chars();
    while let Some(letter) = letters.next() {
        if letter == '\\' && !letters.next().is_some_and(|next| "\"\\/bfnrtu'".contains(next)) {
            return true;
        }
    }
    false
}

/// The last of several members of one name counts, as other tools read it.
fn json_table(object: ast::Object<'_>, source: &str, problems: &mut Problems<'_>) -> Value {
    let mut members: Vec<Member> = Vec::with_capacity(object.properties.len());
    let mut places: HashMap<String, usize> = HashMap::new();
    for property in object.properties {
        let range = property.name.range();
        let name = property.name.into_string();
        let node = json_node(property.value, source, problems);
        let member = Member { at: range.start..range.end, name, node };
        match places.get(&member.name).copied() {
            Some(earlier) => {
                problems.note(member.at.start, format!("`{}` is defined twice: the last one counts", member.name));
                members[earlier] = member;
            }
            None => {
                places.insert(member.name.clone(), members.len());
                members.push(member);
            }
        }
    }
    Value::Table(members)
}
