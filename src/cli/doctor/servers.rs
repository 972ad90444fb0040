//! The servers, as the daemon has them: what it makes of the configuration, in which state they are, and whether they start.

use std::collections::BTreeSet;

use crate::cli::doctor::finding::Finding;
use crate::cli::doctor::look::Look;
use crate::cli::reach::here;
use crate::control::{Client, DaemonClient, ServerStatus};

pub(super) async fn look(look: &Look<'_>, client: Option<&Client>, tries: bool) -> Vec<Finding> {
    let Some(client) = client else {
        if tries {
            return vec![Finding::note("servers", "servers are tried by a daemon, and none runs", "trunkline tools")];
        }
        return Vec::new();
    };
    let mut findings = checked(look, client).await;
    for server in look.status.iter().flat_map(|status| &status.servers) {
        findings.extend(state(server));
    }
    if tries {
        findings.extend(tried(look, client).await);
    }
    findings
}

/// What is not set, or not there, for the daemon.
async fn checked(look: &Look<'_>, client: &Client) -> Vec<Finding> {
    let Ok(examined) = client.check(look.places.config.clone()).await else { return Vec::new() };
    let known: BTreeSet<_> = look.config.problems.iter().map(|problem| problem.message.clone()).collect();
    let problems = examined.problems.iter().filter(|problem| !known.contains(&problem.message));
    let mut findings: Vec<_> = problems
        .map(|problem| {
            let fix = if problem.message.contains("environment variable") {
                "put it into your login shell's profile, or into the file `environment` beside the configuration; then trunkline shutdown"
            } else {
                "the message says how"
            };
            Finding::problem("config", format!("line {}: {}", problem.line, problem.message), fix)
        })
        .collect();
    let notes = examined.notes.iter();
    findings.extend(
        notes.map(|note| Finding::note("config", format!("line {}: {}", note.line, note.message), "trunkline check")),
    );
    findings
}

fn state(server: &ServerStatus) -> Option<Finding> {
    let name = &server.name;
    let reason = server.last_error.clone().unwrap_or_default();
    Some(match server.state.as_str() {
        "needs_login" => Finding::problem(
            "servers",
            format!("{name}: a person must log in: {reason}"),
            format!("trunkline login {name}"),
        ),
        "broken" | "failed" | "backoff" => Finding::problem(
            "servers",
            format!("{name}: {}: {reason}", server.state),
            format!("trunkline logs {name}; trunkline restart {name}"),
        ),
        "stopped" => Finding::note("servers", format!("{name}: stopped by hand"), format!("trunkline start {name}")),
        _ => return None,
    })
}

async fn tried(look: &Look<'_>, client: &Client) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, _) in look.config.servers.iter().filter(|(_, server)| server.is_usable()) {
        let answer = client.list_tools(Some(name.to_string()), here()).await;
        let error = match &answer {
            Ok(servers) => servers.first().and_then(|server| server.error.clone()),
            Err(error) => Some(error.to_string()),
        };
        let count = answer.iter().flatten().map(|server| server.tools.len()).sum::<usize>();
        findings.push(match error {
            None => {
                Finding::good("servers", format!("{name}: answers, {count} tool{}", if count == 1 { "" } else { "s" }))
            }
            Some(error) => Finding::problem("servers", format!("{name}: {error}"), format!("trunkline logs {name}")),
        });
    }
    findings
}
