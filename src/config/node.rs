//! A configuration file as a tree that knows where each part stands, the same for TOML and JSON.

use std::ops::Range;

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use toml::de::{DeTable, DeValue};

use super::decode::Problems;

/// One value and where it stands in the text, in bytes.
#[derive(Debug)]
pub(super) struct Node {
    pub at: Range<usize>,
    pub value: Value,
}

#[derive(Debug)]
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

#[derive(Debug)]
pub(super) struct Member {
    pub name: String,
    pub at: Range<usize>,
    pub node: Node,
}

impl Value {
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
    for error in errors {
        let at = error.span().unwrap_or_default();
        problems.add(at.start, format!("not valid TOML: {}", error.message()));
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
            Some(value) => Some(json_node(value)),
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

fn json_node(value: ast::Value<'_>) -> Node {
    let range = value.range();
    let value = match value {
        ast::Value::StringLit(text) => Value::String(text.value.into_owned()),
        ast::Value::BooleanLit(literal) => Value::Bool(literal.value),
        ast::Value::Array(array) => Value::Array(array.elements.into_iter().map(json_node).collect()),
        ast::Value::Object(object) => Value::Table(object.properties.into_iter().map(json_member).collect()),
        ast::Value::NumberLit(number) => Value::Number(number.value.to_owned()),
        ast::Value::NullKeyword(_) => Value::Other("null"),
    };
    Node { at: range.start..range.end, value }
}

fn json_member(property: ast::ObjectProp<'_>) -> Member {
    let range = property.name.range();
    Member { at: range.start..range.end, name: property.name.into_string(), node: json_node(property.value) }
}
