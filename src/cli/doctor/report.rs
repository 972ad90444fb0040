//! What goes into a bug report: no value of a variable, a header or a secret is in it.

use std::fmt::Write;

use crate::cli::doctor::finding::{Finding, Level};
use crate::cli::doctor::look::Look;
use crate::config::Transport;

pub(super) fn text(look: &Look<'_>, findings: &[Finding]) -> String {
    let home = std::env::home_dir().map(|home| home.display().to_string()).filter(|home| home.len() > 1);
    let mut text = written(look, findings).unwrap_or_default();
    // Whose machine it is, nobody need know.
    if let Some(home) = home {
        text = text.replace(&format!("{home}/"), "~/");
    }
    if let Ok(user) = std::env::var("USER").map(|user| user.trim().to_owned())
        && user.len() > 2
        && user != "root"
    {
        text = text.replace(&user, "USER");
    }
    text
}

fn written(look: &Look<'_>, findings: &[Finding]) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(text, "trunkline {} on {} {}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH)?;
    if let Ok(kernel) = std::fs::read_to_string("/proc/sys/kernel/osrelease") {
        writeln!(text, "kernel {}", kernel.trim())?;
    }
    if let Some(status) = &look.status {
        writeln!(text, "daemon {}, up {} s, {} agents", status.version, status.uptime, status.sessions.len())?;
    }
    writeln!(text, "\nservers")?;
    for (name, server) in &look.config.servers {
        let state = look.status.iter().flat_map(|status| &status.servers).find(|known| known.name == name.as_str());
        let state = state.map_or("-", |known| known.state.as_str());
        let what = match &server.transport {
            Transport::Stdio(stdio) => {
                let package = server.known.as_ref().map(|known| format!(" ({})", known.name)).unwrap_or_default();
                let program = stdio.command.text().rsplit('/').next().unwrap_or_default();
                format!("{program}{package}, {} arguments, variables: {}", stdio.args.len(), names(stdio.env.keys()))
            }
            Transport::Http(http) => format!("HTTP, headers: {}", names(http.headers.keys())),
        };
        writeln!(text, "  {name}: {state}, {what}")?;
    }
    writeln!(text, "\nfindings")?;
    for finding in findings {
        let mark = match finding.level {
            Level::Good => "ok",
            Level::Note => "note",
            Level::Problem => "BAD",
        };
        writeln!(text, "  {mark} [{}] {}", finding.subject, finding.what)?;
    }
    Ok(text)
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let all: Vec<_> = names.map(String::as_str).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(" ") }
}
