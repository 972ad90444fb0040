//! `check`: every problem of a configuration file, with its line, and what is worth knowing of it.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;

use crate::cli::done::{Done, Trouble, out};
use crate::cli::secret;
use crate::config::{Config, Examined, LoadError, Problem, located};
use crate::control::{self, DaemonClient};
use crate::paths::Places;
use crate::shown::Shown;

#[derive(Serialize)]
struct Checked<'a> {
    file: &'a Path,
    #[serde(flatten)]
    examined: &'a Examined,
}

pub(super) fn run(file: &Path, places: &Places, json: bool) -> Done {
    let examined = match ask(file, places)? {
        Some(examined) => examined,
        None => examine(file, places)?,
    };
    let Examined { servers, problems, notes } = &examined;
    if json {
        let checked = Checked { file, examined: &examined };
        writeln!(io::stdout(), "{}", serde_json::to_string(&checked).map_err(anyhow::Error::from)?)?;
    } else {
        let (mut out, mut err) = (out(), Shown(io::stderr().lock()));
        located(file, problems).iter().try_for_each(|line| writeln!(err, "{line}"))?;
        let notes: Vec<_> =
            notes.iter().map(|note| Problem { message: format!("note: {}", note.message), ..*note }).collect();
        located(file, &notes).iter().try_for_each(|line| writeln!(err, "{line}"))?;
        if problems.is_empty() {
            writeln!(out, "{}: {servers} server{}, no problems", file.display(), if *servers == 1 { "" } else { "s" })?;
        }
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the running daemon makes of the file: variables and programs are looked up in its environment, not in this one.
fn ask(file: &Path, places: &Places) -> Result<Option<Examined>, Trouble> {
    let file = std::path::absolute(file).context("cannot tell the file's full path")?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the async runtime")?;
    runtime.block_on(async {
        let Ok(client) = control::connect(&places.socket).await else { return Ok(None) };
        // An older daemon does not know the question.
        Ok(client.check(file).await.ok())
    })
}

fn examine(file: &Path, places: &Places) -> Result<Examined, Trouble> {
    match Config::load(file) {
        Ok(config) => Ok(config.examined(&secret::find(places, config.secret_names())?)),
        Err(LoadError::Problems { problems, .. }) => Ok(Examined { problems, ..Examined::default() }),
        Err(error @ LoadError::Read { .. }) => Err(Trouble::Other(error.into())),
    }
}
