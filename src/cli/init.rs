//! `init`: from a stranger's agent files to a shared set-up, one question at a time, and a last screen that says how to go back.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::ask::{Answer, Consent, several, two};
use crate::cli::attach::{self, Attach, agents_named};
use crate::cli::diff;
use crate::cli::done::{Done, Trouble, complain, out};
use crate::cli::import;
use crate::cli::login::{self, Browser};
use crate::cli::probe::{Probe, probe};
use crate::cli::progress::Progress;
use crate::cli::reach::{block_on, connect, here, started};
use crate::cli::service;
use crate::cli::table::wrapped;
use crate::cli::take_over::TakeOver;
use crate::config::{Config, ServerConfig, Share};
use crate::control::DaemonClient;
use crate::paths::Places;
use crate::setup::{Agent, Agreed, Attachment, Document, Planned};
use crate::shown;

/// What `init` is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Init<'a> {
    /// The agents that it is about; all that are here, if there are none.
    pub agents: &'a [String],
    pub consent: Consent,
    pub dry_run: bool,
    /// Whether the daemon becomes a service.
    pub service: bool,
}

/// What a person decides, step by step; nothing is done before the last of them.
#[derive(Debug, Default)]
struct Choices {
    import: bool,
    agreed: Agreed,
    agents: Vec<&'static Agent>,
    replace: bool,
    service: bool,
}

/// The steps, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Import,
    Presets,
    Secrets,
    Agents,
    Replace,
    Service,
    Do,
}

impl Step {
    fn next(self) -> Self {
        match self {
            Self::Import => Self::Presets,
            Self::Presets => Self::Secrets,
            Self::Secrets => Self::Agents,
            Self::Agents => Self::Replace,
            Self::Replace => Self::Service,
            Self::Service | Self::Do => Self::Do,
        }
    }
}

pub(super) fn run(init: Init<'_>, places: &Places) -> Done {
    if init.consent == Consent::Nobody && !init.dry_run {
        return Err(Trouble::Other(anyhow::anyhow!(
            "`init` asks its questions at a terminal: run it there, or with --yes, or look first with --dry-run"
        )));
    }
    let agents = agents_named(init.agents)?;
    let sources = match init.agents {
        [] => import::sources(&[])?,
        _ => import::sources_of(agents.iter().map(|(agent, _)| *agent))?,
    };
    let mut over = TakeOver::new(places, &sources)?;
    writeln!(out(), "Found: {}\n", found(&agents))?;
    for (agent, file) in agents.iter().filter(|(agent, _)| !agent.is_here()) {
        complain(&format!("{} was not found here: {} is made for it", agent.title, file.display()));
    }
    over.show()?;
    if agents.is_empty() && over.plan.servers.is_empty() {
        writeln!(
            out(),
            "There is nothing to take over. Begin with a server: trunkline add time -- uvx mcp-server-time"
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let choices = match init.consent {
        Consent::Ask => match ask(init, &mut over, &agents)? {
            Some(choices) => choices,
            None => {
                writeln!(out(), "Nothing was changed.")?;
                return Ok(ExitCode::SUCCESS);
            }
        },
        Consent::Yes | Consent::Nobody => Choices {
            import: true,
            agreed: over.agree(Consent::Yes)?,
            agents: agents.iter().map(|(agent, _)| *agent).collect(),
            replace: true,
            service: init.service && service::is_possible(),
        },
    };
    if init.dry_run {
        return foretold(&choices, &over, places);
    }
    done(&choices, &over, places, init.consent)
}

/// How many agents, in words.
fn all_of(count: usize) -> String {
    if count == 1 { "this agent".to_owned() } else { format!("these {count} agents") }
}

fn found(agents: &[(&'static Agent, PathBuf)]) -> String {
    if agents.is_empty() {
        return "no agent that is known here".to_owned();
    }
    agents.iter().map(|(agent, _)| agent.title.as_str()).collect::<Vec<_>>().join(", ")
}

/// Asks step by step; each has a way back. `None` if its person leaves.
fn ask(init: Init<'_>, over: &mut TakeOver, agents: &[(&'static Agent, PathBuf)]) -> Result<Option<Choices>, Trouble> {
    let found = over.plan.servers.clone();
    let mut choices = Choices::default();
    let mut done: Vec<Step> = Vec::new();
    let mut step = Step::Import;
    loop {
        let answered = match step {
            Step::Import if found.is_empty() => None,
            Step::Import => {
                let (answer, chosen) = which_servers(&found)?;
                over.plan.servers = chosen;
                Some(answer)
            }
            Step::Presets if !choices.import || !over.has_presets() => None,
            Step::Presets => Some(two(
                "Write into their entries how they are shared, as proposed above?",
                "yes",
                "no, trunkline finds it out",
            )?),
            Step::Secrets if !choices.import || over.secrets().is_empty() => None,
            Step::Secrets => Some(two(
                "Keep their secrets encrypted?",
                "yes, as ${keyring:…}",
                "no, they stand in the configuration as they are",
            )?),
            Step::Agents if agents.is_empty() => None,
            Step::Agents => {
                let (answer, chosen) = which_agents(agents)?;
                choices.agents = chosen;
                Some(answer)
            }
            Step::Replace if choices.agents.is_empty() || !choices.import => None,
            Step::Replace => Some(two(
                "Take them out of the agents' own files?",
                "yes: none is started twice, and `detach` puts them back",
                "no",
            )?),
            Step::Service if !init.service || !service::is_possible() => None,
            Step::Service => {
                Some(two("Start the daemon with your login?", "yes, as a service", "no, agents start it")?)
            }
            Step::Do => Some(two("Do all this now?", "yes", "no, leave everything as it is")?),
        };
        match (step, answered) {
            (_, Some(Answer::Back)) => match done.pop() {
                Some(before) => {
                    step = before;
                    continue;
                }
                None => return Ok(None),
            },
            (Step::Import, answer) => choices.import = answer == Some(Answer::Yes),
            (Step::Presets, answer) => choices.agreed.presets = answer == Some(Answer::Yes),
            (Step::Secrets, answer) => choices.agreed.hide = answer == Some(Answer::Yes),
            (Step::Agents, _) => {}
            (Step::Replace, answer) => choices.replace = answer == Some(Answer::Yes),
            (Step::Service, answer) => choices.service = answer == Some(Answer::Yes),
            (Step::Do, Some(Answer::Yes)) => return Ok(Some(choices)),
            (Step::Do, _) => return Ok(None),
        }
        if answered.is_some() {
            done.push(step);
        }
        step = step.next();
    }
}

fn which_servers(found: &[Planned]) -> anyhow::Result<(Answer, Vec<Planned>)> {
    let question = if found.len() == 1 { "Take this server over?" } else { "Take these servers over?" };
    several(question, "no, begin with none", found, |planned| planned.name.as_str())
}

fn which_agents(agents: &[(&'static Agent, PathBuf)]) -> anyhow::Result<(Answer, Vec<&'static Agent>)> {
    let all: Vec<_> = agents.iter().map(|(agent, _)| *agent).collect();
    several(&format!("Have {} use trunkline?", all_of(all.len())), "not yet", &all, |agent| agent.title.as_str())
}

/// The entry that an agent gets.
fn entry<'a>(agent: &'a Agent, replace: bool) -> Attach<'a> {
    Attach {
        agent: &agent.id,
        server: None,
        profile: None,
        file: None,
        name: None,
        replace,
        consent: Consent::Yes,
        dry_run: false,
    }
}

/// What would be done.
fn foretold(choices: &Choices, over: &TakeOver, places: &Places) -> Done {
    let config = over.config(&choices.agreed)?;
    for agent in &choices.agents {
        match attach::plan(&entry(agent, choices.replace), places, &config) {
            Ok((_, planned)) => {
                let (before, after) = planned.change();
                diff::print(&mut out().0, &planned.file, before, after)?;
            }
            Err(error) => complain(&format!("{}: {error}", agent.title)),
        }
    }
    if choices.service {
        writeln!(out(), "The daemon would become a service (`trunkline service install --dry-run` shows it).")?;
    }
    writeln!(out(), "Nothing was written (--dry-run).")?;
    Ok(ExitCode::SUCCESS)
}

fn done(choices: &Choices, over: &TakeOver, places: &Places, consent: Consent) -> Done {
    if choices.import {
        over.write(&choices.agreed, places)?;
    }
    let config = Document::open(&places.config).map(|document| document.config()).unwrap_or_default();
    let mut attached = Vec::new();
    for agent in &choices.agents {
        let planned = attach::plan(&entry(agent, choices.replace), places, &config);
        let written = planned.and_then(|(agent, planned)| {
            planned.write(&places.state).map_err(anyhow::Error::from)?;
            Ok((agent, planned))
        });
        match written {
            Ok((agent, planned)) => attached.push((agent, planned)),
            Err(error) => complain(&format!("{}: not attached: {error}", agent.title)),
        }
    }
    if choices.service
        && let Err(error) = service::install(places, Consent::Yes, false)
    {
        complain(&format!("no service: {error}; agents start the daemon themselves"));
    }
    if !choices.service {
        service::keep_environment(places, consent)?;
    }
    let places = started(places)?;
    logins(consent, &places)?;
    let code = tried(&attached, &config)?;
    last_screen(choices, over, &attached, &places)?;
    Ok(code)
}

/// Asks every server what it offers, and offers a login where one is wanted.
fn logins(consent: Consent, places: &Places) -> Result<(), Trouble> {
    let progress = Progress::begin("starting the servers and asking for their tools".to_owned());
    let servers = block_on(async {
        let client = connect(places).await?;
        // Where no server came over, there may be no file.
        if places.config.exists() {
            client.reload().await?;
        }
        Ok(client.list_tools(None, here()).await?)
    })?;
    progress.end();
    let mut out = out();
    for server in servers {
        match server.error {
            None => {
                let s = if server.tools.len() == 1 { "" } else { "s" };
                writeln!(out, "  {}: {} tool{s}", server.server, server.tools.len())?;
            }
            Some(error) if error.contains("trunkline login") => {
                writeln!(out, "  {}: wants a login: trunkline login {}", server.server, server.server)?;
                if consent == Consent::Ask && consent.agrees(&format!("Log in at {} now?", server.server), true)? {
                    block_on(async { login::run(&connect(places).await?, &server.server, Browser::Open).await })?;
                }
            }
            Some(error) => writeln!(out, "{}", wrapped(&format!("{}: {error}", server.server), "  "))?,
        }
    }
    Ok(())
}

/// One real exchange through the whole chain for each agent: its own entry is started as it would start it.
fn tried(attached: &[(&'static Agent, Attachment)], config: &Config) -> Result<ExitCode, Trouble> {
    // A call to a browser opens one.
    let is_to_avoid = |server: &ServerConfig| {
        server.share == Share::Session
            || server.known.as_ref().is_some_and(|known| known.package.share == Share::Session)
    };
    let avoided = config.servers.iter().filter(|(_, server)| is_to_avoid(server));
    let avoided: Vec<String> = avoided.map(|(name, _)| format!("{name}__")).collect();
    let mut code = ExitCode::SUCCESS;
    let mut out = out();
    for (agent, planned) in attached {
        for entry in planned.added.values() {
            match probe(entry, &avoided) {
                Ok(Probe { tools, called }) => {
                    let called = called.map(|tool| format!(", called {tool}")).unwrap_or_default();
                    writeln!(out, "  {}: its entry works: {tools} tools{called}", agent.title)?;
                }
                Err(error) => {
                    writeln!(
                        out,
                        "{}",
                        wrapped(&format!("{}: its entry does not work: {error:#}", agent.title), "  ")
                    )?;
                    code = ExitCode::FAILURE;
                }
            }
        }
    }
    Ok(code)
}

fn last_screen(
    choices: &Choices,
    over: &TakeOver,
    attached: &[(&'static Agent, Attachment)],
    places: &Places,
) -> Result<(), Trouble> {
    let status = block_on(async { Ok(connect(places).await?.status().await?) })?;
    let mut out = out();
    let count = status.servers.len();
    writeln!(
        out,
        "\n{} server{} shared now by {} agent{}.",
        count,
        if count == 1 { " is" } else { "s are" },
        attached.len(),
        if attached.len() == 1 { "" } else { "s" }
    )?;
    let own = over.plan.servers.iter().map(|planned| planned.from.len()).sum::<usize>();
    if choices.import && own > 0 {
        let count = over.plan.servers.len();
        let text = format!("Each session would start its own copies: {own} entries became {count} shared servers.");
        writeln!(out, "{}", wrapped(&text, ""))?;
    }
    for (name, description) in over.needs() {
        let why = if description.is_empty() { String::new() } else { format!("   # {}", shown::line(&description)) };
        writeln!(out, "Needed: trunkline secret set {name}{why}")?;
    }
    writeln!(out, "\n  {:<32} what runs, and who uses it", "trunkline status")?;
    writeln!(out, "  {:<32} what is wrong, and what mends it", "trunkline doctor")?;
    for (agent, _) in attached {
        writeln!(out, "  {:<32} {} as it was", format!("trunkline detach {}", agent.id), agent.title)?;
    }
    writeln!(out, "  {:<32} all of it back", "trunkline uninstall")?;
    writeln!(out, "\nAgents that run already must be started again.")?;
    Ok(())
}
