//! The commands that show what goes on.

use std::path::PathBuf;

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap_complete::ArgValueCandidates;

use crate::cli::candidates::servers;
use crate::record::By;

/// What lines of the statistics can be about.
fn by() -> impl TypedValueParser<Value = By> {
    let names = By::NAMES.map(|(name, _)| name);
    PossibleValuesParser::new(names).map(|text| {
        let found = By::NAMES.iter().find(|(name, _)| *name == text);
        found.map_or_else(By::default, |(_, by)| *by)
    })
}

/// What goes on, and what went on.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Look {
    /// Show who called what, when, how long it took and how it ended; works without a daemon
    #[command(
        after_help = "Examples:\n  trunkline calls --failed --since 1h\n  trunkline calls --tool 'delete_*' --since yesterday\n  trunkline calls show 4711"
    )]
    Calls {
        #[command(subcommand)]
        one: Option<OneCall>,
        #[command(flatten)]
        which: Which,
        /// Only calls that took so long or longer, like 2s or 500ms
        #[arg(long, value_name = "TIME")]
        slow: Option<String>,
        /// Go on as calls end
        #[arg(short, long)]
        follow: bool,
        /// How many to show: the last ones
        #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 50)]
        limit: usize,
    },
    /// Count and measure the calls, by tool, server or agent; works without a daemon
    Stats {
        /// What each line is about
        #[arg(long, default_value = "tool", value_parser = by())]
        by: By,
        #[command(flatten)]
        which: Which,
    },
    /// Say why a server is as it is, and what to do
    Why {
        /// The server
        #[arg(add = ArgValueCandidates::new(servers))]
        server: String,
    },
    /// Watch servers, agents and calls in the terminal
    Watch,
    /// Watch servers, agents and calls in a browser: serves a page on a port of this machine until interrupted
    Dashboard {
        /// Open no browser
        #[arg(long)]
        no_open: bool,
    },
    /// Write every message from and to a server, or an agent, into a file until interrupted
    #[command(
        after_help = "Examples:\n  trunkline record time -o time.ndjson\n  trunkline record --agent codex -o codex.ndjson"
    )]
    Record {
        /// The server
        #[arg(add = ArgValueCandidates::new(servers), required_unless_present = "agent")]
        server: Option<String>,
        /// An agent instead: its name, process or session
        #[arg(long, value_name = "AGENT", conflicts_with = "server")]
        agent: Option<String>,
        /// The file
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Be an MCP server on standard input and output that answers as recorded
    Replay {
        /// What `record` wrote
        file: PathBuf,
    },
    /// Show where two recordings differ
    Diff {
        /// One recording
        one: PathBuf,
        /// The other
        other: PathBuf,
    },
}

/// Which calls.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Which {
    /// Only calls of this server; `*` and `?` stand for others
    #[arg(long, value_name = "SERVER", add = ArgValueCandidates::new(servers))]
    pub server: Option<String>,
    /// Only calls of this tool, prompt or URI, likewise
    #[arg(long, value_name = "NAME")]
    pub tool: Option<String>,
    /// Only calls of this agent: its name, likewise, or its process or session
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<String>,
    /// Only calls from then on: 15m, 2h, 7d, today, yesterday, 2026-01-31, "2026-01-31 14:05"
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only calls before then
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// Only calls that failed
    #[arg(long)]
    pub failed: bool,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum OneCall {
    /// Show all that is known of one call
    Show {
        /// Its number
        id: i64,
    },
}
