//! The daemon itself: whether it runs, as which program, from which files, and as whose service.

use std::path::Path;

use crate::cli::doctor::finding::Finding;
use crate::cli::doctor::look::Look;
use crate::cli::service;
use crate::config::{Config, LoadError, located};
use crate::files;
use crate::ipc::Signpost;
use crate::processes;

pub(super) fn look(look: &Look<'_>) -> Vec<Finding> {
    let mut findings = vec![running(look)];
    findings.extend(config(look));
    findings.push(state(look));
    findings.push(service(look));
    findings.extend(orphans(look));
    findings
}

fn running(look: &Look<'_>) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    let Some(status) = &look.status else {
        return Finding::note(
            "daemon",
            format!("no daemon runs on {}", look.places.socket.display()),
            "nothing: an agent that attaches starts one, and so does `trunkline tools`",
        );
    };
    let what =
        format!("the daemon runs: version {}, pid {}, socket {}", status.version, status.pid, status.socket.display());
    if status.version != own || status.replaced.is_some() {
        let what = format!(
            "the daemon that runs is version {}, and this program is {own}, or was replaced since",
            status.version
        );
        let places = look.places.clone();
        return Finding::problem(
            "daemon",
            what,
            "trunkline shutdown   # agents come back with the new one by themselves",
        )
        .mended_by(move || {
            crate::cli::reach::stop_daemon(&places)?;
            Ok("the old daemon was ended; the next agent starts the new one".to_owned())
        });
    }
    Finding::good("daemon", what)
}

/// The file, as this program reads it; what the daemon makes of it, with its environment, is looked at with the servers.
fn config(look: &Look<'_>) -> Vec<Finding> {
    let path = &look.places.config;
    if !path.exists() {
        return vec![Finding::note(
            "config",
            format!("there is no configuration at {}", path.display()),
            "trunkline init   # or: trunkline import, trunkline add",
        )];
    }
    match Config::load(path) {
        Ok(config) if config.problems.is_empty() => {
            let count = config.servers.len();
            let s = if count == 1 { "" } else { "s" };
            vec![Finding::good("config", format!("the configuration {} is right: {count} server{s}", path.display()))]
        }
        Ok(config) => all(path, &config.problems),
        Err(LoadError::Problems { problems, .. }) => all(path, &problems),
        Err(error @ LoadError::Read { .. }) => {
            vec![Finding::problem("config", error.to_string(), format!("see who may read {}", path.display()))]
        }
    }
}

fn all(path: &Path, problems: &[crate::config::Problem]) -> Vec<Finding> {
    let problem = |line: String| {
        Finding::problem("config", line, format!("edit {}; `trunkline check` looks again", path.display()))
    };
    located(path, problems).into_iter().map(problem).collect()
}

fn state(look: &Look<'_>) -> Finding {
    let state = &look.places.state;
    let outdated = Signpost::read().filter(|found| found.socket != look.places.socket && look.places.is_default);
    match files::check_folder(state) {
        Err(error) => {
            let path = state.clone();
            Finding::problem("state", error.to_string(), format!("chmod go-w {}", state.display())).mended_by(
                move || {
                    #[cfg(unix)]
                    {
                        use std::os::unix::fs::PermissionsExt;
                        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))?;
                    }
                    Ok(format!("{} is yours alone", path.display()))
                },
            )
        }
        Ok(()) if outdated.is_some() => Finding::note(
            "state",
            "the daemon listens at another place than this shell would have it".to_owned(),
            "nothing: agents and commands follow the word that it left",
        ),
        Ok(()) => Finding::good("state", format!("the state folder {} is yours alone", state.display())),
    }
}

fn service(look: &Look<'_>) -> Finding {
    let standing = service::standing(look.places);
    match (standing.installed, standing.running, standing.notes.first()) {
        (false, _, _) => Finding::good("service", "no service is installed: agents start the daemon when they need it"),
        (true, true, None) => Finding::good("service", "the service is installed and runs"),
        (true, _, Some(note)) => Finding::problem("service", format!("service: {note}"), "trunkline service install"),
        (true, false, None) => {
            Finding::problem("service", "the service is installed, and does not run", "trunkline service install")
        }
    }
}

/// Processes of servers whose daemon is gone.
fn orphans(look: &Look<'_>) -> Option<Finding> {
    let pids = processes::marked(|mark| processes::is_gone(mark.daemon));
    if pids.is_empty() {
        return None;
    }
    let listed = pids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    let running = look.status.is_some();
    Some(Finding::problem(
        "orphans",
        format!("processes of a daemon that is gone still run: {listed}"),
        if running {
            format!("kill {listed}")
        } else {
            "trunkline tools   # a daemon ends what the last one left behind".to_owned()
        },
    ))
}
