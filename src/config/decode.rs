//! Turns a tree into settings and collects every problem on the way, each with its line.

use std::collections::{BTreeMap, HashSet};

use crate::config::node::{Member, Node, Value};
use crate::config::problems::Problems;
use crate::names;

/// A setting that can be read from a node.
pub(super) trait Decode: Sized {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self>;
}

/// The members of one table, taken out by name until [`Fields::finish`] names what is left.
pub(super) struct Fields<'p, 't> {
    members: Vec<Member>,
    known: Vec<&'static str>,
    at: usize,
    pub problems: &'p mut Problems<'t>,
}

impl<'p, 't> Fields<'p, 't> {
    /// Opens `node` as a table; a member that stands twice is a problem.
    pub(super) fn open(node: Node, problems: &'p mut Problems<'t>) -> Option<Self> {
        let at = node.at.start;
        let Value::Table(members) = node.value else {
            wrong_type("a table", &node, problems);
            return None;
        };
        let mut fields = Self { members: Vec::with_capacity(members.len()), known: Vec::new(), at, problems };
        let mut names = HashSet::new();
        for member in members {
            if !names.insert(member.name.clone()) {
                fields.problems.add(member.at.start, format!("`{}` is defined twice", member.name));
            } else {
                fields.members.push(member);
            }
        }
        Some(fields)
    }

    /// Where the table starts.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Where the value of the member `name` stands, if the file has it.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.members.iter().find(|member| member.name == name).map(|member| member.node.at.start)
    }

    /// The member `name`, if the file has it and its value is right.
    pub(super) fn take<T: Decode>(&mut self, name: &'static str) -> Option<T> {
        let node = self.take_node(name)?;
        self.problems.under(name, |problems| T::decode(node, problems))
    }

    pub(super) fn take_node(&mut self, name: &'static str) -> Option<Node> {
        self.known.push(name);
        let index = self.members.iter().position(|member| member.name == name)?;
        Some(self.members.remove(index).node)
    }

    /// All members that are left, for tables whose names the person chooses.
    pub(super) fn rest(&mut self) -> Vec<Member> {
        std::mem::take(&mut self.members)
    }

    /// Names every member that nothing took.
    pub(super) fn finish(self) {
        for member in self.members {
            let hint = match names::nearest(&member.name, self.known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            self.problems.add(member.at.start, format!("unknown key `{}`: {hint}", member.name));
        }
    }
}

fn wrong_type(wanted: &str, node: &Node, problems: &mut Problems<'_>) {
    problems.add(node.at.start, format!("expected {wanted}, found {}", node.value.kind()));
}

impl Decode for String {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        match node.value {
            Value::String(text) => Some(text),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Table(_) | Value::Other(_) => {
                wrong_type("a string", &node, problems);
                None
            }
        }
    }
}

impl Decode for bool {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        match node.value {
            Value::Bool(value) => Some(value),
            Value::String(_) | Value::Number(_) | Value::Array(_) | Value::Table(_) | Value::Other(_) => {
                wrong_type("true or false", &node, problems);
                None
            }
        }
    }
}

/// A count of at least one.
impl Decode for usize {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let count = match &node.value {
            Value::Number(text) => text.replace('_', "").parse().ok().filter(|count| *count > 0),
            Value::String(_) | Value::Bool(_) | Value::Array(_) | Value::Table(_) | Value::Other(_) => None,
        };
        if count.is_none() {
            wrong_type("a whole number from 1", &node, problems);
        }
        count
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let Value::Array(items) = node.value else {
            wrong_type("a list", &node, problems);
            return None;
        };
        Some(items.into_iter().filter_map(|item| T::decode(item, problems)).collect())
    }
}

impl<T: Decode> Decode for BTreeMap<String, T> {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let members = fields.rest();
        Some(
            members
                .into_iter()
                .filter_map(|Member { name, node, .. }| {
                    let value = fields.problems.under(&name, |problems| T::decode(node, problems))?;
                    Some((name, value))
                })
                .collect(),
        )
    }
}

/// One of the words that a setting may be.
pub(super) fn one_of<T: Copy>(node: Node, choices: &[(&str, T)], problems: &mut Problems<'_>) -> Option<T> {
    let at = node.at.start;
    let text = String::decode(node, problems)?;
    let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    if found.is_none() {
        let known: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        problems.add(at, format!("`{text}` is not one of {}", known.join(", ")));
    }
    found
}
