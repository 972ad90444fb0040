//! `uninstall`: all of it back. Agents' files as they were, no service, no daemon, and what trunkline keeps, each asked for.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use crate::cli::ask::Consent;
use crate::cli::attach;
use crate::cli::done::{Done, Trouble, complain, out};
use crate::cli::reach::{block_on, stop_daemon};
use crate::cli::service;
use crate::credentials::Vault;
use crate::daemon;
use crate::paths::{self, Places};
use crate::setup::{Attachment, CannotDetach, Edits};

/// What `uninstall` is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Uninstall {
    pub consent: Consent,
    pub dry_run: bool,
    /// The configuration stays.
    pub keep_config: bool,
    /// Logins, secrets, catalogs and logs stay.
    pub keep_state: bool,
}

pub(super) fn run(uninstall: Uninstall, places: &Places) -> Done {
    let Uninstall { consent, dry_run, .. } = uninstall;
    if consent == Consent::Nobody && !dry_run {
        return Err(Trouble::Other(anyhow::anyhow!(
            "`uninstall` asks at a terminal: run it there, or with --yes, or look first with --dry-run"
        )));
    }
    let mut code = ExitCode::SUCCESS;
    for attachment in Attachment::all(&places.state) {
        let question = format!("Put {} back as it was?", attachment.file.display());
        if (dry_run || consent.agrees(&question, true)?) && !put_back(&attachment, places, dry_run)? {
            code = ExitCode::FAILURE;
        }
    }
    if service::standing(places).installed
        && (dry_run || consent.agrees("Stop the service and take its units away?", true)?)
    {
        service::uninstall(places, dry_run)?;
    }
    if !dry_run {
        stop_daemon(places)?;
        writeln!(out(), "No daemon runs any more.")?;
    }
    let state = "Remove logins, secrets, catalogs and logs?";
    if !uninstall.keep_state && (dry_run || consent.agrees(state, true)?) {
        forget_state(places, dry_run)?;
    } else {
        writeln!(out(), "stays: {}", places.state.display())?;
    }
    let configuration = format!("Remove the configuration {}?", places.config.display());
    if uninstall.keep_config || !places.config.exists() {
        if places.config.exists() {
            writeln!(out(), "stays: {}", places.config.display())?;
        }
    } else if dry_run || consent.agrees(&configuration, false)? {
        let variables = daemon::environment_file(&places.config);
        for file in [&places.config, &variables] {
            gone(file, dry_run)?;
        }
        empty_folder(&places.config, dry_run);
    }
    let program = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    let mut out = out();
    writeln!(
        out,
        "The program itself stays: {program} (remove it as you installed it: apt, dpkg, cargo uninstall trunkline, or rm)"
    )?;
    Ok(code)
}

/// One agent's file; whether it could be put back.
fn put_back(attachment: &Attachment, places: &Places, dry_run: bool) -> Result<bool, Trouble> {
    let undo = match attachment.undo(Edits::Refuse) {
        // An entry that leads nowhere helps nobody: what was edited stays, and only ours goes.
        Err(CannotDetach::Edited(..)) => attachment.undo(Edits::Keep),
        undo => undo,
    };
    let undone = undo.and_then(|undo| {
        if !dry_run {
            attachment.detach(&places.state, &undo)?;
        }
        Ok(undo)
    });
    match undone {
        Ok(undo) => {
            let told = attach::done(attachment, &undo);
            writeln!(out(), "{}{told}", if dry_run { "would be: " } else { "" })?;
            Ok(true)
        }
        Err(error) => {
            complain(&format!(
                "{error}: left as it is; it was {}",
                Attachment::backup(&places.state, &attachment.file).display()
            ));
            Ok(false)
        }
    }
}

/// All that is kept in the state folder, the key in the keyring, and the socket's folder.
fn forget_state(places: &Places, dry_run: bool) -> Result<(), Trouble> {
    // Files that could not be put back would lose their way back.
    let left = Attachment::all(&places.state);
    if !left.is_empty() && !dry_run {
        complain(&format!(
            "{} stays: it has the way back for files that still have trunkline in them",
            places.state.display()
        ));
        return Ok(());
    }
    if dry_run {
        writeln!(out(), "would go: {}", places.state.display())?;
        return Ok(());
    }
    let vault = Vault::open(&places.state);
    let forgotten = block_on(async { vault.forget_key().await.map_err(|error| Trouble::Other(error.into())) });
    if let Err(error) = forgotten {
        complain(&format!("the key in the keyring stays: {error}"));
    }
    remove_folder(&places.state)?;
    writeln!(out(), "gone: {}", places.state.display())?;
    for file in paths::signpost().iter().filter(|_| places.is_default) {
        drop(std::fs::remove_file(file));
        empty_folder(file, dry_run);
    }
    // The socket went with the daemon; the locks beside it stay until now.
    for name in ["lock", "starting"] {
        drop(std::fs::remove_file(places.socket.with_extension(name)));
    }
    if let Some(folder) = places.socket.parent().filter(|folder| folder.file_name().is_some_and(is_ours)) {
        drop(std::fs::remove_dir(folder));
    }
    Ok(())
}

fn remove_folder(folder: &Path) -> Result<(), Trouble> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Trouble::Other(anyhow::Error::new(error).context(format!("cannot remove {}", folder.display()))))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn gone(file: &PathBuf, dry_run: bool) -> Result<(), Trouble> {
    if !file.exists() {
        return Ok(());
    }
    if !dry_run {
        std::fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    writeln!(out(), "{}: {}", if dry_run { "would go" } else { "gone" }, file.display())?;
    Ok(())
}

/// Whether a folder has a name that trunkline gives.
fn is_ours(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with("trunkline")
}

/// Takes the folder of a file away if nothing else is in it.
fn empty_folder(file: &Path, dry_run: bool) {
    if let Some(folder) = file.parent().filter(|folder| !dry_run && folder.file_name().is_some_and(is_ours)) {
        drop(std::fs::remove_dir(folder));
    }
}
