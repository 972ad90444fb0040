//! The names that a shell completes: from the configuration and the running daemon.

use std::collections::BTreeSet;
use std::time::Duration;

use clap_complete::engine::CompletionCandidate;
use serde::Deserialize;

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

/// The tools of the server that stands on the line, where a daemon runs that knows them.
pub(super) fn tools() -> Vec<CompletionCandidate> {
    #[derive(Deserialize)]
    struct Tool {
        name: String,
        description: Option<String>,
    }
    let names: BTreeSet<_> = config().servers.iter().map(|(name, _)| name.to_string()).collect();
    let Some(server) = std::env::args().find(|word| names.contains(word)) else { return Vec::new() };
    let Some(places) = places() else { return Vec::new() };
    let listed = block_on(async {
        let asked = async { Ok::<_, Trouble>(connect(&places).await?.list_tools(Some(server), here()).await?) };
        Ok(tokio::time::timeout(WAIT, asked).await)
    });
    let listed = listed.ok().and_then(Result::ok).and_then(Result::ok).unwrap_or_default();
    let tools = listed.iter().flat_map(|server| &server.tools);
    tools
        .filter_map(|tool| serde_json::from_str::<Tool>(tool.get()).ok())
        .map(|tool| {
            let first = tool.description.and_then(|text| text.lines().next().map(str::to_owned));
            CompletionCandidate::new(tool.name).help(first.map(Into::into))
        })
        .collect()
}
