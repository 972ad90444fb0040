//! What the command line says.

mod look;
mod set_up;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::ArgValueCandidates;

use crate::cli::candidates::{arguments, profiles, secrets, servers, tools};
use crate::processes::DaemonMark;

use crate::paths::Named;

pub(super) use look::{Look, OneCall, Which};
pub(super) use set_up::{ServiceCommand, SetUp};

/// One daemon owns every MCP connection of yours; any number of agents share them.
#[derive(Debug, Parser)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "Begin with `trunkline init`, or look first with `trunkline demo`.\nExit status: 0 done, 1 failed, 2 wrong usage, 3 no daemon, 4 login needed."
)]
pub(super) struct Args {
    /// The configuration (default: ~/.config/trunkline/config.toml)
    #[arg(long, global = true, env = "TRUNKLINE_CONFIG", value_name = "FILE", hide_env_values = true)]
    config: Option<PathBuf>,
    /// The daemon's socket
    #[arg(long, global = true, env = "TRUNKLINE_SOCKET", value_name = "PATH", hide_env_values = true)]
    socket: Option<PathBuf>,
    /// Where logs, logins and secrets are kept
    #[arg(long, global = true, env = "TRUNKLINE_STATE_DIR", value_name = "DIR", hide_env_values = true)]
    state_dir: Option<PathBuf>,
    /// Print JSON, for scripts
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    SetUp(SetUp),
    /// Run the daemon in the foreground
    Run,
    /// Connect an agent: what its configuration starts. Starts a daemon when none runs
    Connect {
        /// The server, with its own names; without it all servers, names as server__tool
        #[arg(add = ArgValueCandidates::new(servers))]
        server: Option<String>,
        /// The agent's name, for `status` (default: the program that started this one)
        #[arg(long, value_name = "NAME")]
        client: Option<String>,
        /// The servers of this profile of the configuration, names as server__tool
        #[arg(long, value_name = "NAME", conflicts_with = "server", add = ArgValueCandidates::new(profiles))]
        profile: Option<String>,
    },
    /// Show several agents share one server; needs no configuration and leaves nothing behind
    Demo,
    /// A step of starting the daemon
    #[command(hide = true)]
    Daemonize {
        #[arg(last = true)]
        words: Vec<std::ffi::OsString>,
    },
    /// Waits for the daemon to be gone
    #[command(hide = true)]
    Guard {
        /// What it is called in the ledger
        daemon: DaemonMark,
    },
    /// Tells the daemon what a login shell sets
    #[command(hide = true)]
    PrintEnvironment,
    /// The demo's server
    #[command(hide = true)]
    DemoServer,
    /// Show the daemon, its servers and its agents
    Status {
        /// Only this server, with all that is known of it
        #[arg(add = ArgValueCandidates::new(servers))]
        server: Option<String>,
        /// Go on, once a second, until interrupted
        #[arg(long)]
        watch: bool,
    },
    /// List the tools of all servers or of one; of one tool, its parameters and an example call
    #[command(after_help = "Examples:\n  trunkline tools\n  trunkline tools time\n  trunkline tools time convert_time")]
    Tools {
        /// Only this server's
        #[arg(add = ArgValueCandidates::new(servers))]
        server: Option<String>,
        /// One of its tools, with its parameters
        #[arg(add = ArgValueCandidates::new(tools))]
        tool: Option<String>,
        /// What the tools cost each session that lists them, and which nobody ever called; works without a daemon
        #[arg(long, conflicts_with = "tool")]
        cost: bool,
    },
    /// Call a tool, and print its result
    #[command(
        after_help = "Examples:\n  trunkline call time get_current_time timezone=UTC\n  trunkline call files list '{\"path\": \"/tmp\"}'\n  trunkline call -i github create_issue"
    )]
    Call {
        /// The server
        #[arg(add = ArgValueCandidates::new(servers))]
        server: String,
        /// Its tool
        #[arg(add = ArgValueCandidates::new(tools))]
        tool: String,
        /// key=value (JSON, else a text; key:=value must be JSON), or one JSON object, or `-` to read it from standard input
        #[arg(add = ArgValueCandidates::new(arguments))]
        arguments: Vec<String>,
        /// Ask for the arguments that are missing
        #[arg(short, long)]
        interactive: bool,
    },
    /// Log in at a server: opens its page in a browser, and prints the URL
    Login {
        /// The server
        #[arg(add = ArgValueCandidates::new(servers))]
        server: String,
        /// Open no browser; the address that it ended at is read from standard input, as one line
        #[arg(long)]
        no_browser: bool,
        /// Take over the login that this program keeps, instead of making one
        #[arg(long, value_name = "PROGRAM", conflicts_with = "no_browser")]
        from: Option<Program>,
    },
    /// Forget the login at a server, and have its tokens taken back
    Logout {
        /// The server
        #[arg(add = ArgValueCandidates::new(servers))]
        server: String,
    },
    /// Keep secrets under names, for `${keyring:NAME}` in the configuration
    Secret {
        #[command(subcommand)]
        command: SecretCommand,
    },
    /// Check a configuration file and name every problem with its line
    Check {
        /// The file (default: the configuration)
        file: Option<PathBuf>,
    },
    /// Show the daemon's log, or what a server writes to its standard error; works without a daemon
    Logs {
        /// The server; without it, the daemon
        #[arg(add = ArgValueCandidates::new(servers))]
        server: Option<String>,
        /// Go on as lines come
        #[arg(short, long)]
        follow: bool,
        /// How many lines to begin with
        #[arg(short = 'n', long, default_value_t = 100)]
        lines: usize,
        /// Only lines from then on: 15m, 2h, yesterday, 2026-01-31, "2026-01-31 14:05"
        #[arg(long, value_name = "WHEN")]
        since: Option<String>,
    },
    #[command(flatten)]
    Lifecycle(Lifecycle),
    #[command(flatten)]
    Look(Look),
}

/// Starting, stopping, reading the configuration again.
#[derive(Debug, Subcommand)]
pub(super) enum Lifecycle {
    /// Start a server, also one that was stopped or that failed too often
    Start {
        /// The server
        #[arg(add = ArgValueCandidates::new(servers))]
        server: String,
    },
    /// Stop a server and keep it stopped until it is started again
    Stop {
        /// The server
        #[arg(add = ArgValueCandidates::new(servers))]
        server: String,
    },
    /// Stop a server and start it anew
    Restart {
        /// The server
        #[arg(add = ArgValueCandidates::new(servers))]
        server: String,
    },
    /// Read the configuration again; the daemon also does so by itself when the file changes
    Reload,
    /// Stop the daemon and its servers
    Shutdown,
}

/// Whose logins can be taken over.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum Program {
    Codex,
}

#[derive(Debug, Subcommand)]
pub(super) enum SecretCommand {
    /// Keep a secret, which is read from standard input, without its last line end
    Set {
        /// What it is called in `${keyring:NAME}`
        #[arg(add = ArgValueCandidates::new(secrets))]
        name: String,
    },
    /// Print the names
    List,
    /// Forget a secret
    Remove {
        /// What it is called
        #[arg(add = ArgValueCandidates::new(secrets))]
        name: String,
    },
}

impl Args {
    pub(super) fn places(&self) -> Named {
        Named { config: self.config.clone(), socket: self.socket.clone(), state: self.state_dir.clone() }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Args;

    #[test]
    fn every_command_and_argument_has_its_line() {
        let mut commands = vec![Args::command()];
        while let Some(command) = commands.pop() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
            commands.extend(command.get_subcommands().filter(|command| !command.is_hide_set()).cloned());
        }
    }
}
