//! The values of other tools, as ours. Pure.

use std::ops::Range;

use crate::config::foreign::words::{OAUTH, letters, of_editors, passed_over, respelled};
use crate::config::node::{Member, Node, Value};
use crate::config::problems::Problems;

pub(super) fn oauth(node: Node, problems: &mut Problems<'_>) -> Node {
    let Node { at, value: Value::Table(members) } = node else { return node };
    let mut kept: Vec<Member> = Vec::new();
    for member in members {
        let letters = letters(&member.name);
        let exact = ["pkce", "resource"].into_iter().find(|name| *name == member.name);
        let ours = OAUTH.iter().find(|(spelling, _)| *spelling == letters).map(|(_, ours)| *ours).or(exact);
        match (ours, member.node.value) {
            (_, Value::Other("null")) => {}
            (Some("scopes"), Value::String(scopes)) => {
                let word = |word: &str| Node { at: member.node.at.clone(), value: Value::String(word.to_owned()) };
                let value = Value::Array(scopes.split_whitespace().map(word).collect());
                kept.push(Member {
                    name: "scopes".to_owned(),
                    at: member.at,
                    node: Node { at: member.node.at, value },
                });
            }
            (Some(name @ ("client_secret" | "private_key")), value) => {
                let node = templated(Node { at: member.node.at, value });
                kept.push(Member { name: name.to_owned(), at: member.at, node });
            }
            (Some(name), value) => {
                kept.push(Member { name: name.to_owned(), at: member.at, node: Node { at: member.node.at, value } });
            }
            (None, _) => problems.under(&member.name, |problems| passed_over(&member.at, &member.name, problems)),
        }
    }
    Node { at, value: Value::Table(kept) }
}

/// The header of a bearer token that stands in a variable, or here.
pub(super) fn authorization(at: Range<usize>, node: Node, kind: &str) -> Option<Member> {
    let name = "Authorization".to_owned();
    let text = node.value.text().filter(|text| !text.is_empty())?;
    let text =
        if kind.is_empty() { format!("Bearer {}", respelled(text)) } else { format!("Bearer ${{{kind}:{text}}}") };
    Some(Member { name, at, node: Node { at: node.at, value: Value::String(text) } })
}

/// Headers whose values stand in variables.
pub(super) fn of_variables(node: Node) -> Vec<Member> {
    let header = |member: Member| {
        let value = Value::String(format!("${{env:{}}}", member.node.value.text()?));
        Some(Member { node: Node { at: member.node.at, value }, ..member })
    };
    node.value.into_members().into_iter().filter_map(header).collect()
}

/// Names of variables; Codex may say with each where it is from.
pub(super) fn names(node: Node) -> Vec<Node> {
    let name = |item: Node| match &item.value {
        Value::Table(members) => {
            let name = members.iter().find(|member| member.name == "name")?.node.value.text()?.to_owned();
            Some(Node { at: item.at, value: Value::String(name) })
        }
        Value::String(_) | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Other(_) => Some(item),
    };
    items(node).into_iter().filter_map(name).collect()
}

pub(super) fn items(node: Node) -> Vec<Node> {
    match node.value {
        Value::Array(items) => items,
        Value::String(_) | Value::Bool(_) | Value::Number(_) | Value::Table(_) | Value::Other(_) => vec![node],
    }
}

/// A list of texts; one text alone stands for a list of it.
pub(super) fn texts(node: Node, problems: &mut Problems<'_>) -> Node {
    let at = node.at.clone();
    let items = items(node).into_iter().filter(|item| !matches!(item.value, Value::Other("null")));
    Node { at, value: Value::Array(items.map(|item| text(item, problems)).collect()) }
}

/// A number or a boolean as the text that a process or a header gets.
pub(super) fn text(node: Node, problems: &mut Problems<'_>) -> Node {
    let Node { at, value } = node;
    let value = match value {
        Value::Number(number) => {
            problems.note(at.start, format!("the number {number} is passed on as text"));
            Value::String(number)
        }
        Value::Bool(value) => {
            problems.note(at.start, format!("{value} is passed on as text"));
            Value::String(value.to_string())
        }
        Value::String(text) => {
            for word in of_editors(&text) {
                let message = format!(
                    "an editor puts a value in the place of `${{{word}}}`, and trunkline cannot: write the value itself"
                );
                problems.note(at.start, message);
            }
            Value::String(text)
        }
        value @ (Value::Array(_) | Value::Table(_) | Value::Other(_)) => value,
    };
    templated(Node { at, value })
}

pub(super) fn truth(node: Node) -> Node {
    let is = |text: &str, words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    let Node { at, value } = node;
    let value = match value {
        Value::String(text) if is(&text, &["true", "yes", "on"]) => Value::Bool(true),
        Value::String(text) if is(&text, &["false", "no", "off"]) => Value::Bool(false),
        Value::Number(number) if number == "1" || number == "0" => Value::Bool(number == "1"),
        value @ (Value::String(_)
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Table(_)
        | Value::Other(_)) => value,
    };
    Node { at, value }
}

/// `${…}` in our spelling: `${VAR}` and `${VAR:-default}` of Claude Code, VS Code's and Cursor's folders.
pub(super) fn templated(node: Node) -> Node {
    let Node { at, value } = node;
    let value = match value {
        Value::String(text) => Value::String(respelled(&text)),
        value @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Table(_) | Value::Other(_)) => value,
    };
    Node { at, value }
}
