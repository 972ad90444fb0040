//! TOML, edited as a document that keeps its comments.

use serde_json::Value;
use toml_edit::{DocumentMut, Item, Table, TableLike};

use crate::config::Format;
use crate::setup::edit::order::ordered;
use crate::setup::edit::refused::CannotEditText;

pub(super) fn with(text: &str, at: &[String], name: &str, entry: &Value) -> Result<String, CannotEditText> {
    let mut document = parse(text)?;
    let mut table: &mut dyn TableLike = document.as_table_mut();
    let mut inline = false;
    for key in at {
        let shape = || CannotEditText::Shape(key.clone());
        if table.get(key).is_none() {
            let mut made = Table::new();
            made.set_implicit(true);
            table.insert(key, Item::Table(made));
        }
        let item = table.get_mut(key).ok_or_else(shape)?;
        inline = item.is_inline_table();
        table = item.as_table_like_mut().ok_or_else(shape)?;
    }
    let Some(entry) = value(entry).and_then(|value| value.as_inline_table().cloned()) else {
        return Err(CannotEditText::Shape(name.to_owned()));
    };
    if inline {
        table.insert(name, toml_edit::value(entry));
    } else {
        let mut entry = entry.into_table();
        entry.decor_mut().set_prefix(if text.trim().is_empty() { "" } else { "\n" });
        table.insert(name, Item::Table(entry));
    }
    Ok(document.to_string())
}

pub(super) fn without(text: &str, at: &[String], name: &str) -> Result<String, CannotEditText> {
    let mut document = parse(text)?;
    let mut table: Option<&mut dyn TableLike> = Some(document.as_table_mut());
    for key in at {
        table = table.and_then(|table| table.get_mut(key)).and_then(Item::as_table_like_mut);
    }
    table.and_then(|table| table.remove(name));
    Ok(document.to_string())
}

pub(super) fn get(text: &str, at: &[String], name: &str) -> Option<Value> {
    let document = parse(text).ok()?;
    let mut item = document.as_item();
    for key in at {
        item = item.get(key)?;
    }
    json(item.get(name)?)
}

fn parse(text: &str) -> Result<DocumentMut, CannotEditText> {
    text.trim_start_matches('\u{feff}')
        .parse()
        .map_err(|error: toml_edit::TomlError| CannotEditText::Invalid(Format::Toml, error.message().to_owned()))
}

fn value(value_: &Value) -> Option<toml_edit::Value> {
    Some(match value_ {
        Value::Null => return None,
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => number.as_f64()?.into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => toml_edit::Value::Array(items.iter().filter_map(value).collect()),
        Value::Object(members) => {
            let members = ordered(members).into_iter().filter_map(|(key, item)| Some((key.as_str(), value(item)?)));
            toml_edit::Value::InlineTable(members.collect())
        }
    })
}

fn json(item: &Item) -> Option<Value> {
    if let Some(table) = item.as_table_like() {
        return Some(Value::Object(
            table.iter().filter_map(|(key, item)| Some((key.to_owned(), json(item)?))).collect(),
        ));
    }
    Some(match item.as_value()? {
        toml_edit::Value::String(text) => text.value().as_str().into(),
        toml_edit::Value::Integer(number) => (*number.value()).into(),
        toml_edit::Value::Float(number) => (*number.value()).into(),
        toml_edit::Value::Boolean(truth) => (*truth.value()).into(),
        toml_edit::Value::Datetime(date) => date.value().to_string().into(),
        toml_edit::Value::Array(items) => {
            items.iter().filter_map(|item| json(&Item::Value(item.clone()))).collect::<Vec<_>>().into()
        }
        toml_edit::Value::InlineTable(_) => return None,
    })
}
