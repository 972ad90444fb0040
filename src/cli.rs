//! The commands.

mod args;
mod call;
mod check;
mod connect;
mod demo;
mod done;
mod login;
mod logs;
mod report;
mod secret;
mod shim_args;
mod start;

use std::io::{self};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use jsonrpsee::core::client::Error as RpcError;

use crate::cli::args::{Args, Command, Program};
use crate::cli::done::{Done, Trouble, complain};
use crate::cli::shim_args::ShimArgs;
use crate::control::{self, Client, DaemonClient};
use crate::daemon;
use crate::files;
use crate::ipc::{self, Signpost};
use crate::paths::Places;
use crate::retry::Backoff;
use connect::Attach;

/// How long a daemon may take to end; it gives its servers up before that.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(20);

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let find = |named| Places::find(named).map_err(|error| Trouble::Other(error.into()));
    let result = match ShimArgs::from_process() {
        Some(shim) => find(shim.places())
            .and_then(|places| connect::run(&places, Attach::new(shim.server, shim.profile, shim.client))),
        None => {
            let args = Args::parse();
            if matches!(args.command, Command::Run) {
                daemon::adopt();
            }
            find(args.places()).and_then(|places| run(&args, places))
        }
    };
    match result {
        Ok(code) => code,
        // The reader of our output went away; that is its business.
        Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(trouble) => {
            let code = match trouble {
                Trouble::NoDaemon(_) => 3,
                Trouble::NeedsLogin(_) => 4,
                Trouble::Daemon(_) | Trouble::Output(_) | Trouble::Other(_) => 1,
            };
            let text = match trouble {
                Trouble::Other(error) => format!("{error:#}"),
                Trouble::NoDaemon(_) | Trouble::Daemon(_) | Trouble::NeedsLogin(_) | Trouble::Output(_) => {
                    trouble.to_string()
                }
            };
            complain(&text);
            ExitCode::from(code)
        }
    }
}

fn run(args: &Args, own: Places) -> Done {
    // What the running daemon says of its places counts for all that ask for it, or for what it keeps.
    let followed = Signpost::follow(own.clone());
    let places = if matches!(args.command, Command::Run | Command::Connect { .. }) { &own } else { &followed };
    // `connect` looks itself, to tell its agent; the others keep nothing.
    let keeps_nothing = matches!(
        args.command,
        Command::Connect { .. }
            | Command::Demo
            | Command::DemoServer
            | Command::Detach { .. }
            | Command::PrintEnvironment
    );
    if !keeps_nothing {
        files::check_folder(&places.state).map_err(|error| Trouble::Other(error.into()))?;
    }
    match &args.command {
        Command::Run => daemon::run_blocking(places).map(|()| ExitCode::SUCCESS).map_err(Trouble::Other),
        Command::Connect { server, client, profile } => {
            connect::run(places, Attach::new(server.clone(), profile.clone(), client.clone()))
        }
        #[cfg(unix)]
        Command::Detach { words } => start::detach::run(words),
        #[cfg(unix)]
        Command::PrintEnvironment => Ok(daemon::print_environment().map(|()| ExitCode::SUCCESS)?),
        #[cfg(windows)]
        Command::Detach { .. } | Command::PrintEnvironment => Ok(ExitCode::FAILURE),
        Command::Guard { daemon } => Ok(daemon::guard(&places.state, daemon)),
        Command::Demo => demo::run(),
        Command::DemoServer => Ok(demo::server::run()?),
        Command::Check { file } => check::run(file.as_deref().unwrap_or(&places.config), places, args.json),
        Command::Login { server, from: Some(Program::Codex), .. } => {
            with_daemon(places, async |client| login::take_over_from_codex(client, server).await)
        }
        Command::Login { server, no_browser, from: None } => {
            let browser = if *no_browser { login::Browser::None } else { login::Browser::Open };
            with_daemon(places, async |client| login::run(client, server, browser).await)
        }
        Command::Logout { server } => with_daemon(places, async |client| login::end(client, server).await),
        Command::Secret { command } => secret::run(command, places, args.json),
        Command::Status { watch: false } => with_daemon(places, async |client| {
            let status = client.status().await?;
            note_other_configuration(&own, &status.config);
            report::status(&status, args.json)
        }),
        Command::Status { watch: true } => {
            report::watch(|| with_daemon(places, async |client| report::status(&client.status().await?, args.json)))
        }
        Command::Start { server } => with_daemon(places, async |client| done(client.start(server.clone()).await)),
        Command::Stop { server } => with_daemon(places, async |client| done(client.stop(server.clone()).await)),
        Command::Restart { server } => with_daemon(places, async |client| done(client.restart(server.clone()).await)),
        Command::Reload => with_daemon(places, async |client| {
            let reloaded = client.reload().await?;
            if own.config_named {
                note_other_configuration(&own, &client.status().await?.config);
            }
            report::reloaded(&reloaded, args.json)
        }),
        Command::Tools { server } => with_daemon(places, async |client| {
            report::tools(&client.list_tools(server.clone(), here()).await?, args.json)
        }),
        Command::Call { server, tool, arguments } => {
            let arguments = call::arguments(arguments)?;
            with_daemon(places, async |client| {
                call::print(&client.call_tool(server.clone(), tool.clone(), arguments, here()).await?, args.json)
            })
        }
        Command::Logs { server, follow, lines } => {
            with_daemon(places, async |client| logs::run(client, server.clone(), *lines, *follow, args.json).await)
        }
        Command::Shutdown => with_daemon(places, async |client| shutdown(client, places).await),
    }
}

/// Says that the daemon's configuration is another one than a person has named.
fn note_other_configuration(own: &Places, running: &Path) {
    let whole = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if own.config_named && whole(&own.config) != whole(running) {
        let (named, running) = (own.config.display(), running.display());
        complain(&format!(
            "the daemon that runs has the configuration {running}, and not {named}: name its own socket too (--socket, --state-dir) for a daemon of that one"
        ));
    }
}

fn done(result: Result<(), RpcError>) -> Done {
    result?;
    Ok(ExitCode::SUCCESS)
}

/// The folder that the person works in, for servers to whom that matters.
fn here() -> Option<PathBuf> {
    std::env::current_dir().ok()
}

/// Runs `work` with a connection to the daemon.
fn with_daemon(places: &Places, work: impl AsyncFnOnce(&Client) -> Done) -> Done {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the async runtime")?;
    runtime.block_on(async {
        let client = match control::connect(&places.socket).await {
            Ok(client) => client,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Err(Trouble::NoDaemon(places.socket.display().to_string()));
            }
            Err(error) => {
                return Err(Trouble::Other(
                    anyhow::Error::new(error).context(format!("cannot connect to {}", places.socket.display())),
                ));
            }
        };
        work(&client).await
    })
}

/// Asks the daemon to end and waits until it and its servers have.
async fn shutdown(client: &Client, places: &Places) -> Done {
    let holder = || ipc::holder(&places.socket).map_err(anyhow::Error::from);
    let before = holder()?;
    client.shutdown().await?;
    client.on_disconnect().await;
    let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(50), SHUTDOWN_WAIT);
    // An agent that wants something has the next one started at once: that one is not waited for.
    while holder()?.is_some_and(|now| now.is_empty() || Some(now) == before) {
        match backoff.pause() {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(Trouble::Daemon(format!("the daemon has not ended after {SHUTDOWN_WAIT:?}"))),
        }
    }
    Ok(ExitCode::SUCCESS)
}
