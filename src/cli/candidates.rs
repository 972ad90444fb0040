//! The names that a shell completes: from the configuration and the running daemon.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::builder::StyledStr;
use clap_complete::engine::CompletionCandidate;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::done::Trouble;
use crate::cli::reach::{block_on, connect, here};
use crate::config::Config;
use crate::control::DaemonClient;
use crate::credentials::Vault;
use crate::ipc::Signpost;
use crate::paths::{Named, Places};
use crate::setup;

/// A person waits for the key: nothing may take longer.
const WAIT: Duration = Duration::from_millis(800);

/// The places of the daemon that a person means, as far as that is known while a line is written.
fn places() -> Option<Places> {
    let variable = |name: &str| std::env::var_os(name).map(Into::into);
    let named = Named {
        config: variable("TRUNKLINE_CONFIG"),
        socket: variable("TRUNKLINE_SOCKET"),
        state: variable("TRUNKLINE_STATE_DIR"),
    };
    Some(Signpost::follow(Places::find(named).ok()?))
}

fn config() -> Config {
    places().and_then(|places| Config::load(&places.config).ok()).unwrap_or_default()
}

fn candidates(names: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    names.into_iter().map(CompletionCandidate::new).collect()
}

pub(super) fn servers() -> Vec<CompletionCandidate> {
    candidates(config().servers.iter().map(|(name, _)| name.to_string()))
}

pub(super) fn profiles() -> Vec<CompletionCandidate> {
    candidates(config().profiles.into_keys())
}

pub(super) fn agents() -> Vec<CompletionCandidate> {
    let agents = setup::agents().iter();
    agents.map(|agent| CompletionCandidate::new(&agent.id).help(Some(agent.title.clone().into()))).collect()
}

pub(super) fn secrets() -> Vec<CompletionCandidate> {
    let Some(places) = places() else { return Vec::new() };
    let used = config().secret_names();
    let vault = Vault::open(&places.state);
    let kept = block_on(async {
        let names = vault.read(|records| records.secrets.keys().cloned().collect::<BTreeSet<_>>());
        Ok(tokio::time::timeout(WAIT, names).await)
    });
    let kept = kept.ok().and_then(Result::ok).and_then(Result::ok).unwrap_or_default();
    candidates(used.union(&kept).cloned())
}

/// A tool, as far as a line needs it.
#[derive(Deserialize)]
struct Tool {
    name: String,
    description: Option<String>,
    #[serde(default, rename = "inputSchema")]
    input: Value,
}

/// The tools of the server that stands on the line, where a daemon runs that knows them, and the words behind that server.
fn tools_of_line() -> (Vec<Tool>, Vec<String>) {
    let names: BTreeSet<_> = config().servers.iter().map(|(name, _)| name.to_string()).collect();
    let mut words = std::env::args();
    let tools = words.find(|word| names.contains(word)).map(tools_of).unwrap_or_default();
    (tools, words.collect())
}

fn tools_of(server: String) -> Vec<Tool> {
    let Some(places) = places() else { return Vec::new() };
    let listed = block_on(async {
        let asked = async { Ok::<_, Trouble>(connect(&places).await?.list_tools(Some(server), here()).await?) };
        Ok(tokio::time::timeout(WAIT, asked).await)
    });
    let listed = listed.ok().and_then(Result::ok).and_then(Result::ok).unwrap_or_default();
    let tools = listed.iter().flat_map(|server| &server.tools);
    tools.filter_map(|tool| serde_json::from_str(tool.get()).ok()).collect()
}

fn first_line(text: Option<&str>) -> Option<StyledStr> {
    text?.lines().next().map(|line| line.to_owned().into())
}

pub(super) fn tools() -> Vec<CompletionCandidate> {
    let candidate = |tool: Tool| CompletionCandidate::new(tool.name).help(first_line(tool.description.as_deref()));
    tools_of_line().0.into_iter().filter(|tool| is_safe(&tool.name)).map(candidate).collect()
}

/// Whether a shell takes a word as it is: what a server says must not become a command.
fn is_safe(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/=".contains(&byte))
}

/// The arguments of the tool that stands on the line, and their values where those are few.
pub(super) fn arguments() -> Vec<CompletionCandidate> {
    let (tools, words) = tools_of_line();
    let Some(tool) = tools.into_iter().find(|tool| words.first() == Some(&tool.name)) else { return Vec::new() };
    let known = tool.input["properties"].as_object().into_iter().flatten();
    let left = known.filter(|(name, _)| !words.iter().any(|word| word.starts_with(&format!("{name}="))));
    left.flat_map(|(name, schema)| {
        let help = first_line(schema["description"].as_str());
        let values = schema["enum"].as_array().map(Vec::as_slice).unwrap_or_default();
        let values = values.iter().filter_map(Value::as_str).map(move |value| format!("{name}={value}"));
        std::iter::once(format!("{name}="))
            .chain(values)
            .filter(|word| is_safe(word))
            .map(move |word| CompletionCandidate::new(word).help(help.clone()))
    })
    .collect()
}
