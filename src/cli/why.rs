//! `why SERVER`: why it is as it is, on one screen.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::calls::{ended, when};
use crate::cli::done::{Done, out};
use crate::cli::figures::{age, took};
use crate::cli::logs::by_the_wall;
use crate::cli::progress::Progress;
use crate::cli::reach::here;
use crate::cli::table::wrapped;
use crate::control::{Client, DaemonClient, Why};
use crate::record::subject_shown;
use crate::shown::{self, Shown};

/// Where the text of each row begins.
const INDENT: usize = 11;
/// How many names of variables are shown.
const NAMES: usize = 12;
/// How many of the last starts and ends are shown.
const MOMENTS: usize = 6;

pub(super) async fn run(client: &Client, server: &str, json: bool) -> Done {
    let mut why = client.why(server.to_owned()).await?;
    if why.state == "idle" && why.history.is_empty() {
        // Nobody has tried it since the daemon started: whether it starts is what is asked.
        let progress = Progress::begin(format!("starting `{server}`, to see"));
        let tried = client.list_tools(Some(server.to_owned()), here()).await;
        progress.end();
        // What comes of it stands in the answer.
        drop(tried);
        why = client.why(server.to_owned()).await?;
    }
    if json {
        writeln!(io::stdout(), "{}", serde_json::to_string(&why).map_err(anyhow::Error::from)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&mut out(), &why)?;
    Ok(ExitCode::SUCCESS)
}

/// One row: what it is about, and the text, in lines that fit.
fn row(out: &mut Shown<impl Write>, name: &str, text: &str) -> io::Result<()> {
    let text = wrapped(text, &" ".repeat(INDENT));
    writeln!(out, "{name:<INDENT$}{}", text.trim_start())
}

fn print(out: &mut Shown<impl Write>, why: &Why) -> io::Result<()> {
    let since = why.since.map(|since| format!(" since {}", age(since))).unwrap_or_default();
    writeln!(out, "{} is {}{since}: {}", why.server, why.state, why.sentence)?;
    writeln!(out)?;
    if let Some(cause) = &why.cause {
        row(out, "cause", cause)?;
    }
    if let Some(command) = &why.command {
        row(out, "command", &command.words.join(" "))?;
        match &command.program {
            Some(program) => row(out, "found", program)?,
            None => row(out, "found", &format!("nowhere in the daemon's PATH: {}", command.path))?,
        }
        if let Some(folder) = &command.folder {
            row(out, "folder", folder)?;
        }
        row(out, "given", &names(&command.given))?;
        row(out, "withheld", &names(&command.withheld))?;
        if !command.missed.is_empty() {
            row(out, "perhaps", &format!("it wants {}", command.missed.join(", ")))?;
        }
    }
    if let Some(url) = &why.url {
        row(out, "url", url)?;
    }
    if let Some(login) = &why.login {
        let ends = login.expires_in.map(|left| format!(", the token holds {} more", age(left))).unwrap_or_default();
        let reason = login.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        row(out, "login", &format!("{}{ends}{reason}", login.state.replace('_', " ")))?;
    }
    for (at, moment) in why.history.iter().rev().take(MOMENTS).rev().enumerate() {
        let name = if at == 0 { "history" } else { "" };
        row(out, name, &format!("{} {}", when(&moment.at), moment.what))?;
    }
    if why.waiting > 0 {
        let in_time = why.next_start.map(|pause| format!("; it is started in {}", age(pause))).unwrap_or_default();
        row(out, "waiting", &format!("{} requests{in_time}", why.waiting))?;
    }
    for (at, call) in why.calls.iter().enumerate() {
        let agent = call.agent.clone().unwrap_or_else(|| format!("session {}", call.session));
        let what = subject_shown(&call.method, call.subject.as_deref());
        row(out, if at == 0 { "at work" } else { "" }, &format!("{what} for {agent}, since {}", age(call.age)))?;
    }
    let (calls, failures) = why.last_hour;
    if calls > 0 {
        row(out, "last hour", &format!("{calls} {}, {failures} failed", if calls == 1 { "call" } else { "calls" }))?;
    }
    for (at, call) in why.failed.iter().enumerate() {
        let what = subject_shown(&call.method, call.subject.as_deref());
        let text = format!("{} {what}: {} after {}", when(&call.at), ended(call), took(call.took_ms));
        row(out, if at == 0 { "failed" } else { "" }, &text)?;
    }
    why.notes.iter().try_for_each(|note| row(out, "note", note))?;
    if !why.stderr.is_empty() {
        writeln!(out, "\nthe last lines that it wrote to standard error:")?;
        why.stderr.iter().try_for_each(|line| writeln!(out, "{}", wrapped(&by_the_wall(line), "  ")))?;
    }
    writeln!(out, "\nnext:")?;
    why.next.iter().try_for_each(|next| writeln!(out, "  {}", shown::line(next)))
}

/// Some names, and how many more there are.
fn names(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMES);
    let shown = names.iter().take(NAMES).cloned().collect::<Vec<_>>().join(", ");
    match (names.len(), more) {
        (0, _) => "nothing".to_owned(),
        (_, 0) => shown,
        (_, more) => format!("{shown}, and {more} more (--json has all)"),
    }
}
