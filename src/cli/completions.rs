//! What a shell completes: commands and flags from their own table, names from the configuration and the running daemon.

use std::collections::BTreeSet;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{Bash, CompleteEnv, Elvish, EnvCompleter, Fish, Powershell, Zsh};
use serde::Deserialize;

use crate::cli::args::Args;
use crate::cli::done::{Done, Trouble};
use crate::cli::reach::{block_on, connect, here};
use crate::config::Config;
use crate::control::DaemonClient;
use crate::credentials::Vault;
use crate::ipc::Signpost;
use crate::paths::{Named, Places};
use crate::setup;

/// The variable by which a shell asks for completions.
const VARIABLE: &str = "TRUNKLINE_COMPLETE";
/// A person waits for the key: nothing may take longer.
const WAIT: Duration = Duration::from_millis(800);

/// Answers a shell that asks, and ends; returns at once where none does.
pub(super) fn answer() {
    CompleteEnv::with_factory(Args::command).var(VARIABLE).complete();
}

/// Prints what a shell has to read once.
pub(super) fn print(shell: &Shell) -> Done {
    let program = std::env::current_exe().map_err(anyhow::Error::from)?.display().to_string();
    let completer: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Elvish => &Elvish,
        Shell::Fish => &Fish,
        Shell::PowerShell => &Powershell,
        Shell::Zsh => &Zsh,
        _ => {
            return Err(Trouble::Other(anyhow::anyhow!(
                "{shell} is not known here: bash, zsh, fish, powershell, elvish"
            )));
        }
    };
    completer.write_registration(VARIABLE, "trunkline", "trunkline", &program, &mut io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

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
