//! `calls`: the record of calls, in lines; one call, with all that is known of it.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use chrono::{DateTime, Local};
use console::{measure_text_width, truncate_str};

use crate::cli::args::Which;
use crate::cli::done::{Done, Trouble, complain, out};
use crate::cli::figures::{size, took};
use crate::cli::table::width;
use crate::config::Config;
use crate::names;
use crate::record::{self, CallShape, Query, ReadError, Reader, subject_shown};
use crate::shown::{self, Shown};

/// How often the record is looked at for more.
const LOOK: Duration = Duration::from_millis(250);
/// Columns and their least widths: its number, when, who, where, what, how long, how much, how.
const HEADS: [&str; 8] = ["ID", "WHEN", "AGENT", "SERVER", "WHAT", "TOOK", "ANSWER", "ENDED"];
const WIDTHS: [usize; 8] = [5, 8, 10, 9, 17, 6, 6, 12];
const WHAT: usize = 4;
/// How wide a line is for a pipe or a file.
const LINE: usize = 120;

/// Which calls, and how they are shown.
pub(super) struct Calls<'a> {
    pub which: &'a Which,
    pub slow: Option<&'a str>,
    pub follow: bool,
    pub limit: usize,
    pub json: bool,
}

impl From<&Which> for Query {
    fn from(which: &Which) -> Self {
        let Which { server, tool, agent, since, until, failed } = which;
        Self {
            server: server.clone(),
            tool: tool.clone(),
            agent: agent.clone(),
            since: since.clone(),
            until: until.clone(),
            failed: *failed,
            ..Self::default()
        }
    }
}

pub(super) fn run(calls: &Calls<'_>, config: &Path, state: &Path) -> Done {
    let file = record::file(state);
    let slow_ms = calls.slow.map(milliseconds).transpose()?;
    let query = Query { slow_ms, limit: Some(calls.limit), ..calls.which.into() };
    let reader = match Reader::open(&file) {
        Ok(reader) => Some(reader),
        Err(ReadError::Missing(_)) if calls.follow => None,
        Err(ReadError::Missing(_)) => return nothing(calls.which, config, calls.json),
        Err(error) => return Err(failed(error)),
    };
    let found = reader.as_ref().map(|reader| reader.calls(&query)).transpose().map_err(failed)?.unwrap_or_default();
    if found.is_empty() && !calls.follow {
        return nothing(calls.which, config, calls.json);
    }
    let mut out = out();
    if calls.json && !calls.follow {
        writeln!(io::stdout(), "{}", serde_json::to_string(&found).map_err(anyhow::Error::from)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !calls.json {
        writeln!(out, "{}", line(HEADS.map(str::to_owned)))?;
    }
    print(&mut out, &found, calls.json)?;
    if calls.follow {
        return follow(&mut out, &file, &query, found.last().and_then(|call| call.id), calls.json);
    }
    Ok(ExitCode::SUCCESS)
}

/// Goes on as calls are written, until interrupted.
fn follow(out: &mut Shown<impl Write>, file: &Path, query: &Query, last: Option<i64>, json: bool) -> Done {
    let (mut last, mut reader) = (last.unwrap_or_default(), None);
    loop {
        std::thread::sleep(LOOK);
        if reader.is_none() {
            reader = Reader::open(file).ok();
        }
        let query = Query { after: Some(last), limit: Some(usize::MAX >> 1), ..query.clone() };
        match reader.as_ref().map(|reader| reader.calls(&query)) {
            Some(Ok(found)) => {
                print(out, &found, json)?;
                last = found.last().and_then(|call| call.id).unwrap_or(last);
            }
            // It was set aside, or another one is begun.
            Some(Err(_)) => reader = None,
            None => {}
        }
    }
}

/// A length of time in milliseconds, as a person writes it.
fn milliseconds(text: &str) -> Result<u64, Trouble> {
    let unit = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let factor = match unit {
        "ms" => 1.0,
        "s" | "" => 1_000.0,
        "m" | "min" => 60_000.0,
        "h" => 3_600_000.0,
        _ => f64::NAN,
    };
    let number = number.trim().parse::<f64>().unwrap_or(f64::NAN) * factor;
    if number.is_finite() && number >= 0.0 {
        return Ok(number as u64);
    }
    Err(anyhow!("`{text}` is no length of time: write one like \"500ms\", \"2s\" or \"1m\"").into())
}

/// Says that there is none; a server that is not configured may be misspelled.
pub(super) fn nothing(which: &Which, config: &Path, json: bool) -> Done {
    if json {
        writeln!(io::stdout(), "[]")?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = Config::load(config).unwrap_or_default();
    let known: Vec<_> = config.servers.iter().map(|(name, _)| name.as_str()).collect();
    let server = which.server.as_deref().filter(|name| !known.contains(name) && !name.contains(['*', '?']));
    let near = server.and_then(|server| names::nearest(server, known.iter().copied()));
    let hint = near.map(|near| format!(": did you mean the server `{near}`?")).unwrap_or_default();
    complain(&format!("no such call is recorded{hint}"));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn failed(error: ReadError) -> Trouble {
    Trouble::Other(error.into())
}

fn print(out: &mut Shown<impl Write>, calls: &[CallShape], json: bool) -> io::Result<()> {
    for call in calls {
        if json {
            writeln!(io::stdout(), "{}", serde_json::to_string(call).map_err(io::Error::other)?)?;
        } else {
            writeln!(out, "{}", line(cells(call)))?;
        }
    }
    out.flush()
}

/// The cells of a line about a call.
fn cells(call: &CallShape) -> [String; 8] {
    let agent = call.agent.name.clone().unwrap_or_else(|| format!("session {}", call.session));
    [
        call.id.unwrap_or_default().to_string(),
        when(&call.at),
        shown::line(&agent).into_owned(),
        call.server.clone(),
        subject_shown(&call.method, call.subject.as_deref()),
        took(call.took_ms),
        size(call.received),
        ended(call),
    ]
}

/// How a call ended, in a word or two.
pub(super) fn ended(call: &CallShape) -> String {
    let how = call.outcome.replace('_', " ");
    call.code.map_or(how.clone(), |code| format!("{how} {code}"))
}

/// When it was, by the clock on the wall; of another day, its date.
pub(super) fn when(at: &str) -> String {
    let Ok(at) = DateTime::parse_from_rfc3339(at) else { return at.to_owned() };
    let at = at.with_timezone(&Local);
    let form = if at.date_naive() == Local::now().date_naive() { "%H:%M:%S" } else { "%m-%d %H:%M" };
    at.format(form).to_string()
}

/// A line in columns that stay where they are, whatever comes.
fn line(cells: [String; 8]) -> String {
    let room = width().unwrap_or(LINE).saturating_sub(WIDTHS.iter().sum::<usize>() + WIDTHS.len() - 1);
    let mut line = String::new();
    for (at, (cell, least)) in cells.iter().zip(WIDTHS).enumerate() {
        // What there is room for goes to what was called.
        let width =
            if at == WHAT { least + room } else { least.max(if at < 2 { measure_text_width(cell) } else { 0 }) };
        let last = at + 1 == WIDTHS.len();
        let cell = if last { cell.clone() } else { truncate_str(cell, width, "…").into_owned() };
        let fill = if last { 0 } else { width.saturating_sub(measure_text_width(&cell)) + 1 };
        line.push_str(&cell);
        line.push_str(&" ".repeat(fill));
    }
    width().map_or(line.clone(), |width| truncate_str(&line, width, "…").into_owned()).trim_end().to_owned()
}

/// All that is known of one call.
pub(super) fn show(id: i64, state: &Path, json: bool) -> Done {
    let reader = Reader::open(&record::file(state)).map_err(failed)?;
    let found = reader.calls(&Query { id: Some(id), ..Query::default() }).map_err(failed)?;
    let Some(call) = found.first() else {
        return Err(anyhow!("no call has the number {id}: `trunkline calls --json` has the numbers").into());
    };
    if json {
        writeln!(io::stdout(), "{}", serde_json::to_string(call).map_err(anyhow::Error::from)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = out();
    let mut row = |name: &str, text: String| writeln!(out, "{name:<12} {}", shown::line(&text));
    let agent = &call.agent;
    let or_unnamed = agent.name.clone().unwrap_or_else(|| "(unnamed)".to_owned());
    let of_process = |pid: Option<u32>| pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
    row("call", id.to_string())?;
    row("when", format!("{} ({})", when(&call.at), call.at))?;
    row("agent", format!("{or_unnamed}{}, session {}", of_process(agent.pid), call.session))?;
    if let Some(folder) = &agent.folder {
        row("folder", folder.clone())?;
    }
    if let Some(host) = &agent.host {
        row("host", host.clone())?;
    }
    row("server", format!("{}{}", call.server, of_process(call.pid)))?;
    row("what", subject_shown(&call.method, call.subject.as_deref()))?;
    row("ended", ended(call))?;
    let first = call.first_ms.map(|first| format!(", the first word after {}", took(first)));
    row("took", format!("{}{}", took(call.took_ms), first.unwrap_or_default()))?;
    row("request", size(call.sent))?;
    row("answer", format!("{}, about {} tokens", size(call.received), call.tokens))?;
    if call.progress > 0 {
        row("progress", format!("{} times", call.progress))?;
    }
    for asked in &call.asked {
        let ended = asked.ended.as_deref().unwrap_or("no answer");
        let after = asked.took_ms.map(|ms| format!(" after {}", took(ms))).unwrap_or_default();
        row("asked", format!("{}: {ended}{after}", asked.method))?;
    }
    match (&call.arguments, &call.result) {
        (None, None) => row(
            "payloads",
            "not recorded: `payloads = true` under `[record]` in the configuration has them recorded".to_owned(),
        )?,
        (arguments, result) => {
            arguments.iter().try_for_each(|text| row("arguments", text.clone()))?;
            result.iter().try_for_each(|text| row("result", text.clone()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
