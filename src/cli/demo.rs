//! `demo`: a daemon in a temporary folder, a few agents through the real socket and shim, and who shared what.

mod agent;
pub(super) mod server;

use std::io::{BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::cli::demo::agent::{Agent, Seen};
use crate::cli::done::{Done, out};
use crate::cli::table::table;
use crate::ipc;
use crate::paths::{Named, Places};
use crate::retry::Backoff;

const START_WAIT: Duration = Duration::from_secs(10);

/// How an agent of the demo connects.
#[derive(Debug, Clone, Copy)]
enum Way {
    Socket,
    Shim,
    ShimAll,
}

const AGENTS: [Way; 6] = [Way::Socket, Way::Socket, Way::Socket, Way::Shim, Way::Shim, Way::ShimAll];

impl Way {
    fn words(self) -> &'static str {
        match self {
            Self::Socket => "socket, one server",
            Self::Shim => "connect example",
            Self::ShimAll => "connect (all servers)",
        }
    }
}

/// A child process that does not outlive its owner.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // Fails only if it has ended, which is what is wanted.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

pub(super) fn run() -> Done {
    let folder =
        tempfile::Builder::new().prefix("trunkline-demo-").tempdir().context("cannot create a temporary folder")?;
    let places = places(folder.path())?;
    let mut daemon = start(&places)?;
    let mut out = out();
    writeln!(
        out,
        "A daemon (pid {}) with one server, and {} agents at work, all with the same request ids …\n",
        daemon.0.id(),
        AGENTS.len()
    )?;
    let agents: Vec<_> = AGENTS
        .into_iter()
        .zip(1..)
        .map(|(way, own)| {
            let places = places.clone();
            thread::spawn(move || work(&places, way, own))
        })
        .collect();
    let mut seen = Vec::new();
    for agent in agents {
        match agent.join() {
            Ok(result) => seen.push(result?),
            Err(_) => return Err(anyhow::anyhow!("an agent of the demo panicked").into()),
        }
    }
    let rows: Vec<_> =
        AGENTS.into_iter().zip(&seen).zip(1..).map(|((way, seen), number)| row(number, way, seen)).collect();
    table(&mut out, &["AGENT", "THROUGH", "SERVER PROCESS", "CALLS", "PROGRESS", "ONE CALL"], &rows)?;
    let mut pids: Vec<_> = seen.iter().map(|seen| seen.server_pid).collect();
    pids.sort_unstable();
    pids.dedup();
    let calls: u32 = seen.iter().map(|seen| seen.calls).sum();
    writeln!(
        out,
        "\n{calls} calls by {} agents, every answer at its owner, from {} server process{}; without trunkline: {}.",
        seen.len(),
        pids.len(),
        if pids.len() == 1 { "" } else { "es" },
        seen.len()
    )?;
    writeln!(out, "Next: `trunkline init` takes over the servers that your agents have; `trunkline add` adds one.")?;
    shut_down(&places, &mut daemon)?;
    folder.close().context("cannot remove the temporary folder")?;
    Ok(if pids.len() == 1 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn row(number: u32, way: Way, seen: &Seen) -> Vec<String> {
    vec![
        number.to_string(),
        way.words().to_owned(),
        seen.server_pid.to_string(),
        seen.calls.to_string(),
        format!("{} in order", seen.progress),
        format!("{} µs", seen.typical.as_micros()),
    ]
}

fn places(folder: &Path) -> anyhow::Result<Places> {
    let config = folder.join("config.toml");
    let own = std::env::current_exe().context("cannot tell where trunkline itself is")?;
    let own = toml_string(&own.display().to_string());
    std::fs::write(
        &config,
        format!("[servers.example]\ncommand = {own}\nargs = [\"demo-server\"]\nshare = \"all\"\n"),
    )?;
    let socket = if cfg!(windows) {
        format!(r"\\.\pipe\trunkline-demo-{}", std::process::id()).into()
    } else {
        folder.join("run/trunkline.sock")
    };
    let named = Named { config: Some(config), socket: Some(socket), state: Some(folder.join("state")) };
    Ok(Places::find(named)?)
}

/// A TOML basic string; JSON's escapes are a subset of TOML's.
fn toml_string(text: &str) -> String {
    crate::envelope::quoted(text)
}

fn trunkline(places: &Places, words: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot tell where trunkline itself is")?);
    command
        .args(words)
        .arg("--config")
        .arg(&places.config)
        .arg("--socket")
        .arg(&places.socket)
        .arg("--state-dir")
        .arg(&places.state);
    Ok(command)
}

fn start(places: &Places) -> anyhow::Result<Owned> {
    let mut command = trunkline(places, &["run"])?;
    command.env("TRUNKLINE_LOG", "error").stdin(Stdio::null()).stdout(Stdio::null());
    let mut daemon = Owned(command.spawn().context("cannot start the daemon")?);
    let mut backoff = Backoff::new(Duration::from_millis(2), Duration::from_millis(50), START_WAIT);
    while ipc::connect_blocking(&places.socket).is_err() {
        if let Some(status) = daemon.0.try_wait()? {
            bail!("the demo's daemon ended at once ({status})");
        }
        match backoff.pause() {
            Some(pause) => thread::sleep(pause),
            None => bail!("the demo's daemon does not listen after {START_WAIT:?}"),
        }
    }
    Ok(daemon)
}

fn work(places: &Places, way: Way, own: u32) -> anyhow::Result<Seen> {
    if let Way::Socket = way {
        let (replies, mut requests) = ipc::connect_blocking(&places.socket)?;
        requests.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"daemon.attach\",\"params\":{\"server\":\"example\",\"client\":\"demo\"}}\n")?;
        let agent = Agent { replies: BufReader::new(Box::new(replies)), requests, prefix: "", own };
        return agent.work();
    }
    let (words, prefix): (&[&str], _) =
        if let Way::Shim = way { (&["connect", "example"], "") } else { (&["connect"], "example__") };
    let mut command = trunkline(places, words)?;
    let mut shim =
        Owned(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start the shim")?);
    let (Some(requests), Some(replies)) = (shim.0.stdin.take(), shim.0.stdout.take()) else {
        bail!("the shim has no standard streams")
    };
    let agent = Agent { replies: BufReader::new(Box::new(replies)), requests, prefix, own };
    agent.work()
}

/// Ends the daemon as a user would, and waits for it.
fn shut_down(places: &Places, daemon: &mut Owned) -> anyhow::Result<()> {
    let status = trunkline(places, &["shutdown"])?.status().context("cannot run `trunkline shutdown`")?;
    if !status.success() {
        bail!("`trunkline shutdown` failed ({status})");
    }
    let ended = daemon.0.wait()?;
    if !ended.success() {
        bail!("the demo's daemon ended badly ({ended})");
    }
    Ok(())
}
