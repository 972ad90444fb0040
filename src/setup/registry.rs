//! A server as the MCP registry describes it: `server.json` (the schema of modelcontextprotocol/registry), and the way to it.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use serde_json::Value as Json;
use toml_edit::{Array, InlineTable, Table, value};

/// Where the public registry answers.
pub const REGISTRY: &str = "https://registry.modelcontextprotocol.io";

/// How long the registry may take.
const REGISTRY_WAIT: Duration = Duration::from_secs(20);
/// The largest answer of the registry.
const REGISTRY_MOST: usize = 4 << 20;

/// An entry made of a `server.json`.
#[derive(Debug)]
pub struct Registered {
    /// The last part of its name.
    pub name: String,
    pub title: String,
    pub table: Table,
    /// What it needs and nobody has said yet: `trunkline secret set NAME`, or a word in the entry.
    pub missing: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Server {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    packages: Vec<Package>,
    #[serde(default)]
    remotes: Vec<Remote>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    #[serde(alias = "registry_type", alias = "registryName", default)]
    registry_type: String,
    #[serde(alias = "name")]
    identifier: String,
    #[serde(default)]
    version: Option<String>,
    #[serde(alias = "runtime_hint", default)]
    runtime_hint: Option<String>,
    #[serde(alias = "runtime_arguments", default)]
    runtime_arguments: Vec<Argument>,
    #[serde(alias = "package_arguments", default)]
    package_arguments: Vec<Argument>,
    #[serde(alias = "environment_variables", default)]
    environment_variables: Vec<Input>,
    #[serde(default)]
    transport: Option<Json>,
}

#[derive(Deserialize)]
struct Remote {
    #[serde(rename = "type", alias = "transport_type", default)]
    kind: String,
    url: String,
    #[serde(default)]
    headers: Vec<Input>,
}

/// A word that its person may have to say.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    #[serde(default)]
    name: String,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    default: Option<Json>,
    #[serde(alias = "is_required", default)]
    is_required: bool,
    #[serde(alias = "is_secret", default)]
    is_secret: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(alias = "value_hint", default)]
    value_hint: Option<String>,
    #[serde(flatten)]
    input: Input,
}

/// The registry's newest version of a server (`GET /v0.1/servers/{name}/versions/latest`).
pub async fn fetch_server(name: &str, registry: &str) -> anyhow::Result<String> {
    let mut url = url::Url::parse(registry).with_context(|| format!("`{registry}` is no address of a registry"))?;
    let no_base = || anyhow!("`{registry}` is no address of a registry");
    url.path_segments_mut()
        .map_err(|()| no_base())?
        .pop_if_empty()
        .extend(["v0.1", "servers", name, "versions", "latest"]);
    let failed =
        || format!("the registry at {registry} does not answer; a server.json can be named too: registry:FILE");
    let client = reqwest::Client::builder().timeout(REGISTRY_WAIT).build().with_context(failed)?;
    let answer = client.get(url).send().await.with_context(failed)?;
    if answer.status() == reqwest::StatusCode::NOT_FOUND {
        bail!("the registry at {registry} has no server `{name}`: its names have a slash, like io.github.owner/server");
    }
    let mut answer = answer.error_for_status().with_context(failed)?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.with_context(failed)? {
        body.extend_from_slice(&chunk);
        if body.len() > REGISTRY_MOST {
            bail!("the registry at {registry} answers with more than {} MiB", REGISTRY_MOST >> 20);
        }
    }
    String::from_utf8(body).with_context(failed)
}

/// Reads a `server.json`, or the registry's answer that has one in it.
pub fn of_registry(text: &str) -> Result<Registered, String> {
    let read: Json = serde_json::from_str(text).map_err(|error| format!("it is not valid JSON: {error}"))?;
    // The registry's answer has it under a key.
    let server = read.get("server").unwrap_or(&read).clone();
    let server: Server = serde_json::from_value(server).map_err(|error| format!("it is no server.json: {error}"))?;
    let name = server.name.rsplit('/').next().unwrap_or(&server.name).to_owned();
    let mut missing = Vec::new();
    let on_stdio = |package: &&Package| {
        let kind = package.transport.as_ref().and_then(|transport| transport["type"].as_str()).unwrap_or("stdio");
        kind == "stdio" && runner(package).is_some()
    };
    let streamable = |remote: &&Remote| remote.kind != "sse";
    let remote = server.remotes.iter().find(streamable).or(server.remotes.first());
    let table = match (remote, server.packages.iter().find(on_stdio)) {
        // One that is reached needs nothing installed.
        (Some(remote), _) => of_remote(&name, remote, &mut missing),
        (None, Some(package)) => of_package(&name, package, &mut missing),
        (None, None) => {
            let kinds: Vec<_> = server.packages.iter().map(|package| package.registry_type.as_str()).collect();
            return Err(format!(
                "nothing of it can be started here: it has {}",
                if kinds.is_empty() { "no packages".to_owned() } else { kinds.join(", ") }
            ));
        }
    };
    Ok(Registered { name, title: server.description, table, missing })
}

/// What starts a package, with the word that names it.
fn runner(package: &Package) -> Option<(String, Vec<String>)> {
    let at = |mark: &str| match &package.version {
        Some(version) if version != "latest" && !version.is_empty() => format!("{}{mark}{version}", package.identifier),
        Some(_) | None => package.identifier.clone(),
    };
    let hint = |default: &str| package.runtime_hint.clone().unwrap_or_else(|| default.to_owned());
    match package.registry_type.as_str() {
        "npm" => Some((hint("npx"), vec!["-y".to_owned(), at("@")])),
        "pypi" => Some((hint("uvx"), vec![at("==")])),
        "nuget" => Some((hint("dnx"), vec![at("@"), "--yes".to_owned()])),
        "oci" | "docker" => Some((hint("docker"), ["run", "-i", "--rm", "--init"].map(str::to_owned).into())),
        _ => None,
    }
}

fn of_package(server: &str, package: &Package, missing: &mut Vec<String>) -> Table {
    let (program, mut own) = runner(package).unwrap_or_default();
    let mut words: Vec<String> = Vec::new();
    let in_container = matches!(package.registry_type.as_str(), "oci" | "docker");
    let variables: Vec<_> = package
        .environment_variables
        .iter()
        .filter_map(|input| Some((&input.name, said(server, input, missing)?)))
        .collect();
    if in_container {
        words.append(&mut own);
        words.extend(variables.iter().flat_map(|(name, _)| ["-e".to_owned(), (*name).clone()]));
    }
    words.extend(package.runtime_arguments.iter().flat_map(|argument| argument.words(server, missing)));
    if in_container {
        let tagged = package.identifier.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
        let version = package.version.as_ref().filter(|_| !tagged);
        words.push(
            version.map_or_else(|| package.identifier.clone(), |version| format!("{}:{version}", package.identifier)),
        );
    } else {
        words.append(&mut own);
    }
    words.extend(package.package_arguments.iter().flat_map(|argument| argument.words(server, missing)));
    let mut table = Table::new();
    table.insert("command", value(program));
    table.insert("args", value(words.into_iter().collect::<Array>()));
    if !variables.is_empty() {
        let variables = variables.into_iter().map(|(name, text)| (name.as_str(), toml_edit::Value::from(text)));
        table.insert("env", value(variables.collect::<InlineTable>()));
    }
    table
}

fn of_remote(server: &str, remote: &Remote, missing: &mut Vec<String>) -> Table {
    let mut table = Table::new();
    table.insert("url", value(&remote.url));
    let headers = remote
        .headers
        .iter()
        .filter_map(|input| Some((input.name.as_str(), toml_edit::Value::from(said(server, input, missing)?))));
    let headers: InlineTable = headers.collect();
    if !headers.is_empty() {
        table.insert("headers", value(headers));
    }
    if let Some((_, rest)) = remote.url.split_once('{')
        && let Some((name, _)) = rest.split_once('}')
    {
        missing.push(format!("a value for {{{name}}} in `url`"));
    }
    table
}

/// The value of a word: what the file says, else a secret by its name where it is needed.
fn said(server: &str, input: &Input, missing: &mut Vec<String>) -> Option<String> {
    let default = input.default.as_ref().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    // A template of the registry's own has its variables in single braces.
    let given = input.value.clone().filter(|value| !value.contains('{')).or(default);
    if given.is_some() {
        return given;
    }
    if !input.is_required {
        return None;
    }
    let secret = format!("{server}-{}", input.name.trim_start_matches('-'));
    missing.push(format!("trunkline secret set {secret}"));
    let reference = format!("${{keyring:{secret}}}");
    let scheme =
        input.value.as_deref().and_then(|value| value.split_once('{')).map(|(before, _)| before).unwrap_or_default();
    Some(if input.is_secret || scheme.is_empty() || scheme.ends_with(' ') {
        format!("{scheme}{reference}")
    } else {
        reference
    })
}

impl Argument {
    fn words(&self, server: &str, missing: &mut Vec<String>) -> Vec<String> {
        let named =
            Input { name: self.value_hint.clone().unwrap_or_else(|| self.input.name.clone()), ..self.input.copied() };
        match (self.kind.as_str(), said(server, &named, missing)) {
            ("named", Some(text)) => vec![self.input.name.clone(), text],
            ("named", None) if self.input.is_required => vec![self.input.name.clone()],
            (_, Some(text)) => vec![text],
            (_, None) => Vec::new(),
        }
    }
}

impl Input {
    fn copied(&self) -> Self {
        Self { name: self.name.clone(), value: self.value.clone(), default: self.default.clone(), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_server_json() {
        for (text, expected) in [
            (
                r#"{"name": "io.github.a/time", "packages": [{"registryType": "npm", "identifier": "@a/time", "version": "1.2.0", "transport": {"type": "stdio"},
                 "packageArguments": [{"type": "named", "name": "--zone", "value": "UTC"}, {"type": "positional", "valueHint": "dir", "isRequired": true}],
                 "environmentVariables": [{"name": "T_KEY", "isRequired": true, "isSecret": true}, {"name": "OPT"}, {"name": "L", "default": "info"}]}]}"#,
                "command = \"npx\"\nargs = [\"-y\", \"@a/time@1.2.0\", \"--zone\", \"UTC\", \"${keyring:time-dir}\"]\nenv = { T_KEY = \"${keyring:time-T_KEY}\", L = \"info\" }\n",
            ),
            (
                r#"{"server": {"name": "x/y", "packages": [{"registryType": "oci", "identifier": "ghcr.io/x/y", "version": "2", "environmentVariables": [{"name": "A", "value": "b"}]}]}}"#,
                "command = \"docker\"\nargs = [\"run\", \"-i\", \"--rm\", \"--init\", \"-e\", \"A\", \"ghcr.io/x/y:2\"]\nenv = { A = \"b\" }\n",
            ),
            (
                r#"{"name": "x/r", "remotes": [{"type": "sse", "url": "https://h/sse"}, {"type": "streamable-http", "url": "https://h/mcp", "headers": [{"name": "Authorization", "value": "Bearer {token}", "isRequired": true, "isSecret": true}]}]}"#,
                "url = \"https://h/mcp\"\nheaders = { Authorization = \"Bearer ${keyring:r-Authorization}\" }\n",
            ),
        ] {
            let registered = of_registry(text).expect("read");
            assert_eq!(registered.table.to_string(), expected);
        }
        assert!(of_registry(r#"{"name": "x/y", "packages": [{"registryType": "mcpb", "identifier": "u"}]}"#).is_err());
        assert!(of_registry("[]").is_err());
    }
}
