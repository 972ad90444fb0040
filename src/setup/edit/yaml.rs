//! YAML, edited line by line: no library that writes it keeps its comments. What comes out is read again and compared.

use serde_json::Value;

use crate::config::{Format, Tree};
use crate::setup::edit::order::ordered;
use crate::setup::edit::refused::CannotEditText;

pub(super) fn with(text: &str, at: &[String], list: bool, name: &str, entry: &Value) -> Result<String, CannotEditText> {
    let cleared = without(text, at, list, name)?;
    let (Some(key), before) = (at.first(), read(&cleared)?) else { return Err(CannotEditText::Shape(name.to_owned())) };
    let shape = || CannotEditText::Shape(key.clone());
    let mut lines: Vec<&str> = cleared.split_inclusive('\n').collect();
    let head = lines.iter().position(|line| is_key(line, key));
    let empty = match before.as_object().and_then(|root| root.get(key)) {
        None | Some(Value::Null) => true,
        Some(Value::Object(members)) => members.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) => return Err(shape()),
    };
    let new_line = if cleared.contains("\r\n") { "\r\n" } else { "\n" };
    let header = format!("{key}:{new_line}");
    let indent =
        head.and_then(|head| lines[head + 1..].iter().find(|line| is_content(line))).map(|line| indent_of(line));
    let (place, indent) = match (head, indent) {
        // Braces or brackets on the line of the key itself are no lines to stand between.
        (Some(head), _) if !empty && !lines[head].trim_end().ends_with(':') && !lines[head].contains(" #") => {
            return Err(shape());
        }
        (Some(head), Some(indent)) if !empty => (head + 1, indent),
        (Some(head), _) => {
            lines[head] = &header;
            (head + 1, 2)
        }
        (None, _) => {
            if lines.last().is_some_and(|line| !line.ends_with('\n')) {
                lines.push(new_line);
            }
            lines.push(&header);
            (lines.len(), 2)
        }
    };
    let block = block(name, entry, list, indent, new_line);
    lines.insert(place, &block);
    let after = lines.concat();
    // Nothing else may have changed its meaning.
    let again = read(&without(&after, at, list, name)?)?;
    let same = |value: &Value| value.as_object().map(|root| root.iter().filter(|(name, _)| *name != key).count());
    let is_right = get(&after, at, list, name).as_ref() == Some(entry) && same(&again) == same(&before);
    if is_right { Ok(after) } else { Err(shape()) }
}

pub(super) fn without(text: &str, at: &[String], list: bool, name: &str) -> Result<String, CannotEditText> {
    read(text)?;
    if get(text, at, list, name).is_none() {
        return Ok(text.to_owned());
    }
    let Some(key) = at.first() else { return Ok(text.to_owned()) };
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let shape = || CannotEditText::Shape(key.clone());
    let head = lines.iter().position(|line| is_key(line, key)).ok_or_else(shape)?;
    // Below the key, an entry ends where the next line stands no deeper than it does.
    let mut start = None;
    for (at, line) in lines.iter().enumerate().skip(head + 1).filter(|(_, line)| is_content(line)) {
        if start.is_some_and(|(start, depth)| at > start && indent_of(line) <= depth) {
            break;
        }
        if indent_of(line) == 0 && !(list && line.starts_with('-')) {
            break;
        }
        let is_it = if list { begins_item(&lines[at..], name) } else { is_key(line.trim_start(), name) };
        if start.is_none() && is_it {
            start = Some((at, indent_of(line)));
        }
    }
    let (start, depth) = start.ok_or_else(shape)?;
    let behind = lines[start + 1..].iter().position(|line| is_content(line) && indent_of(line) <= depth);
    let mut end = behind.map_or(lines.len(), |behind| start + 1 + behind);
    // Comments and empty lines before the next one are that one's.
    while end > start + 1 && !is_content(lines[end - 1]) {
        end -= 1;
    }
    Ok([&lines[..start], &lines[end..]].concat().concat())
}

pub(super) fn get(text: &str, at: &[String], list: bool, name: &str) -> Option<Value> {
    let root = read(text).ok()?;
    let servers = at.iter().try_fold(&root, |value, key| value.get(key))?;
    if !list {
        return servers.get(name).cloned();
    }
    servers.as_array()?.iter().find(|item| item["name"] == name).cloned()
}

fn read(text: &str) -> Result<Value, CannotEditText> {
    if text.trim().is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    Tree::read(text, Format::Yaml).map_err(|reason| CannotEditText::Invalid(Format::Yaml, reason))
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Whether a line is more than white space or a comment.
fn is_content(line: &str) -> bool {
    !line.trim().is_empty() && !line.trim_start().starts_with('#')
}

/// Whether a line begins the value of a key, at its beginning.
fn is_key(line: &str, key: &str) -> bool {
    let quoted = [key.to_owned(), format!("'{key}'"), format!("\"{key}\"")];
    quoted.iter().any(|key| line.strip_prefix(key.as_str()).is_some_and(|rest| rest.trim_start().starts_with(':')))
}

/// Whether an item of a list begins here that has this name.
fn begins_item(lines: &[&str], name: &str) -> bool {
    let Some(first) = lines.first().filter(|line| line.trim_start().starts_with('-')) else { return false };
    let depth = indent_of(first);
    let rest = lines[1..].iter().take_while(|line| !is_content(line) || indent_of(line) > depth);
    let item: String = std::iter::once(first).chain(rest).copied().collect();
    let read = Tree::read(&item, Format::Yaml).ok();
    read.is_some_and(|items| items[0]["name"] == name)
}

/// An entry as lines; values in double quotes are those of JSON, which YAML reads the same.
fn block(name: &str, entry: &Value, list: bool, indent: usize, new_line: &str) -> String {
    let mut out = String::new();
    let pad = " ".repeat(indent);
    let members = entry.as_object().map(ordered).unwrap_or_default();
    let inner = if list { indent + 2 } else { indent * 2 };
    if !list {
        out.push_str(&format!("{pad}{name}:{new_line}"));
    }
    for (at, (key, value)) in members.into_iter().enumerate() {
        let lead = if list && at == 0 { format!("{pad}- ") } else { " ".repeat(inner) };
        out.push_str(&format!("{lead}{key}: {value}{new_line}"));
    }
    out
}
