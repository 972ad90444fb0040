//! What the shell that installs the service has and the daemon would not: it is shown, and kept in a file beside the configuration.

use std::io::Write;
use std::path::Path;

use crate::cli::ask::Consent;
use crate::cli::done::{Trouble, complain, out};
use crate::daemon;
use crate::environment::{by_default, looks_secret};
use crate::paths::Places;

/// Variables that belong to the session and not to the person.
const OF_THE_SESSION: [&str; 9] = [
    "XDG_*",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "DBUS_SESSION_BUS_ADDRESS",
    "SSH_AUTH_SOCK",
    "TERM",
    "SHELL",
    "TMPDIR",
];

/// Shows what the login shell does not tell, and keeps it where its person agrees.
pub(super) fn keep(places: &Places, consent: Consent, dry_run: bool) -> Result<(), Trouble> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let mut out = out();
    writeln!(out, "\nThis shell has what your login shell does not set, and a service would not have:")?;
    for (name, value) in &missing {
        writeln!(out, "  {name}={value}")?;
    }
    let path = daemon::environment_file(&places.config);
    // The question is short: one that is longer than a line is drawn twice.
    if dry_run || !consent.agrees("Keep them for the daemon?", true)? {
        return Ok(());
    }
    write(&path, &missing)?;
    complain(&format!("kept in {}; a line there counts from the daemon's next start", path.display()));
    Ok(())
}

/// Puts variables into the file; what else stands there stays.
fn write(path: &Path, missing: &[(String, String)]) -> anyhow::Result<()> {
    let mut text = std::fs::read_to_string(path).unwrap_or_else(|_| {
        "# Variables for the daemon, and what its servers may be given of them: NAME=\"value\", one on a line.\n"
            .to_owned()
    });
    for (name, value) in missing {
        let start = format!("{name}=");
        text = text.lines().filter(|line| !line.starts_with(&start)).map(|line| format!("{line}\n")).collect();
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('\n', "\\n");
        text.push_str(&format!("{name}=\"{quoted}\"\n"));
    }
    crate::files::replace(path, text.as_bytes())?;
    Ok(())
}

/// The variables that this process has and the login shell does not set: of PATH, the folders that are missing there.
pub(in crate::cli) fn missing() -> Vec<(String, String)> {
    let Some(shell) = daemon::login_shell() else { return Vec::new() };
    let told = |name: &str| shell.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.to_str());
    let of_session = |name: &str| {
        OF_THE_SESSION
            .iter()
            .any(|pattern| pattern.strip_suffix('*').map_or(*pattern == name, |start| name.starts_with(start)))
    };
    let mut missing = Vec::new();
    for (name, value) in std::env::vars() {
        if name == "PATH" {
            let known: Vec<_> = std::env::split_paths(told("PATH").unwrap_or_default()).collect();
            let folders: Vec<_> = std::env::split_paths(&value)
                .filter(|folder| folder.is_absolute() && folder.is_dir() && !known.contains(folder))
                .collect();
            if let Some(path) = std::env::join_paths(&folders).ok().filter(|_| !folders.is_empty()) {
                missing.push((name, path.to_string_lossy().into_owned()));
            }
        } else if by_default(&name) && told(&name).is_none() && !of_session(&name) && !looks_secret(&name) {
            missing.push((name, value));
        }
    }
    missing.sort();
    missing
}
