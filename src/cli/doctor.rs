//! `doctor`: what is wrong with the set-up, each thing with the command that mends it.

mod agents;
mod daemon;
mod finding;
mod look;
mod machine;
mod report;
mod servers;

use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::doctor::finding::{Finding, Level};
use crate::cli::doctor::look::Look;
use crate::cli::done::{Done, Trouble, complain, out};
use crate::cli::progress::Progress;
use crate::cli::reach::{block_on, connect};
use crate::cli::table::wrapped;
use crate::config::Config;
use crate::control::{Client, DaemonClient};
use crate::paths::Places;
use crate::setup::Document;

/// What `doctor` is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doctor {
    /// Each server is started.
    pub tries: bool,
    /// What can be mended safely is.
    pub fix: bool,
    /// A text for a bug report is written.
    pub report: bool,
    pub json: bool,
}

pub(super) fn run(doctor: Doctor, places: &Places) -> Done {
    let progress = Progress::begin("looking at the set-up".to_owned());
    let findings = look_at(doctor, places)?;
    progress.end();
    let (look, mut findings) = findings;
    if doctor.fix {
        mend(&mut findings);
    }
    let bad = findings.iter().any(|finding| finding.level == Level::Problem);
    let code = if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    if doctor.report {
        write!(out(), "{}", report::text(&look, &findings))?;
        return Ok(code);
    }
    if doctor.json {
        writeln!(io::stdout(), "{}", serde_json::to_string(&findings).map_err(anyhow::Error::from)?)?;
        return Ok(code);
    }
    print(&findings)?;
    Ok(code)
}

fn look_at<'a>(doctor: Doctor, places: &'a Places) -> Result<(Look<'a>, Vec<Finding>), Trouble> {
    let config = Document::open(&places.config).map(|document| document.config());
    let config = config.unwrap_or_else(|_| Config::load(&places.config).unwrap_or_default());
    let (look, mut findings) = block_on(async {
        let client: Option<Client> = connect(places).await.ok();
        let status = match &client {
            Some(client) => client.status().await.ok(),
            None => None,
        };
        let environment = match &client {
            Some(client) => client.environment().await.ok(),
            None => None,
        };
        let look = Look { places, config, status, environment };
        let mut findings = daemon::look(&look);
        findings.extend(machine::look(&look).await);
        findings.extend(servers::look(&look, client.as_ref(), doctor.tries).await);
        Ok((look, findings))
    })?;
    // It reads the vault, on a runtime of its own.
    findings.extend(agents::look(&look));
    Ok((look, findings))
}

/// Does what is safe, and says so.
fn mend(findings: &mut [Finding]) {
    for finding in findings.iter_mut().filter(|finding| finding.level == Level::Problem) {
        let Some(mend) = finding.mend.take() else { continue };
        match mend() {
            Ok(done) => {
                complain(&format!("mended: {done}"));
                finding.level = Level::Good;
            }
            Err(error) => complain(&format!("could not mend \"{}\": {error:#}", finding.what)),
        }
    }
}

fn print(findings: &[Finding]) -> io::Result<()> {
    let mut out = out();
    for finding in findings {
        let mark = match finding.level {
            Level::Good => "ok  ",
            Level::Note => "note",
            Level::Problem => "BAD ",
        };
        let line = wrapped(&finding.what, "       ");
        writeln!(out, "  {mark} {}", line.trim_start())?;
        if let Some(fix) = finding.fix.as_ref().filter(|_| finding.level != Level::Good) {
            writeln!(out, "{}", wrapped(&format!("-> {fix}"), "       "))?;
        }
    }
    let count = |level: Level| findings.iter().filter(|finding| finding.level == level).count();
    let (problems, notes) = (count(Level::Problem), count(Level::Note));
    let one = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    writeln!(out, "\n{}, {}.", one(problems, "problem"), one(notes, "note"))
}
