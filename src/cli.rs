//! The commands.

mod add;
mod args;
mod ask;
mod attach;
mod call;
mod calls;
mod candidates;
mod check;
mod completions;
mod connect;
mod dashboard;
mod demo;
mod diff;
mod doctor;
mod done;
mod figures;
mod import;
mod init;
mod login;
mod logs;
mod man;
mod probe;
mod progress;
mod reach;
mod recording;
mod report;
mod secret;
mod service;
mod shim_args;
mod start;
mod stats;
mod table;
mod take_over;
mod tools;
mod uninstall;
mod watch;
mod why;

use std::io::{self};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use jsonrpsee::core::client::Error as RpcError;

use crate::cli::args::{Args, Command, Lifecycle, Look, OneCall, Program, ServiceCommand, SetUp};
use crate::cli::ask::Consent;
use crate::cli::done::{Done, Trouble, complain, complain_in_json, go_on_unread};
use crate::cli::reach::{with_daemon, with_started_daemon};
use crate::cli::shim_args::ShimArgs;
use crate::control::{Client, DaemonClient};
use crate::daemon;
use crate::files;
use crate::ipc::Signpost;
use crate::paths::Places;
use crate::setup::Edits;
use connect::Attach;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let find = |named| Places::find(named).map_err(|error| Trouble::Other(error.into()));
    let mut json = false;
    let result = match ShimArgs::from_process() {
        Some(shim) => find(shim.places())
            .and_then(|places| connect::run(&places, Attach::new(shim.server, shim.profile, shim.client))),
        None => {
            completions::answer();
            let args = Args::parse();
            json = args.json;
            find(args.places()).and_then(|places| {
                if matches!(args.command, Command::Run) {
                    daemon::adopt(&places.config);
                }
                run(&args, places)
            })
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
            if json {
                complain_in_json(&text, code)
            } else {
                complain(&text)
            }
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
            | Command::Daemonize { .. }
            | Command::PrintEnvironment
            | Command::SetUp(SetUp::Completions { .. } | SetUp::ManPages { .. } | SetUp::Doctor { .. })
    );
    note_running_configuration(args, &own);
    if !keeps_nothing {
        files::check_folder(&places.state).map_err(|error| Trouble::Other(error.into()))?;
    }
    match &args.command {
        Command::Run => daemon::run_blocking(places).map(|()| ExitCode::SUCCESS).map_err(Trouble::Other),
        Command::Connect { server, client, profile } => {
            connect::run(places, Attach::new(server.clone(), profile.clone(), client.clone()))
        }
        Command::Daemonize { words } => daemonize(words),
        #[cfg(unix)]
        Command::PrintEnvironment => Ok(daemon::print_environment().map(|()| ExitCode::SUCCESS)?),
        #[cfg(windows)]
        Command::PrintEnvironment => Ok(ExitCode::FAILURE),
        Command::Guard { daemon } => Ok(daemon::guard(&places.state, *daemon)),
        Command::Demo => demo::run(),
        Command::DemoServer => Ok(demo::server::run()?),
        Command::Check { file } => check::run(file.as_deref().unwrap_or(&places.config), places, args.json),
        Command::Login { server, from: Some(Program::Codex), .. } => {
            with_started_daemon(&own, async |client| login::take_over_from_codex(client, server).await)
        }
        Command::Login { server, no_browser, from: None } => {
            let browser = if *no_browser { login::Browser::None } else { login::Browser::Open };
            with_started_daemon(&own, async |client| login::run(client, server, browser).await)
        }
        Command::Logout { server } => with_daemon(places, async |client| login::end(client, server).await),
        Command::Secret { command } => secret::run(command, places, args.json),
        Command::Status { server, watch } => status(server.as_deref(), *watch, &own, places, args.json),
        Command::Lifecycle(step) => lifecycle(step, &own, places, args.json),
        Command::Tools { server, cost: true, .. } => {
            stats::cost(server.as_deref(), &places.config, &places.state, args.json)
        }
        Command::Tools { server, tool, cost: false } => with_started_daemon(&own, async |client| {
            tools::run(client, server.clone(), tool.as_deref(), args.json).await
        }),
        Command::Call { server, tool, arguments, interactive } => {
            let arguments = call::arguments(arguments)?;
            with_started_daemon(&own, async |client| {
                call::run(client, server, tool, arguments, *interactive, args.json).await
            })
        }
        Command::Logs { server, follow, lines, since } => {
            let (server, since) = (server.as_deref(), since.as_deref());
            logs::run(&logs::Logs { server, lines: *lines, since, follow: *follow, json: args.json }, places)
        }
        Command::Look(look) => run_look(look, args, &own, places),
        Command::SetUp(set_up) => run_set_up(set_up, args, places),
    }
}

/// The daemon's state, or one server's; once, or until interrupted.
fn status(server: Option<&str>, watch: bool, own: &Places, places: &Places, json: bool) -> Done {
    let show = || {
        with_daemon(places, async |client| {
            let status = client.status().await?;
            note_other_configuration(own, &status.config);
            match server {
                Some(server) => report::server(&status, server, json),
                None => report::status(&status, json),
            }
        })
    };
    if watch { report::watch(show) } else { show() }
}

/// Starting, stopping, reading the configuration again.
fn lifecycle(step: &Lifecycle, own: &Places, places: &Places, json: bool) -> Done {
    match step {
        Lifecycle::Start { server } => with_started_daemon(own, async |client| {
            up(client, client.start(server.clone()).await, "started", server).await
        }),
        Lifecycle::Stop { server } => with_daemon(places, async |client| {
            done(client.stop(server.clone()).await, "stopped, until `trunkline start`", server)
        }),
        Lifecycle::Restart { server } => with_started_daemon(own, async |client| {
            up(client, client.restart(server.clone()).await, "restarted", server).await
        }),
        Lifecycle::Reload => with_daemon(places, async |client| {
            let reloaded = client.reload().await?;
            if own.config_named && !own.is_default {
                note_other_configuration(own, &client.status().await?.config);
            }
            report::reloaded(&reloaded, json)
        }),
        Lifecycle::Shutdown => with_daemon(places, async |client| reach::shutdown(client, places).await),
    }
}

/// The commands that show what goes on.
fn run_look(look: &Look, args: &Args, own: &Places, places: &Places) -> Done {
    if matches!(look, Look::Calls { .. } | Look::Stats { .. }) {
        reach::flush_record(places);
    }
    match look {
        Look::Calls { one: Some(OneCall::Show { id }), .. } => calls::show(*id, &places.state, args.json),
        Look::Calls { one: None, which, slow, follow, limit } => {
            let (slow, follow, limit, json) = (slow.as_deref(), *follow, *limit, args.json);
            calls::run(&calls::Calls { which, slow, follow, limit, json }, &places.config, &places.state)
        }
        Look::Stats { by, which } => stats::run(*by, which, &places.config, &places.state, args.json),
        Look::Why { server } => with_started_daemon(own, async |client| why::run(client, server, args.json).await),
        Look::Record { server, agent, output } => {
            let places = reach::started(own)?;
            recording::record(&places, server.as_deref(), agent.as_deref(), output)
        }
        Look::Replay { file } => recording::replay(file),
        Look::Diff { one, other } => recording::compare(one, other),
        Look::Watch => {
            let places = reach::started(own)?;
            with_daemon(&places, async |client| watch::run(client).await)
        }
        Look::Dashboard { no_open } => {
            let places = reach::started(own)?;
            reach::block_on(async { dashboard::run(reach::connect(&places).await?, !no_open).await })
        }
    }
}

/// The commands that change what stands around the daemon.
fn run_set_up(set_up: &SetUp, args: &Args, places: &Places) -> Done {
    go_on_unread();
    match set_up {
        SetUp::Init { agents, common, no_service } => {
            let (consent, dry_run) = (Consent::of(common.yes), common.dry_run);
            init::run(init::Init { agents, consent, dry_run, service: !no_service }, places)
        }
        SetUp::Uninstall { common, keep_config, keep_state } => {
            let (consent, dry_run) = (Consent::of(common.yes), common.dry_run);
            let uninstall =
                uninstall::Uninstall { consent, dry_run, keep_config: *keep_config, keep_state: *keep_state };
            uninstall::run(uninstall, places)
        }
        SetUp::Import { servers, from, common } => {
            let (consent, dry_run) = (Consent::of(common.yes), common.dry_run);
            import::run(&import::Import { servers, from, consent, dry_run, json: args.json }, places)
        }
        SetUp::Attach { agent, server, profile, file, name, replace, common } => {
            let attach = attach::Attach {
                agent,
                server: server.as_deref(),
                profile: profile.as_deref(),
                file: file.as_deref(),
                name: name.as_deref(),
                replace: *replace,
                consent: Consent::of(common.yes),
                dry_run: common.dry_run,
            };
            attach::run(&attach, places)
        }
        SetUp::Detach { words, .. } if !words.is_empty() => daemonize(words),
        SetUp::Detach { agent, file, keep_edits, common, .. } => {
            let agent = agent.as_deref().unwrap_or_default();
            let edits = if *keep_edits { Edits::Keep } else { Edits::Refuse };
            let (consent, dry_run) = (Consent::of(common.yes), common.dry_run);
            attach::detach(&attach::Detach { agent, file: file.as_deref(), edits, consent, dry_run }, places)
        }
        SetUp::Add { name, url, command, env, headers, share, registry, no_try, common } => {
            let add = add::Add {
                name: name.as_deref(),
                url: url.as_deref(),
                command,
                env,
                headers,
                share: share.as_deref(),
                registry,
                tries: !no_try,
                consent: Consent::of(common.yes),
                dry_run: common.dry_run,
                json: args.json,
            };
            add::run(&add, places)
        }
        SetUp::Remove { server, dry_run } => add::remove(server, places, *dry_run),
        SetUp::Service { command } => match command {
            ServiceCommand::Install { common } => service::install(places, Consent::of(common.yes), common.dry_run),
            ServiceCommand::Uninstall { dry_run } => service::uninstall(places, *dry_run),
            ServiceCommand::Status => service::status(places, args.json),
        },
        SetUp::Doctor { tries, fix, report } => {
            doctor::run(doctor::Doctor { tries: *tries, fix: *fix, report: *report, json: args.json }, places)
        }
        SetUp::Completions { shell } => completions::print(shell),
        SetUp::ManPages { folder } => man::write(folder),
    }
}

/// Says that a command will ask a daemon of another configuration than the one that is named.
fn note_running_configuration(args: &Args, own: &Places) {
    let is_for_a_daemon = matches!(
        args.command,
        Command::Lifecycle(_)
            | Command::Tools { .. }
            | Command::Call { .. }
            | Command::Login { .. }
            | Command::Logs { .. }
    );
    if let Some(running) = Signpost::read().filter(|_| is_for_a_daemon && own.is_default) {
        note_other_configuration(own, &running.config);
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

/// The step between a shim and the daemon that it starts.
fn daemonize(words: &[std::ffi::OsString]) -> Done {
    #[cfg(unix)]
    return start::detach::run(words);
    #[cfg(windows)]
    Err(Trouble::Other(anyhow::anyhow!("{words:?}: no such step on Windows")))
}

/// Says that a server was started, or that it only may: one that works for a project waits for an agent that names one.
async fn up(client: &Client, result: Result<(), RpcError>, what: &str, server: &str) -> Done {
    result?;
    let servers = client.servers().await?;
    let runs = servers.iter().any(|found| found.name == server && !found.instances.is_empty());
    if runs {
        complain(&format!("`{server}` {what}"));
    } else {
        complain(&format!(
            "`{server}` may start, and does so with the next request for it: `trunkline tools {server}` makes one"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what was done.
fn done(result: Result<(), RpcError>, what: &str, server: &str) -> Done {
    result?;
    complain(&format!("`{server}` {what}"));
    Ok(ExitCode::SUCCESS)
}
