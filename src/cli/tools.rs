//! `tools`: what servers offer; of one tool, how it is called.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::anyhow;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::cli::done::{Done, Trouble, complain, out};
use crate::cli::progress::Progress;
use crate::cli::reach::here;
use crate::cli::table::{cut, table, wrapped};
use crate::control::{Client, DaemonClient, ServerTools};
use crate::names;
use crate::shown;

/// A tool as a server describes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tool {
    pub name: String,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub input_schema: Map<String, Value>,
}

/// One parameter of a tool, by its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parameter {
    pub name: String,
    pub kind: String,
    pub required: bool,
    pub description: String,
}

pub(super) async fn run(client: &Client, server: Option<String>, tool: Option<&str>, json: bool) -> Done {
    let what = server.as_ref().map_or("all servers".to_owned(), |server| format!("`{server}`"));
    let progress = Progress::begin(format!("asking {what} for tools"));
    let listed = client.list_tools(server.clone(), here()).await;
    progress.end();
    let listed = listed?;
    match (server, tool) {
        (Some(server), Some(tool)) => one(&listed, &server, tool, json),
        _ => all(&listed, json),
    }
}

fn all(servers: &[ServerTools], json: bool) -> Done {
    let failed = servers.iter().any(|server| server.error.is_some());
    let code = if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    if json {
        writeln!(io::stdout(), "{}", serde_json::to_string(servers).map_err(anyhow::Error::from)?)?;
        return Ok(code);
    }
    let (mut out, mut any) = (out(), false);
    for ServerTools { server, tools, error } in servers {
        if let Some(error) = error {
            complain(&format!("{server}: {error}"));
        }
        for tool in tools {
            let Ok(tool) = serde_json::from_str::<Tool>(tool.get()) else { continue };
            let first = tool.description.as_deref().unwrap_or_default().lines().next().unwrap_or_default().to_owned();
            writeln!(out, "{}", cut(&format!("{server} {}  {first}", shown::line(&tool.name))))?;
            any = true;
        }
    }
    if !any && !failed {
        complain("no server offers a tool: `trunkline status` shows the servers, `trunkline add` adds one");
    }
    Ok(code)
}

fn one(servers: &[ServerTools], server: &str, tool: &str, json: bool) -> Done {
    let tool = find(servers, server, tool)?;
    if json {
        writeln!(io::stdout(), "{}", tool.0)?;
        return Ok(ExitCode::SUCCESS);
    }
    let tool = tool.1;
    let mut out = out();
    for line in tool.description.as_deref().unwrap_or("(the server does not describe it)").lines() {
        writeln!(out, "{}", wrapped(line, ""))?;
    }
    let parameters = tool.parameters();
    if parameters.is_empty() {
        writeln!(out, "\nIt takes no arguments.")?;
    } else {
        writeln!(out)?;
        let row = |parameter: &Parameter| {
            let needed = if parameter.required { "yes" } else { "" };
            let first = parameter.description.lines().next().unwrap_or_default().to_owned();
            vec![parameter.name.clone(), parameter.kind.clone(), needed.to_owned(), first]
        };
        let rows: Vec<_> = parameters.iter().map(row).collect();
        table(&mut out, &["PARAMETER", "TYPE", "NEEDED", "WHAT IT IS"], &rows)?;
    }
    writeln!(out, "\n  trunkline call {server} {}{}", tool.name, tool.example())?;
    Ok(ExitCode::SUCCESS)
}

/// A tool of a server, as it stands and as it is read.
pub(super) fn find(servers: &[ServerTools], server: &str, tool: &str) -> Result<(String, Tool), Trouble> {
    let listed = servers.iter().find(|listed| listed.server == server);
    if let Some(error) = listed.and_then(|listed| listed.error.clone()) {
        return Err(Trouble::Daemon(error));
    }
    let texts = listed.into_iter().flat_map(|listed| &listed.tools);
    let tools: Vec<(String, Tool)> =
        texts.filter_map(|text| Some((text.to_string(), serde_json::from_str(text.get()).ok()?))).collect();
    let names: Vec<String> = tools.iter().map(|(_, tool)| tool.name.clone()).collect();
    let near = names::nearest(tool, names.iter().map(String::as_str));
    let hint = near
        .map_or_else(|| format!(": `trunkline tools {server}` lists them"), |near| format!(": did you mean `{near}`?"));
    let found = tools.into_iter().find(|(_, known)| known.name == tool);
    found.ok_or_else(|| anyhow!("`{server}` has no tool `{tool}`{hint}").into())
}

impl Tool {
    /// What it takes, what is needed first.
    pub(super) fn parameters(&self) -> Vec<Parameter> {
        let required = self.input_schema.get("required").and_then(Value::as_array);
        let needs = |name: &str| required.is_some_and(|names| names.iter().any(|known| known == name));
        let properties = self.input_schema.get("properties").and_then(Value::as_object);
        let mut all: Vec<_> = properties
            .into_iter()
            .flatten()
            .map(|(name, schema)| Parameter {
                name: name.clone(),
                kind: kind(schema),
                required: needs(name),
                description: schema["description"].as_str().unwrap_or_default().to_owned(),
            })
            .collect();
        all.sort_by_key(|parameter| !parameter.required);
        all
    }

    /// The arguments of an example call: what is needed.
    fn example(&self) -> String {
        let needed = self.parameters().into_iter().filter(|parameter| parameter.required);
        needed.map(|parameter| format!(" {}={}", parameter.name, sample(&parameter.kind))).collect()
    }
}

/// A schema's type, in a word or two.
fn kind(schema: &Value) -> String {
    if let Some(choices) = schema["enum"].as_array() {
        let words: Vec<_> =
            choices.iter().map(|choice| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned)).collect();
        return words.join("|");
    }
    match &schema["type"] {
        Value::String(kind) if kind == "array" => match schema["items"]["type"].as_str() {
            Some(item) => format!("{item}[]"),
            None => "array".to_owned(),
        },
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => "any".to_owned(),
    }
}

fn sample(kind: &str) -> String {
    match kind {
        "integer" | "number" => "1".to_owned(),
        "boolean" => "true".to_owned(),
        "object" => "'{}'".to_owned(),
        kind if kind.ends_with("[]") || kind == "array" => "'[]'".to_owned(),
        "string" | "any" => "…".to_owned(),
        kind => kind.split('|').next().unwrap_or("…").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_schema() {
        let tool: Tool = serde_json::from_str(
            r#"{"name": "t", "inputSchema": {"required": ["b", "c"], "properties": {"a": {"type": "array", "items": {"type": "string"}},
            "b": {"enum": ["x", "y"]}, "c": {"type": ["integer", "null"]}, "d": {}}}}"#,
        )
        .expect("valid");
        let shown: Vec<_> = tool.parameters().iter().map(|p| format!("{} {} {}", p.name, p.kind, p.required)).collect();
        assert_eq!(shown, ["b x|y true", "c integer|null true", "a string[] false", "d any false"]);
        assert_eq!(tool.example(), " b=x c=integer");
    }
}
