//! `attach` and `detach`: the `connect` entry in an agent's file, and the file as it was before.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};

use crate::cli::ask::Consent;
use crate::cli::diff;
use crate::cli::done::{Done, Trouble, complain, out};
use crate::cli::secret::kept;
use crate::config::Config;
use crate::names;
use crate::paths::Places;
use crate::program;
use crate::setup::{Agent, AgentFile, Attachment, CannotDetach, Edits, Known, Undo, Wanted, agents, find_agent};

/// What `attach` is told.
pub(super) struct Attach<'a> {
    pub agent: &'a str,
    pub server: Option<&'a str>,
    pub profile: Option<&'a str>,
    pub file: Option<&'a Path>,
    pub name: Option<&'a str>,
    /// The agent's own entries go that trunkline has.
    pub replace: bool,
    pub consent: Consent,
    pub dry_run: bool,
}

/// What the entry for all servers is called.
const NAME: &str = "trunkline";

pub(super) fn run(attach: &Attach<'_>, places: &Places) -> Done {
    let (agent, planned) = plan(attach, places, &config(places)?)?;
    let (before, after) = planned.change();
    let mut out = out();
    if before == after && Attachment::find(&places.state, &planned.file).is_some() {
        writeln!(out, "{} has trunkline already: {}", agent.title, planned.file.display())?;
        return Ok(ExitCode::SUCCESS);
    }
    diff::print(&mut out.0, &planned.file, before, after)?;
    if attach.dry_run {
        writeln!(out, "Nothing was written (--dry-run).")?;
        return Ok(ExitCode::SUCCESS);
    }
    if attach.consent == Consent::Ask && !attach.consent.agrees("Write this?", true)? {
        writeln!(out, "Nothing was written.")?;
        return Ok(ExitCode::SUCCESS);
    }
    planned.write(&places.state).map_err(anyhow::Error::from)?;
    told(agent, &planned, places)
}

fn told(agent: &Agent, planned: &Attachment, places: &Places) -> Done {
    let mut out = out();
    writeln!(out, "\n{} uses trunkline now: {}", agent.title, planned.file.display())?;
    if !planned.taken.is_empty() {
        let names: Vec<_> = planned.taken.keys().map(String::as_str).collect();
        writeln!(out, "Taken out, and kept for `detach`: {}", names.join(", "))?;
    }
    writeln!(out, "Kept as it was: {}", Attachment::backup(&places.state, &planned.file).display())?;
    let own = planned.own_command(agent);
    if let Some(own) = own.filter(|_| planned.taken.is_empty()) {
        writeln!(out, "Its own command for the same: {own}")?;
    }
    if let Some(see) = &agent.see {
        writeln!(out, "See it there: {see}. Sessions that run already must be started again.")?;
    }
    writeln!(out, "Back: trunkline detach {}", agent.id)?;
    Ok(ExitCode::SUCCESS)
}

/// The agents of these names, with their files for all projects; all that are here, if there are none.
pub(super) fn agents_named(names: &[String]) -> anyhow::Result<Vec<(&'static Agent, PathBuf)>> {
    if names.is_empty() {
        return Ok(agents_here());
    }
    let mut named: Vec<(&'static Agent, PathBuf)> = Vec::new();
    for name in names {
        let agent = find_agent(name).ok_or_else(|| unknown(name))?;
        if named.iter().all(|(known, _)| known.id != agent.id) {
            named.push((agent, file_of(agent)?));
        }
    }
    Ok(named)
}

fn file_of(agent: &Agent) -> anyhow::Result<PathBuf> {
    agent.user_file().ok_or_else(|| anyhow!("{} has no file on this system: name one with --file", agent.title))
}

/// The configuration; empty where there is none yet.
fn config(places: &Places) -> anyhow::Result<Config> {
    if !places.config.exists() {
        return Ok(Config::default());
    }
    Config::load(&places.config).context("the configuration must be right first")
}

/// What would be written.
pub(super) fn plan(
    attach: &Attach<'_>,
    places: &Places,
    config: &Config,
) -> Result<(&'static Agent, Attachment), Trouble> {
    let agent = find_agent(attach.agent).ok_or_else(|| unknown(attach.agent))?;
    let file = match attach.file {
        Some(file) => std::path::absolute(file).map_err(anyhow::Error::from)?,
        None => file_of(agent)?,
    };
    check(attach, config, places)?;
    let name = attach.name.or(attach.server).or(attach.profile).unwrap_or(NAME).to_owned();
    let wanted = Wanted {
        agent,
        out: if attach.replace { known(&file, config, places) } else { Vec::new() },
        // One server in the place of the agent's own of that name is what was asked for.
        replaces: attach.server.is_some() || attach.replace,
        words: words(attach, places)?,
        file,
        name,
    };
    let planned = Attachment::plan(&places.state, &wanted).map_err(anyhow::Error::from)?;
    Ok((agent, planned))
}

fn unknown(name: &str) -> anyhow::Error {
    let known = || agents().iter().map(|agent| agent.id.as_str());
    let start: Vec<_> = known().filter(|known| known.starts_with(name)).collect();
    match names::nearest(name, known()) {
        _ if !start.is_empty() && !name.is_empty() => {
            anyhow!("no agent is named `{name}`: did you mean `{}`?", start.join("` or `"))
        }
        Some(near) => anyhow!("no agent is named `{name}`: did you mean `{near}`?"),
        None => anyhow!("no agent is named `{name}`: they are {}", known().collect::<Vec<_>>().join(", ")),
    }
}

/// Whether the configuration has what is attached to.
fn check(attach: &Attach<'_>, config: &Config, places: &Places) -> anyhow::Result<()> {
    let servers = || config.servers.iter().map(|(name, _)| name.as_str());
    let (kind, name, known): (_, _, Vec<&str>) = match (attach.server, attach.profile) {
        (Some(server), _) => ("server", server, servers().collect()),
        (None, Some(profile)) => ("profile", profile, config.profiles.keys().map(String::as_str).collect()),
        (None, None) => return Ok(()),
    };
    if !known.contains(&name) {
        let near = names::nearest(name, known.iter().copied());
        let hint = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
        bail!("no {kind} is named `{name}` in {}{hint}", places.config.display());
    }
    Ok(())
}

/// The command that the agent starts.
fn words(attach: &Attach<'_>, places: &Places) -> anyhow::Result<Vec<String>> {
    let program = std::path::absolute(program::itself()?)?;
    let mut words = vec![program.display().to_string(), "connect".to_owned()];
    words.extend(attach.server.map(str::to_owned));
    words.extend(attach.profile.into_iter().flat_map(|profile| ["--profile".to_owned(), profile.to_owned()]));
    words.extend(places.flags());
    Ok(words)
}

/// The agent's own entries that the configuration has too.
pub(super) fn known(file: &Path, config: &Config, places: &Places) -> Vec<String> {
    let Ok(file) = AgentFile::open(file) else { return Vec::new() };
    let own = file.servers().servers.into_iter().filter(|foreign| foreign.folder.is_none() && foreign.wrong.is_none());
    let servers = Known::of(config, &kept(config, places));
    let known = own.filter(|foreign| servers.find(&foreign.table, None).is_some());
    known.map(|foreign| foreign.name).collect()
}

/// What `detach` is told.
pub(super) struct Detach<'a> {
    pub agent: &'a str,
    pub file: Option<&'a Path>,
    pub edits: Edits,
    pub consent: Consent,
    pub dry_run: bool,
}

pub(super) fn detach(detach: &Detach<'_>, places: &Places) -> Done {
    let file = detach.file.map(|file| std::path::absolute(file).unwrap_or_else(|_| file.to_owned()));
    let is_wanted = |attachment: &Attachment| {
        attachment.agent == detach.agent && file.as_ref().is_none_or(|file| *file == attachment.file)
    };
    let all: Vec<_> = Attachment::all(&places.state).into_iter().filter(is_wanted).collect();
    if all.is_empty() {
        find_agent(detach.agent).ok_or_else(|| unknown(detach.agent))?;
        return Err(anyhow!(
            "trunkline is not attached to {}: `trunkline attach {}` does it",
            detach.agent,
            detach.agent
        )
        .into());
    }
    let mut code = ExitCode::SUCCESS;
    for attachment in &all {
        if !undo(attachment, detach, places)? {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// Puts one file back; whether it could.
fn undo(attachment: &Attachment, detach: &Detach<'_>, places: &Places) -> Result<bool, Trouble> {
    let mut out = out();
    let file = attachment.file.display();
    let undo = match attachment.undo(detach.edits) {
        Ok(undo) => undo,
        Err(CannotDetach::Edited(path, left, now)) => {
            diff::print(&mut out.0, &path, &left, &now)?;
            complain(&format!(
                "{file} was edited since trunkline was written into it (above), and was left alone: `trunkline detach {} --keep-edits` takes only trunkline's entry out",
                detach.agent
            ));
            return Ok(false);
        }
        Err(error) => return Err(anyhow::Error::from(error).into()),
    };
    show(&mut out.0, attachment, &undo)?;
    if detach.dry_run {
        writeln!(out, "Nothing was written (--dry-run).")?;
        return Ok(true);
    }
    if detach.consent == Consent::Ask && !detach.consent.agrees("Write this?", true)? {
        writeln!(out, "Nothing was written.")?;
        return Ok(true);
    }
    attachment.detach(&places.state, &undo).map_err(anyhow::Error::from)?;
    writeln!(out, "{}", done(attachment, &undo))?;
    Ok(true)
}

fn show(out: &mut impl Write, attachment: &Attachment, undo: &Undo) -> Result<(), Trouble> {
    let now = std::fs::read_to_string(&attachment.file).unwrap_or_default();
    match undo {
        Undo::Exact(Some(text)) | Undo::Around(text) => diff::print(out, &attachment.file, &now, text)?,
        Undo::Exact(None) => diff::print(out, &attachment.file, &now, "")?,
        Undo::Nothing => {}
    }
    Ok(())
}

/// What became of a file, in a line.
pub(super) fn done(attachment: &Attachment, undo: &Undo) -> String {
    let file = attachment.file.display();
    match undo {
        Undo::Exact(Some(_)) => format!("{file} is as it was before trunkline, to the byte."),
        Undo::Exact(None) => format!("{file} is gone: trunkline had made it."),
        Undo::Around(_) => format!("{file} has no entry of trunkline any more; what was changed in it since stays."),
        Undo::Nothing => format!("{file} has no entry of trunkline."),
    }
}

/// The agents that seem to be on this machine, with their files.
pub(super) fn agents_here() -> Vec<(&'static Agent, PathBuf)> {
    let here = agents().iter().filter(|agent| agent.is_here());
    here.filter_map(|agent| Some((agent, agent.user_file()?))).collect()
}
