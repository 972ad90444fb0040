//! What a shell must read once to complete commands, and the answers that it asks for then.

use std::io;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_complete::env::{Bash, CompleteEnv, Elvish, EnvCompleter, Fish, Powershell, Zsh};

use crate::cli::args::Args;
use crate::cli::done::{Done, Trouble};

/// The variable by which a shell asks for completions.
const VARIABLE: &str = "TRUNKLINE_COMPLETE";
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
