//! `add` and `remove`: single entries of the configuration. What was added is tried at once.

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};

use crate::cli::ask::Consent;
use crate::cli::done::{Done, Trouble, complain, out};
use crate::cli::login::{self, Browser};
use crate::cli::progress::Progress;
use crate::cli::reach::{block_on, connect, here, started};
use crate::cli::take_over::TakeOver;
use crate::config::{Foreign, ForeignFile, Transport};
use crate::control::DaemonClient;
use crate::names::{self, ServerName};
use crate::paths::Places;
use crate::setup::{Document, Source, command, fetch_server, of_registry, snippet};

/// What `add` is told.
pub(super) struct Add<'a> {
    /// The name, `registry:NAME`, or nothing where a snippet has it.
    pub name: Option<&'a str>,
    pub url: Option<&'a str>,
    pub command: &'a [String],
    pub env: &'a [String],
    pub headers: &'a [String],
    pub share: Option<&'a str>,
    pub registry: &'a str,
    pub tries: bool,
    pub consent: Consent,
    pub dry_run: bool,
    pub json: bool,
}

pub(super) fn run(add: &Add<'_>, places: &Places) -> Done {
    let (title, file) = read(add)?;
    let wrong = file.problems.first().map(|problem| anyhow!("line {}: {}", problem.line, problem.message));
    if let Some(error) = wrong {
        return Err(error.into());
    }
    let source = Source { title, path: PathBuf::from("-"), folder: None, file };
    let over = TakeOver::new(places, &[source])?;
    refuse(add, &over)?;
    if !add.json {
        over.remarks()?;
    }
    if add.dry_run {
        if add.json {
            over.print_json(false)?;
        } else {
            writeln!(out(), "Nothing was written (--dry-run).")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let agreed = over.agree(add.consent)?;
    over.write(&agreed, places)?;
    if add.json {
        over.print_json(true)?;
    } else {
        for planned in &over.plan.servers {
            writeln!(out(), "`{}` was added to {}.", planned.name, places.config.display())?;
        }
    }
    let needs = over.needs();
    for name in needs.keys() {
        complain(&format!("it needs a secret: trunkline secret set {name}"));
    }
    let missing = over.plan.servers.iter().flat_map(|planned| &planned.notes).any(|note| note.contains("secret set"));
    if !add.tries || !needs.is_empty() || missing {
        return Ok(ExitCode::SUCCESS);
    }
    let names: Vec<_> = over.plan.servers.iter().map(|planned| planned.name.clone()).collect();
    let mut code = ExitCode::SUCCESS;
    for name in names {
        if !try_out(&name, add.consent, places)? {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// Where the entry is from, and the entry.
fn read(add: &Add<'_>) -> Result<(String, ForeignFile), Trouble> {
    if let Some(name) = add.name.and_then(|name| name.strip_prefix("registry:")) {
        return Ok(("the registry".to_owned(), registered(name, add)?));
    }
    let read = match (add.url, add.command) {
        (Some(url), []) => snippet(url).map_err(|error| anyhow!(error))?,
        (None, []) => return pasted(add),
        (None, words) => command(words),
        (Some(_), _) => return Err(anyhow!("a server has a URL or a command, and not both").into()),
    };
    let mut file = read.into_file(add.name);
    file.servers.iter_mut().try_for_each(|server| add.complete(server))?;
    Ok(("you".to_owned(), file))
}

/// What stands on standard input.
fn pasted(add: &Add<'_>) -> Result<(String, ForeignFile), Trouble> {
    let mut text = String::new();
    if std::io::stdin().is_terminal() {
        complain("paste the server's JSON, or a line like `claude mcp add …`, and press Ctrl-D on a line of its own:");
    }
    std::io::stdin().read_to_string(&mut text).context("cannot read the snippet from standard input")?;
    let mut file = snippet(&text).map_err(|error| anyhow!(error))?.into_file(add.name);
    file.servers.iter_mut().try_for_each(|server| add.complete(server))?;
    Ok(("a snippet".to_owned(), file))
}

impl Add<'_> {
    /// Puts into an entry what flags say.
    fn complete(&self, server: &mut Foreign) -> anyhow::Result<()> {
        for (key, pairs, border) in [("env", self.env, '='), ("headers", self.headers, ':')] {
            for pair in pairs {
                let (name, value) =
                    pair.split_once(border).with_context(|| format!("`{pair}` is not NAME{border}value"))?;
                let item = server.table.entry(key).or_insert(toml_edit::value(toml_edit::InlineTable::new()));
                if let Some(table) = item.as_table_like_mut() {
                    table.insert(name.trim(), toml_edit::value(value.trim()));
                }
            }
        }
        if let Some(share) = self.share {
            server.table.insert("share", toml_edit::value(share));
        }
        Ok(())
    }
}

/// A server of the registry, or of a `server.json` that lies here.
fn registered(name: &str, add: &Add<'_>) -> Result<ForeignFile, Trouble> {
    let path = PathBuf::from(name);
    let is_path = name.ends_with(".json") || name.starts_with(['/', '.', '~']);
    let text = if path.is_file() || is_path {
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?
    } else {
        block_on(async { Ok(fetch_server(name, add.registry).await?) })?
    };
    let registered = of_registry(&text).map_err(|error| anyhow!("{name}: {error}"))?;
    let notes = registered.missing.iter().map(|missing| format!("needed: {missing}")).collect();
    let mut foreign = Foreign {
        name: registered.name,
        line: 1,
        folder: None,
        table: registered.table,
        notes,
        inputs: Default::default(),
        wrong: None,
    };
    add.complete(&mut foreign)?;
    Ok(ForeignFile { servers: vec![foreign], ..ForeignFile::default() })
}

/// Why nothing is added: whatever else stands in a file, this entry is what was asked for.
fn refuse(add: &Add<'_>, over: &TakeOver) -> Result<(), Trouble> {
    let plan = &over.plan;
    if let Some(skipped) = plan.skipped.first() {
        return Err(anyhow!("`{}` was not added: {}", skipped.origin.name, skipped.reason).into());
    }
    if let (Some((_, name)), []) = (plan.there.first(), plan.servers.as_slice()) {
        return Err(anyhow!("this server is there already, as `{name}`: nothing was added").into());
    }
    let Some(wanted) = add.name.filter(|name| !name.starts_with("registry:")) else { return Ok(()) };
    let named = plan.servers.iter().all(|planned| planned.name.as_str() == wanted);
    if named || plan.servers.len() > 1 {
        return Ok(());
    }
    match ServerName::parse(wanted) {
        Ok(_) => Err(anyhow!("another server is named `{wanted}`: `trunkline remove {wanted}` takes it out, or give this one another name").into()),
        Err(error) => Err(anyhow::Error::from(error).into()),
    }
}

/// Starts a server and counts its tools; whether it could be used.
pub(super) fn try_out(name: &ServerName, consent: Consent, places: &Places) -> Result<bool, Trouble> {
    let places = started(places)?;
    let progress = Progress::begin(format!("starting `{name}` and asking for its tools"));
    let tried = block_on(async {
        let client = connect(&places).await?;
        client.reload().await?;
        let tools = client.list_tools(Some(name.to_string()), here()).await;
        Ok(tools)
    })?;
    progress.end();
    let error = match tried {
        Ok(servers) => match servers.first() {
            Some(server) if server.error.is_none() => {
                let count = server.tools.len();
                writeln!(
                    out(),
                    "`{name}` works: {count} tool{}. See them: trunkline tools {name}",
                    if count == 1 { "" } else { "s" }
                )?;
                return Ok(true);
            }
            Some(server) => Trouble::Daemon(server.error.clone().unwrap_or_default()),
            None => Trouble::Daemon("it offers nothing".to_owned()),
        },
        Err(error) => error.into(),
    };
    if matches!(error, Trouble::NeedsLogin(_)) || error.to_string().contains("trunkline login") {
        complain(&format!("`{name}` wants a login: trunkline login {name}"));
        if consent == Consent::Ask && consent.agrees("Log in now?", true)? {
            block_on(async { login::run(&connect(&places).await?, name.as_str(), Browser::Open).await })?;
        }
        return Ok(true);
    }
    complain(&format!("`{name}` was added, and does not work yet: {error}"));
    complain(&format!("`trunkline logs {name}` has its words; `trunkline remove {name}` takes it out again"));
    Ok(false)
}

pub(super) fn remove(name: &str, places: &Places, dry_run: bool) -> Done {
    let mut document = Document::open(&places.config).map_err(anyhow::Error::from)?;
    let config = document.config();
    let server = config.servers.iter().find(|(known, _)| known.as_str() == name);
    let is_remote = server.is_some_and(|(_, server)| matches!(server.transport, Transport::Http(_)));
    if !document.remove(name) {
        let names = document.names();
        let near = names::nearest(name, names.iter().map(String::as_str));
        let hint = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
        return Err(anyhow!("no server is named `{name}` in {}{hint}", places.config.display()).into());
    }
    let mut out = out();
    if dry_run {
        let (before, after) = document.change();
        crate::cli::diff::print(&mut out.0, &places.config, before, &after)?;
        writeln!(out, "Nothing was written (--dry-run).")?;
        return Ok(ExitCode::SUCCESS);
    }
    document.save().map_err(anyhow::Error::from)?;
    let login =
        if is_remote { format!("; its login, if it has one, stays: trunkline logout {name}") } else { String::new() };
    writeln!(out, "`{name}` was taken out of {}{login}", places.config.display())?;
    Ok(ExitCode::SUCCESS)
}
