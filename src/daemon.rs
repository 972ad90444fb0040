//! The daemon: composes everything, owns every task, and ends in order.

mod guardian;
mod log;
mod person;
mod reload;
mod service;
mod upgrade;

pub use guardian::guard;
pub use log::FILE as LOG_FILE;
#[cfg(unix)]
pub use person::print as print_environment;
pub use person::{DETACHED, adopt, environment_file, login_shell};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::guardian::Guardian;
use crate::config::{Config, Watch, located};
use crate::control::{self, Api, Notice, ReloadRequest};
use crate::credentials::{Vault, hide_memory};
use crate::descriptors;
use crate::downstream::{self, Connection, Opened, Shutdown};
use crate::fault;
use crate::heap;
use crate::hub::{self, Hub, Services};
use crate::ipc::{self, AcceptError, Claim, ListenError, Listener, Signpost};
use crate::lines::{Lines, is_told};
use crate::masks::Masks;
use crate::oauth::Keepers;
use crate::paths::Places;
use crate::record::{self, Recorder};
use crate::retry::Backoff;
use crate::strangers::{Stranger, Strangers};
use crate::traces::Tracer;
use crate::upstream::Ledger;
use crate::wire::Budget;

/// How long calls in flight may go on when the daemon is told to end.
const GRACE: Duration = Duration::from_secs(5);
/// How long servers and agents have to end before the daemon leaves without them.
const DRAIN: Duration = Duration::from_secs(10);
/// A daemon never gives up accepting.
const ACCEPT_PATIENCE: Duration = Duration::from_secs(1 << 30);
/// Pauses after a failed accept: the first, and the longest.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How many callers may wait for a reload.
const RELOADS: usize = 16;
/// How many connections may be open that have not said yet what they are.
const STRANGERS: usize = 256;

/// Runs the daemon until it is told to stop, or a new program is to take over: that one is returned.
pub async fn run(places: &Places) -> anyhow::Result<Option<PathBuf>> {
    // Listens only once it can serve: a shim must not find a daemon that is about to fail.
    // Watched before it is read, so that no edit falls in between.
    let watch = Watch::new(&places.config);
    let config = reload::load(places)?;
    be_the_only_one(places)?;
    let (claim, socket) = claim(places)?;
    heap::keep_long_messages_apart();
    let log = prepare(places);
    let ledger = Ledger::open(&places.state)?;
    let guardian = guardian(places, &ledger);
    let servers = config.servers.len();
    let around = services(&config, places, ledger);
    let Services { tasks, stop, vault, keepers, recorder, tracer, .. } = around.clone();
    let hub = hub(config, around, places);
    tasks.spawn(remember_last_hour(hub.clone(), record::file(&places.state)));
    let listener = match socket {
        Some(socket) => Listener::adopt(claim, socket)?,
        None => Listener::bind(claim)?,
    };
    let signpost = put_up(places, listener.path());
    let (reload, requests) = mpsc::channel(RELOADS);
    let shutdown = CancellationToken::new();
    let api = Api {
        hub: hub.clone(),
        log,
        shutdown: shutdown.clone(),
        reload: reload.clone(),
        vault,
        keepers,
        started: Instant::now(),
        socket: listener.path().to_owned(),
        replaced: Notice::default(),
        config: places.config.clone(),
        record: record::file(&places.state),
    };
    let ends = Shutdown { drain: CancellationToken::new(), stop: stop.clone() };
    let signals = tasks.spawn(signals(shutdown.clone(), reload, stop.clone()));
    tasks.spawn(reload::keep(hub.clone(), places.clone(), watch, requests, stop.clone()));
    tasks.spawn(service::watchdog(stop.clone()));
    serve_http(&hub, places, &tasks, &ends);
    announce_start(&listener, servers);
    let new = upgrade::watch(hub.clone(), api.replaced.clone(), stop.clone());
    let new = tokio::select! {
        () = accept(&listener, &api, &tasks, &ends) => None,
        () = shutdown.cancelled() => None,
        Some(new) = new => Some(new),
    };
    // Where the service manager listens, it starts the new one with the next connection.
    let new = new.filter(|_| listener.is_own());
    announce_end(new.as_deref());
    // The socket goes before the servers do, so that a shim that loses its connection finds no half-dead daemon; the lock
    // stays to the end, so that the next daemon meets none of this one's servers.
    let lock = listener.lock();
    lock.unname();
    signpost.iter().for_each(Signpost::remove);
    drop(listener);
    ends.drain.cancel();
    hub.settle(GRACE).await;
    stop.cancel();
    drop((hub, api));
    wait_for_all(&tasks).await;
    drop(signals.await);
    // What it has not written yet is in its memory.
    drop(tokio::task::spawn_blocking(move || (recorder.close(), tracer.close())).await);
    guardian.into_iter().for_each(Guardian::dismiss);
    drop(lock);
    Ok(new)
}

/// Counts for `status` what an earlier daemon has recorded of the last hour.
async fn remember_last_hour(hub: Arc<Hub>, file: PathBuf) {
    let read = move || record::Reader::open(&file).and_then(|reader| reader.last_hour());
    // Where nothing can be read, there is nothing to count.
    let Ok(Ok(all)) = tokio::task::spawn_blocking(read).await else { return };
    for (name, minutes) in all {
        if let Ok(server) = hub.server(&name) {
            server.tally().add_earlier(minutes.into_iter());
        }
    }
}

/// What the hub and its servers live in.
fn services(config: &Config, places: &Places, ledger: Ledger) -> Services {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let vault = Vault::open(&places.state);
    let recorder = Recorder::new(record::file(&places.state), config.record.calls, hub::limits(config));
    Services {
        keepers: Keepers::new(vault.clone(), tasks.clone(), stop.clone()),
        tasks,
        stop,
        ledger,
        state: places.state.clone(),
        vault,
        budget: Budget::new(config.daemon.max_memory.0),
        recorder,
        masks: Masks::default(),
        tracer: Tracer::from_environment(),
    }
}

/// The hub for a configuration; what is wrong with the file is told.
fn hub(config: Config, around: Services, places: &Places) -> Arc<Hub> {
    let problems = located(&places.config, &config.problems);
    let hub = Hub::new(config, around);
    hub.note_problems(problems);
    hub
}

/// Fails if the user's daemon runs already, wherever it listens.
fn be_the_only_one(places: &Places) -> Result<(), ListenError> {
    let running = if places.is_default { Signpost::read() } else { None };
    match running.filter(|running| running.pid != std::process::id()) {
        Some(Signpost { socket: path, pid, .. }) => Err(ListenError::AlreadyRunning { path, pid: pid.to_string() }),
        None => Ok(()),
    }
}

/// Sets the process up: its log, which is returned, where its faults go, its memory, and how much it may have open.
fn prepare(places: &Places) -> Lines {
    let log = log::start(&places.logs().join(log::FILE));
    fault::log_all();
    keep_memory_to_itself();
    if let Err(error) = descriptors::raise() {
        tracing::warn!(%error, "the limit on open files is not raised: there is room for fewer agents");
    }
    log
}

fn keep_memory_to_itself() {
    if let Err(error) = hide_memory() {
        tracing::warn!(%error, "other processes of yours may look into this one's memory, where tokens are");
    }
}

async fn wait_for_all(tasks: &TaskTracker) {
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!(left = tasks.len(), "gave up waiting for what still runs");
    }
}

fn announce_start(listener: &Listener, servers: usize) {
    tracing::info!(pid = std::process::id(), socket = %listener.path().display(), servers, "trunkline is up");
    service::ready();
    release_starter();
}

fn announce_end(new: Option<&Path>) {
    match new {
        None => {
            tracing::info!("shutting down");
            service::stopping();
        }
        Some(program) => {
            tracing::info!(program = %program.display(), "giving way to the new program");
            service::reloading();
        }
    }
}

/// Says where the user's daemon is, unless this is another one beside it.
/// Only where a `kill -9` would leave something behind that is known.
fn guardian(places: &Places, ledger: &Ledger) -> Option<Guardian> {
    let start = || Guardian::start(places, ledger);
    let started = cfg!(target_os = "linux").then(start)?;
    started
        .inspect_err(
            |error| tracing::warn!(%error, "what a kill of the daemon leaves behind ends with the next one only"),
        )
        .ok()
}

fn put_up(places: &Places, socket: &Path) -> Option<Signpost> {
    let signpost = places.is_default.then(|| Signpost::of_this(places, socket))?;
    match signpost.put() {
        Ok(()) => Some(signpost),
        Err(error) => {
            tracing::warn!(%error, "agents that are given little of the environment may not find this daemon");
            None
        }
    }
}

/// Lets the shim go that waits for this daemon to be up.
fn release_starter() {
    #[cfg(unix)]
    if std::env::var_os(DETACHED).is_some()
        && let Ok(nothing) = std::fs::File::options().write(true).open("/dev/null")
        && let Err(error) = rustix::stdio::dup2_stdout(nothing)
    {
        tracing::debug!(%error, "standard output stays open");
    }
}

/// Serves agents over HTTP too, where the configuration asks for it.
fn serve_http(hub: &Arc<Hub>, places: &Places, tasks: &TaskTracker, ends: &Shutdown) {
    let Some(face) = hub.config().http.clone() else { return };
    let (hub, state, all, ends) = (hub.clone(), places.state.clone(), tasks.clone(), ends.clone());
    tasks.spawn(async move { downstream::serve_http(hub, face, &state, all, ends).await });
}

/// The right to listen, and the socket to listen on if the service manager made one.
#[cfg(unix)]
fn claim(places: &Places) -> anyhow::Result<(Claim, Option<std::os::unix::net::UnixListener>)> {
    let socket = ipc::activated().context("the socket that the service manager passed on is of no use")?;
    let address = socket.as_ref().and_then(|socket| socket.local_addr().ok());
    let path = address.as_ref().and_then(|address| address.as_pathname()).unwrap_or(&places.socket);
    Ok((Claim::new(path)?, socket))
}

#[cfg(windows)]
fn claim(places: &Places) -> anyhow::Result<(Claim, Option<std::convert::Infallible>)> {
    Ok((Claim::new(&places.socket)?, None))
}

async fn accept(listener: &Listener, api: &Api, tasks: &TaskTracker, ends: &Shutdown) {
    let fresh = || Backoff::new(ACCEPT_PAUSE.0, ACCEPT_PAUSE.1, ACCEPT_PATIENCE);
    let mut backoff = fresh();
    let (mut foreign, mut turned_away) = (0, 0);
    let (strangers, places) = (Strangers::new(STRANGERS), Arc::new(Semaphore::new(descriptors::for_agents())));
    loop {
        match listener.accept().await {
            Ok((read, write, peer)) => {
                backoff = fresh();
                let Ok(place) = places.clone().try_acquire_owned() else {
                    turned_away += 1;
                    if is_told(turned_away) {
                        tracing::warn!(count = turned_away, "connection refused: as many are open as may be");
                    }
                    continue;
                };
                let connection = Connection::new(&api.hub, read, write, peer, ends.stop.child_token());
                let (stranger, api, ends) = (strangers.admit(), api.clone(), ends.clone());
                tasks.spawn(async move {
                    connection_task(connection, stranger, api, ends).await;
                    drop(place);
                });
                // So that one that says at once what it is does not go for those that come behind it.
                tokio::task::yield_now().await;
            }
            Err(error @ AcceptError::Foreign(_)) => {
                foreign += 1;
                if is_told(foreign) {
                    tracing::warn!(%error, count = foreign, "connection refused");
                }
            }
            Err(AcceptError::Io(error)) => {
                let pause = backoff.pause().unwrap_or(ACCEPT_PAUSE.1);
                tracing::warn!(%error, ?pause, "cannot accept a connection");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

async fn connection_task(mut connection: Connection, stranger: Stranger, api: Api, ends: Shutdown) {
    let cut = connection.account.cut().clone();
    let opened = tokio::select! {
        opened = downstream::open(&mut connection, &api.hub, &stranger) => opened,
        () = ends.drain.cancelled() => return,
        () = cut.cancelled() => return,
    };
    drop(stranger);
    match opened {
        Opened::Agent { view, agent, attach_id, first } => {
            downstream::serve(api.hub, connection, view, agent, attach_id, first, ends).await;
        }
        Opened::Control { first } => {
            control::serve(api, connection.frames, connection.write, first, &connection.account).await;
        }
        Opened::Refused { error } => downstream::refuse(&mut connection.write, &error).await,
        Opened::Silent => {}
    }
}

#[cfg(unix)]
async fn signals(shutdown: CancellationToken, reload: mpsc::Sender<ReloadRequest>, stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let all = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()));
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = all else {
        tracing::error!("cannot listen for signals: stop the daemon with `trunkline shutdown`");
        return;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => shutdown.cancel(),
            _ = interrupt.recv() => shutdown.cancel(),
            // What comes of it stands in the log; if the queue is full, a reload is about to happen anyway.
            _ = hangup.recv() => drop(reload.try_send(oneshot::channel().0)),
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(windows)]
async fn signals(shutdown: CancellationToken, _reload: mpsc::Sender<ReloadRequest>, stop: CancellationToken) {
    tokio::select! {
        _ = tokio::signal::ctrl_c() => shutdown.cancel(),
        () = stop.cancelled() => {}
    }
}

/// Runs the daemon on a runtime of one thread: it moves bytes and waits, and a hop between threads costs more than
/// both. The thread lives as long as the daemon, as the children's parent must.
pub fn run_blocking(places: &Places) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the async runtime")?;
    let result = runtime.block_on(run(places));
    runtime.shutdown_timeout(Duration::from_secs(1));
    if let Some(program) = result? {
        return Err(upgrade::become_new(&program)).with_context(|| format!("cannot start {}", program.display()));
    }
    Ok(())
}
