//! `check`: every problem of a configuration file, with its line.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::{Done, Trouble, secret};
use crate::config::{Config, LoadError, Problem};
use crate::paths::Places;

#[derive(Serialize)]
struct Checked<'a> {
    file: &'a Path,
    servers: usize,
    problems: &'a [Problem],
}

pub(super) fn run(file: &Path, places: &Places, json: bool) -> Done {
    let (servers, problems) = match Config::load(file) {
        Ok(config) => {
            let secrets = secret::find(places, config.secret_names())?;
            (config.servers.len(), config.unexpandable(&secrets))
        }
        Err(LoadError::Problems { problems, .. }) => (0, problems),
        Err(error @ LoadError::Read { .. }) => return Err(Trouble::Other(error.into())),
    };
    let mut out = io::stdout().lock();
    if json {
        let checked = Checked { file, servers, problems: &problems };
        writeln!(out, "{}", serde_json::to_string(&checked).map_err(anyhow::Error::from)?)?;
    } else if problems.is_empty() {
        writeln!(out, "{}: {servers} server{}, no problems", file.display(), if servers == 1 { "" } else { "s" })?;
    } else {
        let mut err = io::stderr().lock();
        for Problem { line, message } in &problems {
            writeln!(err, "{}:{line}: {message}", file.display())?;
        }
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
