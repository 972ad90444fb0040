//! `status` and `tools`, for a person and for scripts.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::cli::done::{Done, complain, out};
use crate::cli::table::{table, width, wrapped};
use crate::control::{Credentials, Instance, LoginStatus, ServerStatus, SessionStatus, Status};
use crate::hub::Reloaded;
use crate::shown::Shown;

/// How often `status --watch` looks.
const LOOK: Duration = Duration::from_secs(1);
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
        let heads = ["NAME", "STATE", "ERA", "SHARE", "PROCESS", "AGENTS", "IN FLIGHT", "MEMORY", "STARTS"];
        let rows = status.servers.iter().flat_map(server_rows).collect();
        narrowed(&mut out, &heads, rows, &["ERA", "STARTS"])?;
        status.servers.iter().try_for_each(|server| notes(&mut out, server))?;
        if status.memory.used > 0 {
            let (used, saved) = (size(status.memory.used), size(status.memory.saved));
            writeln!(out, "  {used} in all; {saved} more if every agent had processes of its own")?;
        }
        // Of a small part of it nobody need know.
        if status.memory.waiting > status.memory.most / 8 {
            let (waiting, most) = (size(status.memory.waiting), size(status.memory.most));
            writeln!(out, "  {waiting} of {most} wait in the daemon (max_memory)")?;
        }
    }
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

/// One row for each process, the first with what belongs to the server.
fn server_rows(server: &ServerStatus) -> Vec<Vec<String>> {
    let of_process = |instance: Option<&Instance>| {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let memory = instance.map(|instance| match (instance.memory, instance.pid) {
            (Some(memory), _) => size(memory),
            (None, Some(_)) => "?".to_owned(),
            (None, None) => "-".to_owned(),
        });
        [
            or_dash(instance.map(|instance| format!("{:?}", instance.era).to_lowercase())),
            or_dash(instance.map(|instance| format!("{} ({})", place(instance), age(instance.age)))),
            or_dash(instance.map(|instance| instance.sessions.len().to_string())),
            or_dash(instance.map(|instance| instance.in_flight.to_string())),
            or_dash(memory),
        ]
    };
    let row = |first: bool, instance: Option<&Instance>| {
        let of_server = |text: &str| if first { text.to_owned() } else { String::new() };
        let [era, process, agents, in_flight, memory] = of_process(instance);
        let (name, state, share) = (of_server(&server.name), of_server(&server.state), of_server(&server.share));
        vec![name, state, era, share, process, agents, in_flight, memory, of_server(&server.starts.to_string())]
    };
    let mut rows = vec![row(true, server.instances.first())];
    rows.extend(server.instances.iter().skip(1).map(|instance| row(false, Some(instance))));
    rows
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
    if server.share == "auto" && !server.instances.is_empty() {
        remark(out, &format!("{}: {}", server.name, server.sharing))?;
    }
    if let Some(advice) = &server.advice {
        remark(out, &format!("{}: {advice}", server.name))?;
    }
    server.notes.iter().try_for_each(|note| remark(out, &format!("{}: {note}", server.name)))?;
    for instance in &server.instances {
        for call in &instance.long_calls {
            let (name, process, age) = (&server.name, place(instance), age(call.age));
            remark(out, &format!("{name}: {process} has been at a call of agent {} for {age}", call.session))?;
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

fn size(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h{}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}
