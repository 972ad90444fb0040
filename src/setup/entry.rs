//! An entry of the configuration that is not written yet. Pure.

use std::path::Path;

use toml_edit::Table;

use crate::config::{Config, ServerConfig, Transport};

/// An entry as the configuration would have it, or why it would not.
pub(super) fn decoded(table: &Table) -> Result<ServerConfig, String> {
    let text = format!("[servers.x]\n{table}");
    let config = Config::from_toml(&text).unwrap_or_else(|problems| Config { problems, ..Config::default() });
    let server = config.servers.into_iter().next().map(|(_, server)| server);
    match (server, config.problems.first()) {
        (Some(server), None) => Ok(server),
        (_, problem) => {
            let message = problem.map(|problem| problem.message.as_str()).unwrap_or("it says nothing of a server");
            Err(message.trim_start_matches("servers.x").trim_start_matches(['.', ':', ' ']).to_owned())
        }
    }
}

/// Whether a server is this program, as an agent starts it.
pub(super) fn is_trunkline(server: &ServerConfig) -> bool {
    let Transport::Stdio(stdio) = &server.transport else { return false };
    let program = Path::new(stdio.command.text()).file_stem().is_some_and(|name| name == "trunkline");
    program && stdio.args.iter().any(|word| word.text() == "connect")
}
