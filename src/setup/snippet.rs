//! What a person pastes: the JSON of a README, a `claude mcp add …` line, a table of Codex's, or a command alone. Pure.

use toml_edit::{Array, InlineTable, Table, value};

use crate::config::{Foreign, ForeignFile, Format};

/// What was pasted.
#[derive(Debug)]
pub enum Snippet {
    /// Entries of a file, as one that is imported.
    File(ForeignFile),
    /// One entry, with its name where it has one.
    Entry { name: Option<String>, table: Table, notes: Vec<String> },
}

/// Reads it; the error says what it is not.
pub fn snippet(text: &str) -> Result<Snippet, String> {
    let text = unfenced(text.trim_start_matches('\u{feff}').trim());
    if text.is_empty() {
        return Err(
            "nothing was pasted: give a NAME with a command or a URL, or pipe the snippet of a README in".to_owned()
        );
    }
    if let Some(line) = command_line(text) {
        return of_line(&line);
    }
    let file = of_json(text).or_else(|| read(text, Format::Toml)).or_else(|| read(text, Format::Yaml));
    if let Some(file) = file {
        return Ok(Snippet::File(file));
    }
    // What is wrong with it, as what it looks most like.
    let format = Format::of(std::path::Path::new(""), text);
    let problem = ForeignFile::read(text, format).problems.into_iter().next();
    let reason = problem.map(|problem| format!("line {}: {}", problem.line, problem.message)).unwrap_or_default();
    Err(format!("this is no server: paste the JSON of a README, or a line like `claude mcp add …` ({reason})"))
}

/// A server by its command.
pub fn command(words: &[String]) -> Snippet {
    Snippet::Entry { name: None, table: stdio(words), notes: Vec::new() }
}

/// The first text between the fences of Markdown, wherever it stands.
fn unfenced(text: &str) -> &str {
    let Some((_, rest)) = text.split_once("```") else { return text };
    let body = rest.split_once('\n').map(|(_, body)| body).unwrap_or_default();
    body.split_once("```").map_or(body, |(body, _)| body).trim()
}

fn read(text: &str, format: Format) -> Option<ForeignFile> {
    let file = ForeignFile::read(text, format);
    let is_entry = |server: &Foreign| server.table.contains_key("command") || server.table.contains_key("url");
    (file.problems.is_empty() && file.servers.iter().any(is_entry)).then_some(file)
}

/// JSON as READMEs show it: whole, without its outer braces, or one entry without a name.
fn of_json(text: &str) -> Option<ForeignFile> {
    let bare = text.trim_end_matches(',');
    let wrapped = format!("{{{bare}}}");
    let named = format!("{{\"mcpServers\": {{\"server\": {bare}}}}}");
    [bare, &wrapped, &named].into_iter().find_map(|text| read(text, Format::Json))
}

/// The words of a command, if the text is one line of a shell, broken by backslashes or not.
fn command_line(text: &str) -> Option<Vec<String>> {
    let line = text.strip_prefix("$ ").unwrap_or(text).replace("\\\n", " ").replace("\\\r\n", " ");
    if line.trim().lines().count() != 1 || line.trim_start().starts_with(['{', '[', '"']) {
        return None;
    }
    let words = shlex::split(&line)?;
    let first = words.first()?;
    let is_yaml = first.ends_with(':') || first == "-";
    let is_toml = words.get(1).is_some_and(|word| word == "=");
    (!is_yaml && !is_toml && first.split('=').count() == 1).then_some(words)
}

/// `AGENT mcp add …`, or the command of a server itself.
fn of_line(words: &[String]) -> Result<Snippet, String> {
    let is = |at: usize, word: &str| words.get(at).is_some_and(|there| there == word);
    if is(1, "--add-mcp") {
        let text = words.get(2).map(String::as_str).unwrap_or_default();
        let read: serde_json::Value =
            serde_json::from_str(text).map_err(|error| format!("`--add-mcp` has no JSON: {error}"))?;
        let name = read["name"].as_str().unwrap_or("server");
        let file = ForeignFile::read(&serde_json::json!({ "servers": { name: read } }).to_string(), Format::Json);
        return Ok(Snippet::File(file));
    }
    if is(1, "mcp") && is(2, "add-json") {
        let (name, text) = words[3..].split_at_checked(1).unwrap_or_default();
        let text = text.iter().find(|word| word.starts_with('{')).map(String::as_str).unwrap_or_default();
        let name = name.first().map(String::as_str).unwrap_or("server");
        let quoted = serde_json::Value::from(name);
        let file = ForeignFile::read(&format!("{{\"mcpServers\": {{{quoted}: {text}}}}}"), Format::Json);
        return Ok(Snippet::File(file));
    }
    if is(1, "mcp") && is(2, "add") {
        return of_add(&words[3..]);
    }
    if words.len() == 1 && words[0].contains("://") {
        let mut table = Table::new();
        table.insert("url", value(&words[0]));
        return Ok(Snippet::Entry { name: None, table, notes: Vec::new() });
    }
    if words.len() < 2 {
        return Err(format!(
            "`{}` alone is no server: paste the JSON of a README, or a line like `claude mcp add …`",
            words[0]
        ));
    }
    // Any text is words: only what starts a server is one.
    if words.get(1).is_some_and(|word| word == "add")
        || !words.iter().take(3).any(|word| LAUNCHERS.contains(&word.as_str()))
    {
        return Err(format!(
            "`{}` starts no server that is known: give its command behind `--`, as in trunkline add NAME -- COMMAND",
            words[0]
        ));
    }
    Ok(command(words))
}

/// Programs that start servers.
const LAUNCHERS: [&str; 16] = [
    "npx", "uvx", "bunx", "pnpx", "node", "bun", "deno", "npm", "pnpm", "yarn", "pipx", "uv", "docker", "podman",
    "python", "python3",
];

/// What stands behind `mcp add`, as Claude Code, Codex, Gemini CLI, Qwen Code, Copilot CLI and Amp have it.
fn of_add(words: &[String]) -> Result<Snippet, String> {
    let (flags, command) = match words.iter().position(|word| word == "--") {
        Some(border) => (&words[..border], Some(&words[border + 1..])),
        None => (words, None),
    };
    let (mut table, mut notes, mut plain) = (Table::new(), Vec::new(), Vec::<&String>::new());
    let (mut variables, mut headers) = (InlineTable::new(), InlineTable::new());
    let mut rest = flags.iter().peekable();
    while let Some(word) = rest.next() {
        // Behind the name and the command without `--`, everything is the command's.
        if command.is_none() && plain.len() >= 2 && !plain[1].contains("://") {
            plain.push(word);
            continue;
        }
        let (flag, glued) =
            word.split_once('=').map_or((word.as_str(), None), |(flag, value)| (flag, Some(value.to_owned())));
        if !flag.starts_with('-') {
            plain.push(word);
            continue;
        }
        let mut value_of = || glued.clone().or_else(|| rest.next().cloned()).unwrap_or_default();
        match flag {
            "-e" | "--env" => {
                put(&mut variables, &value_of(), '=');
                // Claude Code takes several behind one flag.
                while let Some(more) =
                    rest.next_if(|more| !plain.is_empty() && more.contains('=') && !more.starts_with('-'))
                {
                    put(&mut variables, more, '=');
                }
            }
            "-H" | "--header" => {
                let header = value_of();
                put(&mut headers, &header, if header.contains(": ") || !header.contains('=') { ':' } else { '=' });
            }
            "--url" => drop(table.insert("url", value(value_of()))),
            "--bearer-token-env-var" => {
                drop(headers.insert("Authorization", format!("Bearer ${{env:{}}}", value_of()).into()))
            }
            "-t" | "--transport" | "-s" | "--scope" | "--type" => drop(value_of()),
            "--client-id" | "--client-secret" | "--callback-port" | "--timeout" | "--description"
            | "--include-tools" | "--exclude-tools" => {
                drop(value_of());
                notes.push(format!("`{flag}` was passed over: docs/reference/configuration.md has its key"));
            }
            _ => notes.push(format!("`{flag}` was passed over")),
        }
    }
    let mut plain = plain.into_iter();
    let name = plain.next().cloned().ok_or("`mcp add` has no name behind it")?;
    let mut command: Vec<String> = plain.cloned().chain(command.into_iter().flatten().cloned()).collect();
    if command.len() == 1 && command[0].contains("://") {
        table.insert("url", value(command.remove(0)));
    }
    if !command.is_empty() {
        table = stdio(&command);
    }
    if table.is_empty() {
        return Err(format!("`mcp add {name}` has no command and no URL behind it"));
    }
    if !variables.is_empty() {
        table.insert("env", value(variables));
    }
    if !headers.is_empty() {
        table.insert("headers", value(headers));
    }
    Ok(Snippet::Entry { name: Some(name), table, notes })
}

fn put(table: &mut InlineTable, pair: &str, border: char) {
    if let Some((name, text)) = pair.split_once(border) {
        table.insert(name.trim(), respelled(text.trim()).into());
    }
}

/// A shell's variable is ours by its name.
fn respelled(text: &str) -> String {
    let name = text.strip_prefix("${").and_then(|text| text.strip_suffix('}')).or_else(|| text.strip_prefix('$'));
    match name.filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')) {
        Some(name) => format!("${{env:{name}}}"),
        None => text.to_owned(),
    }
}

/// The entry of a command.
fn stdio(words: &[String]) -> Table {
    let mut table = Table::new();
    // Variables may stand before a command, as a shell has it.
    let is_variable = |word: &&String| {
        word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        })
    };
    let set = words.iter().take_while(is_variable).count();
    let mut variables = InlineTable::new();
    words[..set].iter().for_each(|word| put(&mut variables, word, '='));
    let command = words.get(set).cloned().unwrap_or_default();
    table.insert("command", value(command));
    let args: Array = words.get(set + 1..).unwrap_or_default().iter().map(String::as_str).collect();
    if !args.is_empty() {
        table.insert("args", value(args));
    }
    if !variables.is_empty() {
        table.insert("env", value(variables));
    }
    table
}

impl Snippet {
    /// As entries of a file, under `name` where one is given.
    pub fn into_file(self, name: Option<&str>) -> ForeignFile {
        let mut file = match self {
            Self::File(file) => file,
            Self::Entry { name, table, notes } => {
                let command =
                    table.get("command").or(table.get("url")).and_then(|item| item.as_str()).unwrap_or("server");
                let name = name.unwrap_or_else(|| guessed(command, &table));
                let foreign =
                    Foreign { name, line: 1, folder: None, table, notes, inputs: Default::default(), wrong: None };
                ForeignFile { servers: vec![foreign], ..ForeignFile::default() }
            }
        };
        if let (Some(name), [only]) = (name, file.servers.as_mut_slice()) {
            only.name = name.to_owned();
        }
        file
    }
}

/// A name for a command that has none: its package, without what all of them have in theirs.
fn guessed(command: &str, table: &Table) -> String {
    let host = url::Url::parse(command).ok().and_then(|url| url.host_str().map(str::to_owned));
    if let Some(host) = host {
        let parts: Vec<_> = host.split('.').filter(|part| !matches!(*part, "mcp" | "www" | "api")).collect();
        return parts.first().map_or_else(|| host.clone(), |part| (*part).to_owned());
    }
    let words =
        table.get("args").and_then(|item| item.as_array()).into_iter().flatten().filter_map(|word| word.as_str());
    let package =
        words.into_iter().find(|word| !word.starts_with('-') && !matches!(*word, "run" | "exec" | "x" | "dlx"));
    let text = package.unwrap_or(command);
    let last = text.rsplit('/').next().unwrap_or(text).split('@').next().unwrap_or(text);
    let name = last
        .trim_start_matches("mcp-server-")
        .trim_start_matches("server-")
        .trim_end_matches("-mcp")
        .trim_end_matches("-mcp-server");
    if name.is_empty() { "server".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let file = match snippet(text) {
            Ok(snippet) => snippet.into_file(None),
            Err(error) => return format!("error: {error}"),
        };
        let entry =
            |server: &Foreign| format!("{}: {}", server.name, server.table.to_string().trim().replace('\n', "; "));
        file.servers.iter().map(entry).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn what_people_paste() {
        for (text, expected) in [
            (
                r#"{"mcpServers": {"a": {"command": "npx", "args": ["-y", "p"]}}}"#,
                "a: command = \"npx\"; args = [\"-y\", \"p\"]",
            ),
            ("\"a\": {\"command\": \"npx\"},", "a: command = \"npx\""),
            ("{\"command\": \"npx\", \"args\": [\"p\"]}", "server: command = \"npx\"; args = [\"p\"]"),
            ("```json\n{\"a\": {\"url\": \"https://h/mcp\"}}\n```", "a: url = \"https://h/mcp\""),
            ("[mcp_servers.a]\ncommand = \"x\"", "a: command = \"x\""),
            ("extensions:\n  a:\n    type: stdio\n    cmd: x\n", "a: command = \"x\""),
            (
                "claude mcp add --scope user time -e A=1 B=$B -- uvx mcp-server-time --zone=UTC",
                "time: command = \"uvx\"; args = [\"mcp-server-time\", \"--zone=UTC\"]; env = { A = \"1\", B = \"${env:B}\" }",
            ),
            (
                "claude mcp add --transport http \\\n  notion https://mcp.notion.com/mcp --header \"Authorization: Bearer x\"",
                "notion: url = \"https://mcp.notion.com/mcp\"; headers = { Authorization = \"Bearer x\" }",
            ),
            (
                "codex mcp add c --env K=v -- npx -y p",
                "c: command = \"npx\"; args = [\"-y\", \"p\"]; env = { K = \"v\" }",
            ),
            ("gemini mcp add g npx -y p --flag", "g: command = \"npx\"; args = [\"-y\", \"p\", \"--flag\"]"),
            ("code --add-mcp '{\"name\":\"v\",\"command\":\"x\"}'", "v: command = \"x\""),
            ("claude mcp add-json j '{\"type\":\"http\",\"url\":\"https://h\"}'", "j: url = \"https://h\""),
            (
                "$ npx -y @scope/mcp-server-thing@latest",
                "thing: command = \"npx\"; args = [\"-y\", \"@scope/mcp-server-thing@latest\"]",
            ),
            ("https://mcp.notion.com/mcp", "notion: url = \"https://mcp.notion.com/mcp\""),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        let readme = "# A server\n\nAdd this:\n\n```json\n{\"a\": {\"command\": \"x\"}}\n```\n\nDone.";
        assert_eq!(shown(readme), "a: command = \"x\"");
        for text in
            ["", "hello", "hello there world", "touch /tmp/x", "trunkline add foo", "{\"a\": ", "{\"theme\": \"dark\"}"]
        {
            assert!(shown(text).starts_with("error: "), "{text}: {}", shown(text));
        }
    }
}
