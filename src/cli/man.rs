//! The manual pages, from the same table as the help: packages have them written when they are made.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;

use crate::cli::args::Args;
use crate::cli::done::Done;

pub(super) fn write(folder: &Path) -> Done {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let command = Args::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, folder).with_context(|| format!("cannot write into {}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}
