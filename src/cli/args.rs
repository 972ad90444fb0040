//! What the command line says.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::{ArgValueCandidates, Shell};

use crate::cli::candidates::{agents, profiles, secrets, servers, tools};

use crate::paths::Named;
use crate::setup::REGISTRY;

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
        daemon: String,
    },
    /// Tells the daemon what a login shell sets
    #[command(hide = true)]
    PrintEnvironment,
    /// The demo's server
    #[command(hide = true)]
    DemoServer,
    /// Show the daemon, its servers and its agents
    Status {
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
    /// Show the daemon's log, or what a server writes to its standard error
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
    },
    #[command(flatten)]
    Lifecycle(Lifecycle),
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

/// The commands that change what stands around the daemon.
#[derive(Debug, Subcommand)]
pub(super) enum SetUp {
    /// From your agents' files to a shared set-up: import, attach, service, logins; asks before each step
    Init {
        #[command(flatten)]
        common: Common,
        /// Leave the daemon to agents to start, instead of making it a service
        #[arg(long)]
        no_service: bool,
    },
    /// Take the servers over that your agents have; their files are not touched
    #[command(
        after_help = "Examples:\n  trunkline import --dry-run\n  trunkline import --from cursor\n  trunkline import --from ~/old/mcp.json"
    )]
    Import {
        /// Only this agent's, or those of this file; may be said several times (default: every agent that is here)
        #[arg(long, value_name = "AGENT|FILE", add = ArgValueCandidates::new(agents))]
        from: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Have an agent use trunkline: write the `connect` entry into its file
    #[command(
        after_help = "Examples:\n  trunkline attach claude-code\n  trunkline attach codex --replace\n  trunkline attach cursor --server time\n  trunkline attach vscode --file .vscode/mcp.json"
    )]
    Attach {
        /// claude-code, codex, cursor, vscode, gemini, opencode and others: `trunkline attach x` lists them
        #[arg(add = ArgValueCandidates::new(agents))]
        agent: String,
        /// One server with its own names, in the place of the agent's own entry of that name
        #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(servers))]
        server: Option<String>,
        /// The servers of a profile
        #[arg(long, value_name = "NAME", conflicts_with = "server", add = ArgValueCandidates::new(profiles))]
        profile: Option<String>,
        /// Another file than the agent's for all projects, like a project's
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// What the entry is called (default: trunkline, or the server's name)
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Take the agent's own entries out that trunkline has; `detach` puts them back
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Put an agent's file back as it was before `attach`, to the byte
    Detach {
        /// As `attach` names it
        #[arg(required_unless_present = "words", add = ArgValueCandidates::new(agents))]
        agent: Option<String>,
        /// Only this file
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Where the file was edited since, take only trunkline's entry out
        #[arg(long)]
        keep_edits: bool,
        #[command(flatten)]
        common: Common,
        /// A step of starting the daemon, as shims of version 0.1 call it
        #[arg(last = true, hide = true)]
        words: Vec<std::ffi::OsString>,
    },
    /// Add a server: by its command, its URL, a snippet on standard input, or its name in the registry
    #[command(
        after_help = "Examples:\n  trunkline add time -- uvx mcp-server-time\n  trunkline add notion https://mcp.notion.com/mcp\n  pbpaste | trunkline add        # the JSON that a README shows, or a `claude mcp add …` line\n  trunkline add registry:io.github.owner/server"
    )]
    Add {
        /// Its name here, or registry:NAME, or registry:FILE of a server.json
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// Where it is reached
        url: Option<String>,
        /// The command that starts it
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<String>,
        /// A variable to set, NAME=value
        #[arg(short, long, value_name = "NAME=VALUE")]
        env: Vec<String>,
        /// A header to send, Name: value
        #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
        headers: Vec<String>,
        /// Who shares its processes: auto, all, project or session
        #[arg(long, value_name = "HOW", value_parser = ["auto", "all", "project", "session"])]
        share: Option<String>,
        /// Where the registry answers
        #[arg(long, value_name = "URL", env = "TRUNKLINE_REGISTRY", default_value = REGISTRY)]
        registry: String,
        /// Do not start it to see whether it works
        #[arg(long)]
        no_try: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Take a server out of the configuration
    Remove {
        /// The server
        #[arg(add = ArgValueCandidates::new(servers))]
        server: String,
        /// Show the change, and write nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// The daemon as a service that starts with your login
    Service {
        #[command(subcommand)]
        command: ServiceCommand,
    },
    /// Look at the whole set-up, and say what mends what is wrong
    Doctor {
        /// Start each server too
        #[arg(long = "try")]
        tries: bool,
        /// Mend what can be mended safely
        #[arg(long)]
        fix: bool,
        /// Print a text without secrets, for a bug report
        #[arg(long)]
        report: bool,
    },
    /// All of it back: agents' files as they were, no service, nothing kept; asks before each step
    Uninstall {
        #[command(flatten)]
        common: Common,
        /// Keep the configuration
        #[arg(long)]
        keep_config: bool,
        /// Keep logins, secrets, catalogs and logs
        #[arg(long)]
        keep_state: bool,
    },
    /// Print what a shell needs to complete commands, servers, tools and profiles
    #[command(
        after_help = "bash: source <(trunkline completions bash)\nzsh:  source <(trunkline completions zsh)\nfish: trunkline completions fish | source"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages
    #[command(hide = true)]
    ManPages {
        /// The folder for them
        folder: PathBuf,
    },
}

/// What commands have in common that change something.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Common {
    /// Agree to everything that would be asked
    #[arg(short, long)]
    pub yes: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum ServiceCommand {
    /// Write the units, start them, and look whether the daemon answers
    Install {
        #[command(flatten)]
        common: Common,
    },
    /// Stop the service and take its units away
    Uninstall {
        /// Show what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Show how it stands; exit status 1 if it does not run
    Status,
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
