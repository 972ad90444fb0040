//! JSON with comments and trailing commas, edited as a syntax tree.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};
use serde_json::Value;

use crate::config::{Format, Tree};
use crate::setup::edit::order::ordered;
use crate::setup::edit::refused::CannotEditText;

pub(super) fn with(text: &str, at: &[String], name: &str, entry: &Value) -> Result<String, CannotEditText> {
    let (mark, text) = unmarked(text);
    let root = parse(if text.trim().is_empty() { "{\n}\n" } else { text })?;
    let mut object = root.object_value().ok_or_else(|| CannotEditText::Shape("the file".to_owned()))?;
    for key in at {
        object = object.object_value_or_create(key).ok_or_else(|| CannotEditText::Shape(key.clone()))?;
    }
    let value = input(entry);
    match object.get(name) {
        Some(there) => there.set_value(value),
        None => drop(object.append(name, value)),
    }
    Ok(format!("{mark}{root}"))
}

pub(super) fn without(text: &str, at: &[String], name: &str) -> Result<String, CannotEditText> {
    let (mark, text) = unmarked(text);
    let root = parse(text)?;
    if let Some(there) = servers(&root, at).and_then(|servers| servers.get(name)) {
        there.remove();
    }
    Ok(format!("{mark}{root}"))
}

pub(super) fn get(text: &str, at: &[String], name: &str) -> Option<Value> {
    let root = Tree::read(unmarked(text).1, Format::Json).ok()?;
    at.iter().try_fold(&root, |value, key| value.get(key))?.get(name).cloned()
}

fn servers(root: &CstRootNode, at: &[String]) -> Option<CstObject> {
    at.iter().try_fold(root.object_value()?, |object, key| object.object_value(key))
}

/// A byte-order mark, and what follows it.
fn unmarked(text: &str) -> (&str, &str) {
    text.split_at(if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 })
}

fn parse(text: &str) -> Result<CstRootNode, CannotEditText> {
    CstRootNode::parse(text, &ParseOptions::default())
        .map_err(|error| CannotEditText::Invalid(Format::Json, error.to_string()))
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(members) => CstInputValue::Object(
            ordered(members).into_iter().map(|(key, value)| (key.clone(), input(value))).collect(),
        ),
    }
}
