//! `service`: the daemon as the service manager's: systemd's user manager, launchd, or Windows' tasks at logon. The units are
//! inside this program.

mod environment;
#[cfg(any(target_os = "macos", test))]
mod launchd;
#[cfg(any(windows, test))]
mod logon_task;
#[cfg(target_os = "linux")]
mod systemd;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use crate::cli::ask::Consent;
use crate::cli::done::{Done, Trouble, complain, out};
use crate::files;
use crate::paths::Places;
use crate::program;

pub(super) use environment::missing as missing_in_service;

/// Keeps what this shell has and a daemon would not, where its person agrees.
pub(super) fn keep_environment(places: &Places, consent: Consent) -> Result<(), Trouble> {
    environment::keep(places, consent, false)
}

#[cfg(target_os = "macos")]
use launchd as manager;
#[cfg(windows)]
use logon_task as manager;
#[cfg(target_os = "linux")]
use systemd as manager;

/// How the service stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Standing {
    /// Whether its units are there.
    pub installed: bool,
    /// The program that they start.
    pub program: Option<PathBuf>,
    /// Whether it starts with the login.
    pub enabled: bool,
    pub running: bool,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Writes the units, has the service manager read and start them, and looks whether the daemon answers.
pub(super) fn install(places: &Places, consent: Consent, dry_run: bool) -> Done {
    let program = std::path::absolute(program::itself()?).context("cannot tell the program's full path")?;
    manager::check()?;
    let units = manager::units(&program, places)?;
    let mut out = out();
    for (path, text) in &units {
        let there = std::fs::read_to_string(path).unwrap_or_default();
        if there != *text {
            crate::cli::diff::print(&mut out.0, path, &there, text)?;
        }
    }
    environment::keep(places, consent, dry_run)?;
    if dry_run {
        writeln!(out, "Nothing was written (--dry-run).")?;
        return Ok(ExitCode::SUCCESS);
    }
    if consent == Consent::Ask && !consent.agrees("Write these and start the service?", true)? {
        writeln!(out, "Nothing was written.")?;
        return Ok(ExitCode::SUCCESS);
    }
    for (path, text) in &units {
        files::rewrite(path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    drop(out);
    manager::start(places)?;
    let standing = manager::standing(places);
    told(&standing)
}

fn told(standing: &Standing) -> Done {
    let mut out = out();
    if !standing.running {
        let reason = standing.notes.first().map(String::as_str).unwrap_or("see `trunkline service status`");
        return Err(Trouble::Daemon(format!("the service was installed, and the daemon does not run: {reason}")));
    }
    writeln!(out, "The daemon is a service now: it starts with your login, and after a crash.")?;
    standing.notes.iter().try_for_each(|note| writeln!(out, "{note}"))?;
    writeln!(out, "Back: trunkline service uninstall")?;
    Ok(ExitCode::SUCCESS)
}

/// Stops the service and takes its units away; agents start a daemon by themselves afterwards.
pub(super) fn uninstall(places: &Places, dry_run: bool) -> Done {
    let program = std::path::absolute(program::itself()?).context("cannot tell the program's full path")?;
    let units = manager::units(&program, places)?;
    let there: Vec<&Path> = units.iter().map(|(path, _)| path.as_path()).filter(|path| path.exists()).collect();
    let mut out = out();
    if there.is_empty() {
        writeln!(out, "No service is installed.")?;
        return Ok(ExitCode::SUCCESS);
    }
    if !dry_run {
        manager::stop()?;
    }
    for path in there {
        if !dry_run {
            std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        writeln!(out, "{}: {}", if dry_run { "would go" } else { "gone" }, path.display())?;
    }
    if !dry_run {
        manager::forget();
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn status(places: &Places, json: bool) -> Done {
    let standing = standing(places);
    let code = if standing.installed && standing.running { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if json {
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&standing).map_err(anyhow::Error::from)?)?;
        return Ok(code);
    }
    let mut out = out();
    if !standing.installed {
        writeln!(
            out,
            "No service is installed: agents start the daemon when they need it. `trunkline service install` makes one."
        )?;
        return Ok(code);
    }
    let word = |truth: bool, yes: &'static str, no: &'static str| if truth { yes } else { no };
    let program = standing.program.as_ref().map_or("?".to_owned(), |program| program.display().to_string());
    writeln!(out, "program  {program}")?;
    writeln!(
        out,
        "login    {}",
        word(standing.enabled, "it starts with your login", "it does not start with your login")
    )?;
    writeln!(out, "state    {}", word(standing.running, "running", "not running"))?;
    for note in &standing.notes {
        complain(note);
    }
    Ok(code)
}

/// Whether this system has a service manager that a person can use.
pub(super) fn is_possible() -> bool {
    manager::check().is_ok()
}

/// How the service stands, for `doctor` too.
pub(super) fn standing(places: &Places) -> Standing {
    let mut standing = manager::standing(places);
    if let Some(program) = standing.program.as_ref().filter(|program| standing.installed && !program.is_file()) {
        standing.notes.push(format!(
            "{} is not there any more: `trunkline service install` writes the new place",
            program.display()
        ));
    }
    standing
}
