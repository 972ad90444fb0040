//! Says in our words what other tools' JSON says of their MCP servers. Pure; what has no meaning here becomes a note.
//!
//! The shapes are those of Claude Code and Desktop, Cursor, VS Code, Cline, Windsurf, Gemini CLI, Copilot CLI, Zed and opencode.

mod values;
mod words;

use crate::config::foreign::values::{items, oauth, templated, text, texts, truth};
use crate::config::foreign::words::{OWN, letters, passed_over, spelled};
use crate::config::node::{Member, Node, Value};
use crate::config::problems::Problems;
use crate::config::transport::is_reserved;
use std::ops::Range;

/// Where other tools keep their servers.
const ROOTS: [&str; 7] =
    ["mcpServers", "servers", "context_servers", "mcp_servers", "mcp", "amp.mcpServers", "mcp.servers"];

/// Whether a server is started or reached, where its entry says so in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stdio,
    Http,
    Unsaid,
}

/// The servers of a file, each as our own form would have it, under the key that the file has them at; `None` if it has none.
pub(super) fn servers(root: Node, problems: &mut Problems<'_>) -> Option<(&'static str, Node)> {
    let at = root.at.clone();
    let Value::Table(members) = root.value else {
        problems.add(at.start, "no `mcpServers` in this file".to_owned());
        return None;
    };
    if !members.is_empty() && members.iter().all(|member| is_entry(&member.node)) {
        return Some((ROOTS[0], Node { at, value: Value::Table(entries(ROOTS[0], members, problems)) }));
    }
    let has_others = members.iter().any(|member| member.name == ROOTS[0]);
    if let Some(member) = members.iter().find(|member| member.name == "projects" && has_tables(&member.node)) {
        let message = "the servers of single projects under `projects` are not read: copy those that you want";
        problems.note(member.at.start, message.to_owned());
    }
    let (mut all, mut key, mut others) = (Vec::<Member>::new(), None, Vec::new());
    for member in members {
        let Some(root) = ROOTS.iter().find(|root| **root == member.name) else {
            others.push(member);
            continue;
        };
        // Gemini CLI has settings of another kind under `mcp`.
        if *root == "mcp" && has_others && !has_tables(&member.node) {
            continue;
        }
        let key = *key.get_or_insert(*root);
        let Value::Table(found) = inner(member.node, problems).value else { continue };
        for entry in entries(root, found, problems) {
            if all.iter().any(|earlier| earlier.name == entry.name) {
                problems.note(entry.at.start, format!("`{}` stands in `{key}` too: that one counts", entry.name));
            } else {
                all.push(entry);
            }
        }
    }
    if key.is_none() {
        let near = others.iter().find(|member| crate::names::nearest(&member.name, ["mcpServers"]).is_some());
        match near {
            Some(near) => {
                problems.add(near.at.start, format!("unknown key `{}`: did you mean `mcpServers`?", near.name));
            }
            None => problems.add(at.start, "no `mcpServers` in this file".to_owned()),
        }
    }
    Some((key?, Node { at, value: Value::Table(all) }))
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
    let Value::Table(members) = &node.value else { return false };
    let is_text = |value: &Value| matches!(value, Value::String(_) | Value::Array(_));
    members.iter().any(|member| matches!(spelled(&member.name), Some("command" | "url")) && is_text(&member.node.value))
}

fn entries(root: &str, members: Vec<Member>, problems: &mut Problems<'_>) -> Vec<Member> {
    let entry = |member: Member, problems: &mut Problems<'_>| {
        let Member { name, at, node } = member;
        let node = problems.under(&name, |problems| entry(node, problems));
        Member { name, at, node }
    };
    problems.under(root, |problems| members.into_iter().map(|member| entry(member, problems)).collect())
}

/// An entry that is being put together.
#[derive(Default)]
struct Entry {
    members: Vec<Member>,
    /// Variables to pass on from the person's environment.
    passed: Vec<Node>,
    /// Tools that are offered, and that are not.
    filter: [Vec<Node>; 2],
    kind: Option<Kind>,
}

fn entry(node: Node, problems: &mut Problems<'_>) -> Node {
    let Node { at, value: Value::Table(members) } = node else { return node };
    let mut entry = Entry::default();
    // Some write the whole of it one step further down.
    for member in members {
        entry.take(member, problems);
    }
    entry.finish(at, problems)
}

impl Entry {
    fn take(&mut self, member: Member, problems: &mut Problems<'_>) {
        let Member { name, at, node } = member;
        if matches!(node.value, Value::Other("null")) {
            return;
        }
        if OWN.contains(&&*name) {
            self.add(&name, at, node, problems);
            return;
        }
        let ours = spelled(&name);
        problems.under(&name, |problems| match ours {
            Some("command") => self.command(at, node, problems),
            Some("type") => self.kind(&node, problems),
            Some("args") => self.add("args", at, texts(node, problems), problems),
            Some("env") => self.env(at, node, problems),
            Some("headers") => self.headers(at, node, problems),
            Some("requestInit") => self.request(node, problems),
            Some("url" | "cwd") => self.add(ours.unwrap_or_default(), at, templated(node), problems),
            Some("enabled" | "disabled") => self.add(ours.unwrap_or_default(), at, truth(node), problems),
            Some("tools") if matches!(node.value, Value::Table(_)) => self.add("tools", at, node, problems),
            Some("tools" | "allow") => self.filter[0].extend(items(node)),
            Some("deny") => self.filter[1].extend(items(node)),
            Some("oauth") if matches!(node.value, Value::Table(_)) => {
                let node = oauth(node, problems);
                self.add("oauth", at, node, problems);
            }
            Some("account" | "env_vars") => self.add(ours.unwrap_or_default(), at, node, problems),
            Some(_) | None => passed_over(&at, &name, problems),
        });
    }

    /// Adds a member; the first of several spellings counts.
    fn add(&mut self, name: &str, at: Range<usize>, node: Node, problems: &mut Problems<'_>) {
        if self.members.iter().any(|earlier| earlier.name == name) {
            problems.note(at.start, format!("`{name}` was said before in another spelling: that one counts"));
        } else {
            self.members.push(Member { name: name.to_owned(), at, node });
        }
    }

    /// A command in one piece, in a list with its arguments (opencode), or in a table (Zed).
    fn command(&mut self, at: Range<usize>, node: Node, problems: &mut Problems<'_>) {
        match node.value {
            Value::Array(words) => {
                let mut words = words.into_iter();
                if let Some(program) = words.next() {
                    self.add("command", at.clone(), templated(program), problems);
                }
                let words: Vec<_> = words.collect();
                if !words.is_empty() {
                    let rest = Node { at: node.at, value: Value::Array(words) };
                    self.add("args", at, texts(rest, problems), problems);
                }
            }
            Value::Table(members) => {
                for mut member in members {
                    if letters(&member.name) == "path" {
                        member.name = "command".to_owned();
                    }
                    self.take(member, problems);
                }
            }
            // Beside a URL, an empty one stands for none.
            Value::String(text) if text.trim().is_empty() && self.kind == Some(Kind::Http) => {}
            value @ (Value::String(_) | Value::Bool(_) | Value::Number(_) | Value::Other(_)) => {
                self.add("command", at, templated(Node { at: node.at, value }), problems);
            }
        }
    }

    fn kind(&mut self, node: &Node, problems: &mut Problems<'_>) {
        let Value::String(text) = &node.value else {
            problems.note(node.at.start, format!("{} says nothing here", node.value.kind()));
            return;
        };
        self.kind = Some(match letters(text).as_str() {
            "stdio" | "local" | "command" => Kind::Stdio,
            "http" | "https" | "streamablehttp" | "streamable" | "sse" | "remote" | "httpsse" => Kind::Http,
            "ws" | "wss" | "websocket" => {
                problems
                    .add(node.at.start, format!("`{text}` is not spoken here: a server is reached over stdio or HTTP"));
                Kind::Unsaid
            }
            _ => {
                problems.note(node.at.start, format!("`{text}` is not known: what else the entry says decides"));
                Kind::Unsaid
            }
        });
    }

    /// Variables: numbers and booleans as text, and null for what the person's environment has.
    fn env(&mut self, at: Range<usize>, node: Node, problems: &mut Problems<'_>) {
        let mut set = Vec::new();
        match node.value {
            Value::Table(members) => {
                for Member { name, at, node } in members {
                    if matches!(node.value, Value::Other("null")) {
                        self.passed.push(Node { at: node.at, value: Value::String(name) });
                    } else {
                        let node = problems.under(&name, |problems| text(node, problems));
                        set.push(Member { name, at, node });
                    }
                }
            }
            Value::Array(words) => {
                for word in words {
                    let Value::String(text) = &word.value else { continue };
                    match text.split_once('=') {
                        Some((name, value)) => {
                            let node = templated(Node { at: word.at.clone(), value: Value::String(value.to_owned()) });
                            set.push(Member { name: name.to_owned(), at: word.at, node });
                        }
                        None => self.passed.push(word),
                    }
                }
            }
            value @ (Value::String(_) | Value::Bool(_) | Value::Number(_) | Value::Other(_)) => {
                self.add("env", at, Node { at: node.at, value }, problems);
                return;
            }
        }
        self.add("env", at, Node { at: node.at, value: Value::Table(set) }, problems);
    }

    /// Headers, without those that the protocol itself sets.
    fn headers(&mut self, at: Range<usize>, node: Node, problems: &mut Problems<'_>) {
        let Value::Table(members) = node.value else {
            self.add("headers", at, node, problems);
            return;
        };
        let mut kept = Vec::new();
        for Member { name, at, node } in members {
            if matches!(node.value, Value::Other("null")) {
                continue;
            }
            if is_reserved(&name) {
                problems.note(at.start, format!("the header `{name}` is set by the protocol itself: left out"));
                continue;
            }
            let node = problems.under(&name, |problems| text(node, problems));
            kept.push(Member { name, at, node });
        }
        self.add("headers", at, Node { at: node.at, value: Value::Table(kept) }, problems);
    }

    /// `requestInit`, as the TypeScript SDK names what goes with each request: its headers.
    fn request(&mut self, node: Node, problems: &mut Problems<'_>) {
        let Value::Table(members) = node.value else { return };
        for member in members {
            match spelled(&member.name) {
                Some("headers") => self.headers(member.at, member.node, problems),
                Some(_) | None => passed_over(&member.at, &member.name, problems),
            }
        }
    }

    fn finish(mut self, at: Range<usize>, problems: &mut Problems<'_>) -> Node {
        // Generators write both and mean the one that `type` names.
        match self.kind {
            Some(Kind::Stdio) if self.has("command") => self.members.retain(|member| member.name != "url"),
            Some(Kind::Http) if self.has("url") => self.members.retain(|member| member.name != "command"),
            Some(Kind::Stdio | Kind::Http | Kind::Unsaid) | None => {}
        }
        let list = |items: Vec<Node>| Node { at: at.clone(), value: Value::Array(items) };
        let member = |name: &str, node: Node| Member { name: name.to_owned(), at: at.clone(), node };
        if !self.passed.is_empty() {
            let passed = std::mem::take(&mut self.passed);
            let named = self.members.iter_mut().find(|member| member.name == "env_vars");
            match named.map(|member| &mut member.node.value) {
                Some(Value::Array(names)) => names.extend(passed),
                Some(_) => {}
                None => self.members.push(member("env_vars", list(passed))),
            }
        }
        let [allow, deny] = std::mem::take(&mut self.filter);
        let is_filtered = !allow.is_empty() || !deny.is_empty();
        if is_filtered && self.has("tools") {
            // Which of them counts is not for us to say: a tool that was to be kept back must not come through.
            problems
                .add(at.start, "`tools` and another list of tools stand side by side: write one of them".to_owned());
        } else if is_filtered {
            let lists = vec![member("allow", list(allow)), member("deny", list(deny))];
            self.members.push(member("tools", Node { at: at.clone(), value: Value::Table(lists) }));
        }
        Node { at, value: Value::Table(self.members) }
    }

    fn has(&self, name: &str) -> bool {
        self.members.iter().any(|member| member.name == name)
    }
}
