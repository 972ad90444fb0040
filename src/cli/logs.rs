//! `logs`: the daemon's log, or a server's standard error.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::cli::done::{Done, out};
use crate::control::{Client, DaemonClient, LogLine, Missed};

/// The lines that are there already come at once; this long without one, and there are no more.
const QUIET: Duration = Duration::from_millis(200);

pub(super) async fn run(client: &Client, server: Option<String>, lines: usize, follow: bool, json: bool) -> Done {
    let mut log = client.subscribe_logs(server, Some(lines)).await?;
    let mut left = lines;
    while follow || left > 0 {
        let next =
            if follow { log.next().await } else { tokio::time::timeout(QUIET, log.next()).await.unwrap_or(None) };
        let Some(message) = next else { break };
        print(&message.map_err(anyhow::Error::from)?, json)?;
        left = left.saturating_sub(1);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(message: &RawValue, json: bool) -> io::Result<()> {
    if json {
        return writeln!(io::stdout(), "{message}");
    }
    let mut out = out();
    match (serde_json::from_str::<LogLine>(message.get()), serde_json::from_str::<Missed>(message.get())) {
        (Ok(LogLine { line }), _) => writeln!(out, "{line}"),
        (Err(_), Ok(Missed { missed })) => writeln!(out, "({missed} lines missed)"),
        (Err(_), Err(_)) => writeln!(out, "{message}"),
    }
}
