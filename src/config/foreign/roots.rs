//! Where a file of another tool keeps its servers.

use std::ops::Range;

use crate::config::foreign::words::spelled;
use crate::config::node::{Member, Node, Value};
use crate::config::problems::Problems;

/// The keys that other tools keep their servers at.
const ROOTS: [&str; 8] =
    ["mcpServers", "servers", "context_servers", "mcp_servers", "mcp", "amp.mcpServers", "mcp.servers", "extensions"];
/// goose's key, which means something else in files that have one of the others.
const LAST: &str = "extensions";

/// The servers that stand together in a file.
pub(in crate::config) struct Found {
    pub key: &'static str,
    /// The one project that they are for, and where the file names it.
    pub folder: Option<(String, Range<usize>)>,
    pub members: Vec<Member>,
    /// Those that the file switches off elsewhere.
    pub off: Vec<String>,
}

/// The texts of a list.
fn texts(members: &[Member], name: &str) -> Option<Vec<String>> {
    let list = members.iter().find(|member| member.name == name)?;
    let Value::Array(items) = &list.node.value else { return None };
    Some(items.iter().filter_map(|item| item.value.text().map(str::to_owned)).collect())
}

/// All tables of servers in a file; where there is none, a problem says so.
pub(in crate::config) fn tables(root: Node, problems: &mut Problems<'_>) -> Vec<Found> {
    let at = root.at.clone();
    let Value::Table(members) = root.value else {
        problems.add(at.start, "no `mcpServers` in this file".to_owned());
        return Vec::new();
    };
    if !members.is_empty() && members.iter().all(|member| is_entry(&member.node)) {
        return vec![Found { key: ROOTS[0], folder: None, members, off: Vec::new() }];
    }
    let has = |name: &str| members.iter().any(|member| member.name == name);
    // Gemini CLI and Qwen Code say under `mcp` which of them count.
    let settings =
        members.iter().find(|member| member.name == "mcp").map(|member| member.node.value.members().to_vec());
    let settings = settings.unwrap_or_default();
    let (allowed, excluded) = (texts(&settings, "allowed"), texts(&settings, "excluded").unwrap_or_default());
    let (has_others, has_own) = (has(ROOTS[0]), ROOTS.iter().any(|root| *root != LAST && has(root)));
    let (mut found, mut projects, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for member in members {
        let root = ROOTS.iter().find(|root| **root == member.name && !(has_own && **root == LAST));
        match root {
            // Gemini CLI has settings of another kind under `mcp`.
            Some(&"mcp") if has_others && !has_tables(&member.node) => {}
            None if member.name == "projects" && has_tables(&member.node) => {
                projects.extend(of_projects(member.node, problems));
            }
            Some(root) => {
                let node = by_name(member.node, problems);
                // opencode 1.18 reads its old form beside the new one.
                let beside = beside_the_nested(&node);
                let mut members = inner(node, problems).value.into_members();
                members.extend(beside);
                let is_off = |name: &String| {
                    excluded.contains(name)
                        || allowed.as_ref().is_some_and(|allowed| !allowed.is_empty() && !allowed.contains(name))
                };
                let off = members.iter().map(|member| member.name.clone()).filter(is_off).collect();
                found.push(Found { key: root, folder: None, members, off });
            }
            // Kiro's powers bring their own.
            None if member.name == "powers" => {
                let powers = member.node.value.into_members().into_iter().find(|inner| inner.name == ROOTS[0]);
                let members = powers.map(|powers| powers.node.value.into_members()).unwrap_or_default();
                found.push(Found { key: ROOTS[0], folder: None, members, off: Vec::new() });
            }
            None => others.push(member),
        }
    }
    found.extend(projects);
    for member in others.iter().filter(|member| !found.is_empty() && is_entry(&member.node)) {
        let message =
            format!("`{}` looks like a server, and stands outside of them: no agent reads it there", member.name);
        problems.note(member.at.start, message);
    }
    if found.is_empty() {
        let near = others.iter().find(|member| crate::names::nearest(&member.name, ["mcpServers"]).is_some());
        match near {
            Some(near) => {
                problems.add(near.at.start, format!("unknown key `{}`: did you mean `mcpServers`?", near.name));
            }
            None => problems.add(at.start, "no `mcpServers` in this file".to_owned()),
        }
    }
    found
}

/// Claude Code's `projects`: servers of single folders.
fn of_projects(node: Node, problems: &mut Problems<'_>) -> Vec<Found> {
    let mut all = Vec::new();
    for project in node.value.into_members() {
        let off = texts(project.node.value.members(), "disabledMcpServers").unwrap_or_default();
        let servers = project.node.value.into_members().into_iter().find(|member| member.name == ROOTS[0]);
        let Some(servers) = servers.filter(|servers| !servers.node.value.members().is_empty()) else { continue };
        let members = inner(servers.node, problems).value.into_members();
        all.push(Found { key: ROOTS[0], folder: Some((project.name, project.at)), members, off });
    }
    all
}

/// Servers in a list, each with its name in it, as a table (Continue).
fn by_name(node: Node, problems: &mut Problems<'_>) -> Node {
    let Node { at, value: Value::Array(items) } = node else { return node };
    if items.is_empty() {
        return Node { at, value: Value::Array(items) };
    }
    let members = items.into_iter().filter_map(|item| {
        let named = item.value.members().iter().find(|member| member.name == "name");
        let Some(name) = named.and_then(|member| member.node.value.text()).map(str::to_owned) else {
            problems.note(item.at.start, "an entry without a `name` is passed over".to_owned());
            return None;
        };
        Some(Member { name, at: item.at.clone(), node: item })
    });
    Node { at, value: Value::Table(members.collect()) }
}

/// The entries that stand beside a nested table of servers.
fn beside_the_nested(node: &Node) -> Vec<Member> {
    let is_nested = |member: &Member| ROOTS[..2].contains(&&*member.name) && !is_entry(&member.node);
    let members = node.value.members();
    if !members.iter().any(is_nested) {
        return Vec::new();
    }
    members.iter().filter(|member| !is_nested(member) && is_entry(&member.node)).cloned().collect()
}

/// Whether all members of a table are tables.
fn has_tables(node: &Node) -> bool {
    let Value::Table(members) = &node.value else { return false };
    members.iter().all(|member| matches!(member.node.value, Value::Table(_)))
}

/// The table of servers under a root key; VS Code's settings have it one step further down.
fn inner(node: Node, problems: &mut Problems<'_>) -> Node {
    let Node { at, value } = node;
    match value {
        Value::Table(members) => {
            let nested = |member: &Member| {
                ROOTS[..2].contains(&&*member.name)
                    && matches!(&member.node.value, Value::Table(_))
                    && !is_entry(&member.node)
            };
            match members.iter().position(nested) {
                Some(index) => members
                    .into_iter()
                    .nth(index)
                    .map(|member| member.node)
                    .unwrap_or(Node { at, value: Value::Other("null") }),
                None => Node { at, value: Value::Table(members) },
            }
        }
        other @ (Value::String(_) | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Other(_)) => {
            problems.add(at.start, format!("expected the servers by name, found {}", other.kind()));
            Node { at, value: other }
        }
    }
}

/// Whether a value says how to start or reach a server.
fn is_entry(node: &Node) -> bool {
    let is_text = |value: &Value| matches!(value, Value::String(_) | Value::Array(_));
    node.value
        .members()
        .iter()
        .any(|member| matches!(spelled(&member.name), Some("command" | "url")) && is_text(&member.node.value))
}
