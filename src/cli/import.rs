//! `import`: the servers that agents have become trunkline's. Their files are not touched.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::ask::Consent;
use crate::cli::done::{Done, Trouble, complain, out};
use crate::cli::reach::here;
use crate::cli::take_over::TakeOver;
use crate::config::located;
use crate::names;
use crate::paths::Places;
use crate::setup::{Agent, AgentFile, CannotRead, Source, agents, find_agent};
use crate::shown;

/// What `import` is told.
pub(super) struct Import<'a> {
    /// Only these servers; all, if there are none.
    pub servers: &'a [String],
    pub from: &'a [String],
    pub consent: Consent,
    pub dry_run: bool,
    pub json: bool,
}

pub(super) fn run(import: &Import<'_>, places: &Places) -> Done {
    let sources = sources(import.from)?;
    if sources.is_empty() {
        return Err(Trouble::Other(anyhow::anyhow!(
            "no agent's file was found: name one with --from, or begin with `trunkline add`"
        )));
    }
    let mut over = TakeOver::new(places, &sources)?;
    over.keep_named(import.servers)?;
    if import.dry_run {
        return shown(&over, import.json);
    }
    if !import.json {
        over.show()?;
    }
    if over.plan.servers.is_empty() {
        if import.json {
            over.print_json(false)?;
        } else {
            writeln!(out(), "Nothing to take over.")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if import.consent == Consent::Ask && !import.consent.agrees(&question(&over), true)? {
        writeln!(out(), "Nothing was written.")?;
        return Ok(ExitCode::SUCCESS);
    }
    let agreed = over.agree(import.consent)?;
    over.write(&agreed, places)?;
    if import.json {
        over.print_json(true)?;
        return Ok(ExitCode::SUCCESS);
    }
    told(&over, places)?;
    Ok(ExitCode::SUCCESS)
}

fn question(over: &TakeOver) -> String {
    let count = over.plan.servers.len();
    format!("Take {count} server{} over?", if count == 1 { "" } else { "s" })
}

fn shown(over: &TakeOver, json: bool) -> Done {
    if json {
        over.print_json(false)?;
    } else {
        over.show()?;
        writeln!(out(), "Nothing was written (--dry-run).")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What was done, and what is next.
fn told(over: &TakeOver, places: &Places) -> Result<(), Trouble> {
    let mut out = out();
    let count = over.plan.servers.len();
    writeln!(out, "\n{count} server{} written into {}.", if count == 1 { "" } else { "s" }, places.config.display())?;
    for (name, description) in over.needs() {
        let why = if description.is_empty() { String::new() } else { format!("   # {}", shown::line(&description)) };
        writeln!(out, "Needed: trunkline secret set {name}{why}")?;
    }
    writeln!(out, "Next: `trunkline tools` starts them, and `trunkline attach AGENT` has an agent use them.")?;
    Ok(())
}

/// The files that are named, or those of all agents; what cannot be read is told, and of a named one refused.
pub(super) fn sources(from: &[String]) -> Result<Vec<Source>, Trouble> {
    let mut files = Vec::new();
    for name in from {
        match find_agent(name) {
            Some(agent) => {
                let found = files_of(agent);
                if found.is_empty() {
                    let places: Vec<_> = agent.user_files().iter().map(|path| path.display().to_string()).collect();
                    return Err(
                        anyhow::anyhow!("{} has no file here: looked at {}", agent.title, places.join(", ")).into()
                    );
                }
                files.extend(found);
            }
            None => files.push(named(name)?),
        }
    }
    if from.is_empty() {
        return sources_of(agents());
    }
    let sources = read(files, false)?;
    if !sources.iter().any(|source| source.file.problems.is_empty()) {
        let reason = "nothing could be read: see the lines above".to_owned();
        return Err(Trouble::Daemon(reason));
    }
    Ok(sources)
}

/// What the files of agents say; that one has none is no fault.
pub(super) fn sources_of<'a>(agents: impl IntoIterator<Item = &'a Agent>) -> Result<Vec<Source>, Trouble> {
    read(agents.into_iter().flat_map(files_of).collect(), true)
}

/// Reads files, each once. Of those that nobody has named, one that cannot be read stops nothing.
fn read(files: Vec<PathBuf>, are_found: bool) -> Result<Vec<Source>, Trouble> {
    let mut sources: Vec<Source> = Vec::new();
    for path in files {
        let path = std::path::absolute(&path).unwrap_or(path);
        if sources.iter().any(|source| source.path == path) {
            continue;
        }
        match source(&path, are_found) {
            Ok(source) => sources.push(source),
            Err(error) if are_found => complain(&error.to_string()),
            Err(error) => return Err(anyhow::Error::from(error).into()),
        }
    }
    Ok(sources)
}

/// A file that a person has named, which may be meant as an agent.
fn named(name: &str) -> Result<PathBuf, Trouble> {
    let path = PathBuf::from(name);
    // Whatever else lies there, reading it says what is wrong.
    if path.symlink_metadata().is_ok() {
        return Ok(path);
    }
    let near = names::nearest(name, agents().iter().map(|agent| agent.id.as_str()));
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("agents are {}", agents().iter().map(|agent| agent.id.as_str()).collect::<Vec<_>>().join(", ")),
    };
    Err(anyhow::anyhow!("no agent and no file is named `{name}`: {hint}").into())
}

/// The files of an agent that are there: for all projects, and of the folder that the person works in.
fn files_of(agent: &Agent) -> Vec<PathBuf> {
    let user = agent.user_files().into_iter().filter(|path| path.is_file());
    let project = here().map(|folder| agent.project_files(&folder)).unwrap_or_default();
    user.chain(project).collect()
}

/// Reads a file; of one that nobody has named, it is no fault to have no servers.
fn source(path: &Path, is_found: bool) -> Result<Source, CannotRead> {
    let file = AgentFile::open(path)?;
    let mut servers = file.servers();
    if is_found && servers.servers.is_empty() {
        servers.problems.retain(|problem| !problem.message.starts_with("no `mcpServers`"));
    }
    located(path, &servers.problems).iter().for_each(|line| complain(line));
    located(path, &servers.notes).iter().for_each(|line| complain(line));
    Ok(Source { title: file.title(), path: path.to_owned(), folder: file.project(), file: servers })
}
