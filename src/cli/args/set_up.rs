//! The commands that change what stands around the daemon.

use std::path::PathBuf;

use clap::Subcommand;
use clap_complete::{ArgValueCandidates, Shell};

use crate::cli::candidates::{agents, profiles, servers};
use crate::setup::REGISTRY;

/// `init`, `import`, `attach` and so on.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SetUp {
    /// From your agents' files to a shared set-up: import, attach, service, logins; asks before each step
    #[command(
        after_help = "Examples:\n  trunkline init\n  trunkline init --agent claude-code --agent codex\n  trunkline init --dry-run"
    )]
    Init {
        /// Only this agent; may be said several times (default: every agent that is here)
        #[arg(long = "agent", value_name = "AGENT", add = ArgValueCandidates::new(agents))]
        agents: Vec<String>,
        #[command(flatten)]
        common: Common,
        /// Leave the daemon to agents to start, instead of making it a service
        #[arg(long)]
        no_service: bool,
    },
    /// Take the servers over that your agents have; their files are not touched
    #[command(
        after_help = "Examples:\n  trunkline import --dry-run\n  trunkline import github files\n  trunkline import --from cursor\n  trunkline import --from ~/old/mcp.json"
    )]
    Import {
        /// Only these servers (default: all)
        #[arg(value_name = "SERVER")]
        servers: Vec<String>,
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
pub(in crate::cli) struct Common {
    /// Agree to everything that would be asked
    #[arg(short, long)]
    pub yes: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ServiceCommand {
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
