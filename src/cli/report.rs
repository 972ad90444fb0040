//! `status` and `tools`, for a person and for scripts.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::cli::done::{Done, complain, out};
use crate::cli::figures::{age, count, memory as size};
use crate::cli::table::{table, width, wrapped};
use crate::control::{Credentials, Instance, LoginStatus, OpenCall, RecordStatus, ServerStatus, SessionStatus, Status};
use crate::hub::Reloaded;
use crate::names;
use crate::record::subject_shown;
use crate::shown::Shown;

/// How often `status --watch` looks.
const LOOK: Duration = Duration::from_secs(1);
/// From how many seconds on a call is named that a server is at.
const LONG: u64 = 60;
/// From so many characters on there is room for every column.
const WIDE: usize = 100;

pub(super) fn status(status: &Status, json: bool) -> Done {
    if json {
        return print_json(status);
    }
    let mut out = out();
    let (pid, up) = (status.pid, age(status.uptime));
    writeln!(out, "trunkline {} (pid {pid}), up {up}", status.version)?;
    writeln!(out, "socket {}, configuration {}", status.socket.display(), status.config.display())?;
    if let Some(http) = &status.http {
        match (&http.url, &http.problem) {
            (Some(url), _) => writeln!(out, "HTTP {url}")?,
            (None, problem) => writeln!(out, "HTTP: {}", problem.as_deref().unwrap_or("not yet"))?,
        }
    }
    if let Some(replaced) = &status.replaced {
        writeln!(out, "program: {replaced}")?;
    }
    for problem in &status.problems {
        writeln!(out, "configuration: {problem}")?;
    }
    match status.notes.len() {
        0 => {}
        1 => writeln!(out, "configuration: 1 note, which `trunkline check` shows")?,
        more => writeln!(out, "configuration: {more} notes, which `trunkline check` shows")?,
    }
    if status.servers.is_empty() {
        writeln!(out, "\nNo servers are configured: name some in {}", status.config.display())?;
    } else {
        writeln!(out, "\nServers")?;
        let heads = ["NAME", "STATE", "SINCE", "CALLS/H", "FAILED", "MEMORY", "AGENTS", "PROCESS", "ERA", "SHARE"];
        let rows = status.servers.iter().map(server_row).collect();
        narrowed(&mut out, &heads, rows, &["PROCESS", "ERA", "SHARE"])?;
        status.servers.iter().try_for_each(|server| notes(&mut out, server))?;
        if status.memory.used > 0 {
            let (used, saved) = (size(status.memory.used), size(status.memory.saved));
            match status.memory.saved {
                0 => writeln!(out, "  {used} in all")?,
                _ => writeln!(out, "  {used} in all; {saved} more if every agent had processes of its own")?,
            }
        }
        // Of a small part of it nobody need know.
        if status.memory.waiting > status.memory.most / 8 {
            let (waiting, most) = (size(status.memory.waiting), size(status.memory.most));
            writeln!(out, "  {waiting} of {most} wait in the daemon (max_memory)")?;
        }
    }
    record(&mut out, &status.record)?;
    credentials(&mut out, &status.credentials)?;
    if !status.sessions.is_empty() {
        writeln!(out, "\nAgents")?;
        let heads = ["ID", "NAME", "SERVER", "ERA", "PID", "AGE", "IN FLIGHT", "FOLDER"];
        narrowed(&mut out, &heads, status.sessions.iter().map(session_row).collect(), &["ERA", "IN FLIGHT"])?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A table that leaves columns out where the terminal has no room for all.
fn narrowed(out: &mut Shown<impl Write>, heads: &[&str], rows: Vec<Vec<String>>, less: &[&str]) -> io::Result<()> {
    if width().is_none_or(|width| width >= WIDE) {
        return table(out, heads, &rows);
    }
    let stays: Vec<bool> = heads.iter().map(|head| !less.contains(head)).collect();
    let kept =
        |cells: Vec<String>| cells.into_iter().zip(&stays).filter(|(_, stays)| **stays).map(|(cell, _)| cell).collect();
    let heads: Vec<&str> = heads.iter().zip(&stays).filter(|(_, stays)| **stays).map(|(head, _)| *head).collect();
    table(out, &heads, &rows.into_iter().map(kept).collect::<Vec<_>>())
}

/// What a person wants to know of a server at a glance.
fn server_row(server: &ServerStatus) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let some = |number: u64| if number == 0 { "-".to_owned() } else { count(number) };
    let era = server.era.or(server.instances.first().map(|instance| instance.era));
    let process = match server.instances.as_slice() {
        [] => "-".to_owned(),
        [one] => place(one),
        more => format!("{} of them", more.len()),
    };
    vec![
        server.name.clone(),
        server.state.clone(),
        or_dash(server.since.map(age)),
        some(server.calls),
        some(server.failures),
        or_dash(server.memory().map(size)),
        some(server.agents() as u64),
        process,
        or_dash(era.map(|era| format!("{era:?}").to_lowercase())),
        server.share.clone(),
    ]
}

/// All that is known of one server.
pub(super) fn server(status: &Status, name: &str, json: bool) -> Done {
    let names = || status.servers.iter().map(|server| server.name.as_str());
    let Some(server) = status.servers.iter().find(|server| server.name == name) else {
        let near = names::nearest(name, names()).map(|near| format!(": did you mean `{near}`?"));
        return Err(anyhow::anyhow!("no server is named `{name}`{}", near.unwrap_or_default()).into());
    };
    if json {
        return print_json(server);
    }
    let mut out = out();
    let heads = ["NAME", "STATE", "SINCE", "CALLS/H", "FAILED", "MEMORY", "AGENTS", "PROCESS", "ERA", "SHARE"];
    narrowed(&mut out, &heads, vec![server_row(server)], &["PROCESS", "ERA", "SHARE"])?;
    notes(&mut out, server)?;
    if !server.instances.is_empty() {
        writeln!(out, "\nProcesses")?;
        let row = |instance: &Instance| {
            let memory = instance.memory.map_or("-".to_owned(), size);
            let agents: Vec<_> = instance.sessions.iter().map(u64::to_string).collect();
            let folder = instance.project.as_ref().map_or("-".to_owned(), |folder| folder.display().to_string());
            vec![
                place(instance),
                age(instance.age),
                memory,
                instance.in_flight.to_string(),
                if agents.is_empty() { "-".to_owned() } else { agents.join(" ") },
                folder,
            ]
        };
        let rows: Vec<_> = server.instances.iter().map(row).collect();
        table(&mut out, &["PROCESS", "AGE", "MEMORY", "IN FLIGHT", "AGENTS", "FOLDER"], &rows)?;
    }
    let open: Vec<_> = server.instances.iter().flat_map(|instance| &instance.calls).collect();
    if !open.is_empty() {
        writeln!(out, "\nAt work")?;
        let row = |call: &&OpenCall| {
            let agent = call.agent.clone().unwrap_or_else(|| format!("session {}", call.session));
            vec![subject_shown(&call.method, call.subject.as_deref()), agent, age(call.age)]
        };
        table(&mut out, &["WHAT", "AGENT", "SINCE"], &open.iter().map(row).collect::<Vec<_>>())?;
    }
    writeln!(out, "\n  trunkline why {name} says more")?;
    Ok(ExitCode::SUCCESS)
}

/// A process, or the way to a server that is none of ours.
fn place(instance: &Instance) -> String {
    instance.pid.map_or_else(|| "http".to_owned(), |pid| pid.to_string())
}

fn session_row(session: &SessionStatus) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        session.session.to_string(),
        or_dash(&session.name),
        match (&session.server, &session.profile) {
            (Some(server), _) => server.clone(),
            (None, Some(profile)) => format!("({profile})"),
            (None, None) => "(all)".to_owned(),
        },
        session.era.map_or("-".to_owned(), |era| format!("{era:?}").to_lowercase()),
        session.pid.map_or("-".to_owned(), |pid| pid.to_string()),
        age(session.age),
        session.in_flight.to_string(),
        match (&session.host, &session.project) {
            (Some(host), _) => format!("on {host}"),
            (None, Some(folder)) => folder.display().to_string(),
            (None, None) => "-".to_owned(),
        },
    ]
}

/// What is wrong with the record of calls.
fn record(out: &mut Shown<impl Write>, record: &RecordStatus) -> io::Result<()> {
    if let Some(problem) = &record.problem {
        remark(out, &format!("calls are not recorded: {problem}"))?;
    }
    if record.lost > 0 {
        remark(out, &format!("{} calls are missing in the record (`trunkline calls`)", record.lost))?;
    }
    Ok(())
}

/// What there is of logins, and where they are kept.
fn credentials(out: &mut Shown<impl Write>, credentials: &Credentials) -> io::Result<()> {
    if !credentials.logins.is_empty() {
        writeln!(out, "\nLogins")?;
        let row = |login: &LoginStatus| {
            vec![
                login.server.clone(),
                login.account.clone(),
                login.state.clone(),
                login.issuer.clone().unwrap_or_else(|| "-".to_owned()),
                login.expires_in.map_or("-".to_owned(), age),
            ]
        };
        let rows: Vec<_> = credentials.logins.iter().map(row).collect();
        table(out, &["SERVER", "ACCOUNT", "STATE", "AT", "TOKEN ENDS IN"], &rows)?;
        for login in credentials.logins.iter().filter(|login| login.state != "none") {
            if let Some(reason) = &login.reason {
                remark(out, &format!("{}: {reason}", login.server))?;
            }
        }
    }
    if credentials.key.as_deref() == Some("file") {
        remark(
            out,
            "there was no keyring when the first login or secret was kept: their key is in a file, which whoever can read your files can use",
        )?;
    }
    if let Some(notice) = &credentials.notice {
        remark(out, notice)?;
    }
    Ok(())
}

fn notes(out: &mut Shown<impl Write>, server: &ServerStatus) -> io::Result<()> {
    if let Some(error) = &server.last_error {
        remark(out, &format!("{}: {error}", server.name))?;
    }
    if !server.hidden.is_empty() {
        remark(
            out,
            &format!(
                "{}: left out of the all-servers view, because the name would be longer than 64 characters: {}",
                server.name,
                server.hidden.join(", ")
            ),
        )?;
    }
    if !server.denied.is_empty() {
        remark(out, &format!("{}: kept back by `tools`: {}", server.name, server.denied.join(", ")))?;
    }
    match server.instances.len() {
        0 => {}
        1 if server.share != "auto" => {}
        1 => remark(out, &format!("{}: {}", server.name, server.sharing))?,
        several => remark(out, &format!("{}: {several} processes, because {}", server.name, server.sharing))?,
    }
    if let Some(advice) = &server.advice {
        remark(out, &format!("{}: {advice}", server.name))?;
    }
    server.notes.iter().try_for_each(|note| remark(out, &format!("{}: {note}", server.name)))?;
    for instance in &server.instances {
        for call in instance.calls.iter().filter(|call| call.age >= LONG) {
            let (name, process, age) = (&server.name, place(instance), age(call.age));
            let what = subject_shown(&call.method, call.subject.as_deref());
            remark(out, &format!("{name}: {process} has been at `{what}` of agent {} for {age}", call.session))?;
        }
        if let Some(project) = &instance.project {
            remark(out, &format!("{}: process {} works in {}", server.name, place(instance), project.display()))?;
        }
    }
    for instance in server.instances.iter().filter(|instance| instance.questions > 0) {
        let (name, asked) = (&server.name, instance.questions);
        remark(
            out,
            &format!("{name}: {} has asked agents {asked} questions that are not answered yet", place(instance)),
        )?;
    }
    if let Some(method) = &server.ambiguous_request {
        remark(
            out,
            &format!(
                "{}: its `{method}` could have been for any of several agents; since then a process carries one call at a time",
                server.name
            ),
        )?;
    }
    Ok(())
}

/// A line about a server, in lines that fit.
fn remark(out: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(out, "{}", wrapped(text, "  "))
}

/// Shows the status anew every second, in place where that is a terminal.
pub(super) fn watch(mut show: impl FnMut() -> Done) -> Done {
    let in_place = io::stdout().is_terminal();
    loop {
        if in_place {
            write!(io::stdout(), "\x1b[2J\x1b[H")?;
        }
        show()?;
        io::stdout().flush()?;
        std::thread::sleep(LOOK);
    }
}

pub(super) fn reloaded(reloaded: &Reloaded, json: bool) -> Done {
    if json {
        return print_json(reloaded);
    }
    let mut out = out();
    let Reloaded { added, removed, changed, tuned, kept, needs_restart, problems } = reloaded;
    for (what, names) in [("added", added), ("removed", removed), ("changed", changed), ("settings changed", tuned)] {
        if !names.is_empty() {
            writeln!(out, "{what}: {}", names.join(", "))?;
        }
    }
    if [added, removed, changed, tuned].iter().all(|names| names.is_empty()) && kept.is_empty() {
        writeln!(out, "no server changed")?;
    }
    for setting in needs_restart {
        writeln!(out, "`{setting}` counts from the daemon's next start")?;
    }
    for (server, reason) in kept {
        complain(&format!(
            "server `{server}` does not start with its new settings, and goes on with the old ones: {reason}"
        ));
    }
    problems.iter().for_each(|problem| complain(problem));
    Ok(if kept.is_empty() && problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_json(value: &impl Serialize) -> Done {
    writeln!(io::stdout().lock(), "{}", serde_json::to_string(value).map_err(anyhow::Error::from)?)?;
    Ok(ExitCode::SUCCESS)
}
