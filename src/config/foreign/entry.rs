//! One server of another tool, as our own form has it.

use std::ops::Range;

use crate::config::foreign::times::{Meant, span};
use crate::config::foreign::values::{authorization, items, names, oauth, of_variables, templated, text, texts, truth};
use crate::config::foreign::words::{OWN, letters, passed_over, spelled};
use crate::config::node::{Member, Node, Value};
use crate::config::problems::Problems;
use crate::config::transport::is_reserved;

/// Whether a server is started or reached, where its entry says so in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stdio,
    Http,
    Unsaid,
}

fn items_are_tables(node: &Node) -> bool {
    let Value::Array(items) = &node.value else { return false };
    items.first().is_some_and(|item| matches!(item.value, Value::Table(_)))
}

/// An entry as our own form would have it.
pub(in crate::config) fn entry(node: Node, problems: &mut Problems<'_>) -> Node {
    let Node { at, value: Value::Table(members) } = node else { return node };
    let mut entry = Entry::default();
    // Some write the whole of it one step further down.
    for member in members {
        entry.take(member, problems);
    }
    entry.finish(at, problems)
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
    /// Headers that say who asks.
    authorization: Vec<Member>,
    /// The scopes of a login, beside `oauth`.
    scopes: Option<Member>,
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
            Some("type" | "transport") if !matches!(node.value, Value::Table(_)) => self.kind(&node, problems),
            Some("args") => self.add("args", at, texts(node, problems), problems),
            Some("env") => self.env(at, node, problems),
            Some("headers") => self.headers(at, node, problems),
            Some("requestInit") => self.request(node, problems),
            // Gemini CLI prefers it to `url`.
            Some("url") if letters(&name) == "httpurl" => {
                self.members.retain(|member| member.name != "url");
                self.add("url", at, templated(node), problems);
            }
            Some("url") if self.has("url") => {}
            Some("url" | "cwd") => self.add(ours.unwrap_or_default(), at, templated(node), problems),
            Some("enabled" | "disabled") if self.has("enabled") || self.has("disabled") => {}
            Some("enabled" | "disabled") => self.add(ours.unwrap_or_default(), at, truth(node), problems),
            Some("env_file") => self.add("env_file", at, templated(node), problems),
            Some("bearer_variable") => self.authorization.extend(authorization(at, node, "env")),
            Some("bearer") => self.authorization.extend(authorization(at, node, "")),
            Some("header_variables") => self.authorization.extend(of_variables(node)),
            Some(times @ ("startup_seconds" | "startup_ms" | "call_seconds" | "call_ms")) => {
                self.time(Meant::of(times), at, &node, problems);
            }
            Some("scopes") => self.scopes = Some(Member { name: "scopes".to_owned(), at, node }),
            Some("transport") if matches!(node.value, Value::Table(_)) => {
                node.value.into_members().into_iter().for_each(|member| self.take(member, problems));
            }
            Some("shown") => {}
            // Codex has a table of each tool's own there.
            Some("tools") if node.value.members().iter().any(|member| matches!(&*member.name, "allow" | "deny")) => {
                self.add("tools", at, node, problems);
            }
            Some("tools") if matches!(node.value, Value::Table(_)) => passed_over(&at, "alwaysAllow", problems),
            // Claude Code's list of tables is about permissions.
            Some("tools") if items_are_tables(&node) => passed_over(&at, "alwaysAllow", problems),
            Some("tools" | "allow") => {
                // None at all; goose and Gemini CLI mean all by it.
                if matches!(letters(&name).as_str(), "tools" | "enabledtools") && node.size() == 1 {
                    self.filter[1].push(Node { at, value: Value::String("*".to_owned()) });
                }
                self.filter[0].extend(items(node));
            }
            Some("deny") => self.filter[1].extend(items(node)),
            Some("oauth") if matches!(node.value, Value::Table(_)) => {
                let node = oauth(node, problems);
                self.add("oauth", at, node, problems);
            }
            Some("env_vars") => self.passed.extend(names(node)),
            Some("account") => self.add("account", at, node, problems),
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
            "builtin" | "platform" | "frontend" | "inlinepython" => {
                problems.add(node.at.start, format!("`{text}` is a part of the agent itself, and no MCP server"));
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
                Some(_) | None => {
                    problems.under(&member.name, |problems| passed_over(&member.at, &member.name, problems));
                }
            }
        }
    }

    fn time(&mut self, meant: Meant, at: Range<usize>, node: &Node, problems: &mut Problems<'_>) {
        let Some((name, text)) = span(meant, node, problems) else { return };
        let value = Node { at: node.at.clone(), value: Value::String(text) };
        self.add(name, at, value, problems);
    }

    fn finish(mut self, at: Range<usize>, problems: &mut Problems<'_>) -> Node {
        self.authorize();
        // We say that a server is there, and others that it is not.
        if let Some(member) = self.members.iter_mut().find(|member| member.name == "disabled") {
            let is_off = matches!(member.node.value, Value::Bool(true));
            member.name = "enabled".to_owned();
            if let Value::Bool(value) = &mut member.node.value {
                *value = !is_off;
            }
        }
        if let Some(scopes) = self.scopes.take() {
            let at = scopes.at.clone();
            let login = oauth(Node { at: at.clone(), value: Value::Table(vec![scopes]) }, problems);
            match self.members.iter_mut().find(|member| member.name == "oauth").map(|member| &mut member.node.value) {
                Some(Value::Table(members)) => members.extend(login.value.into_members()),
                Some(_) => {}
                None => self.add("oauth", at, login, problems),
            }
        }
        // Generators write both and mean the one that `type` names.
        match self.kind {
            Some(Kind::Stdio) if self.has("command") => self.members.retain(|member| member.name != "url"),
            Some(Kind::Http) if self.has("url") => self.members.retain(|member| member.name != "command"),
            Some(Kind::Stdio | Kind::Http | Kind::Unsaid) | None => {}
        }
        self.keep_own_variables();
        self.drop_what_is_of_no_use(problems);
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

    /// A variable that the entry itself sets is for its program to find: `mcp-remote` reads `${NAME}` in its arguments.
    fn keep_own_variables(&mut self) {
        let own =
            |member: &Member| if member.name == "env" { member.node.value.members().to_vec() } else { Vec::new() };
        let names: Vec<String> = self.members.iter().flat_map(own).map(|variable| variable.name).collect();
        let args = self.members.iter_mut().find(|member| member.name == "args");
        let Some(Value::Array(words)) = args.map(|args| &mut args.node.value) else { return };
        for word in words {
            if let Value::String(text) = &mut word.value {
                for name in &names {
                    *text = text.replace(&format!("${{env:{name}}}"), &format!("$${{{name}}}"));
                }
            }
        }
    }

    /// Takes out what belongs to the other kind of server.
    fn drop_what_is_of_no_use(&mut self, problems: &mut Problems<'_>) {
        let (useless, kind): (&[&str], _) = match (self.has("command"), self.has("url")) {
            (false, true) => (&["args", "env", "env_file", "cwd"], "a `url`"),
            (true, false) => (&["headers", "oauth"], "a `command`"),
            (true, true) => {
                problems.add(
                    self.members[0].at.start,
                    "a `command` and a `url` stand side by side: is it started or reached?".to_owned(),
                );
                return;
            }
            (false, false) => return,
        };
        if self.has("url") {
            self.passed.clear();
        }
        self.members.retain(|member| {
            let stays = !useless.contains(&member.name.as_str());
            // An empty one says nothing.
            if !stays && member.node.size() > 1 {
                problems.note(
                    member.at.start,
                    format!("`{}` has no effect for a server with {kind}: left out", member.name),
                );
            }
            stays
        });
    }

    /// Puts the headers that say who asks beside the others, unless one of the same name is there.
    fn authorize(&mut self) {
        let more = std::mem::take(&mut self.authorization);
        let Some(at) = more.first().map(|member| member.at.clone()) else { return };
        if !self.has("headers") {
            let value = Node { at: at.clone(), value: Value::Table(Vec::new()) };
            self.members.push(Member { name: "headers".to_owned(), at, node: value });
        }
        let headers = self.members.iter_mut().find(|member| member.name == "headers");
        if let Some(Value::Table(members)) = headers.map(|headers| &mut headers.node.value) {
            for member in more {
                if !members.iter().any(|there| there.name.eq_ignore_ascii_case(&member.name)) {
                    members.push(member);
                }
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.members.iter().any(|member| member.name == name)
    }
}
