//! The daemon: composes everything, owns every task, and ends in order.

mod log;

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, LoadError};
use crate::control::{self, Api};
use crate::downstream::{self, Connection, Opened};
use crate::hub::Hub;
use crate::ipc::{AcceptError, Listener};
use crate::paths::Places;
use crate::retry::Backoff;
use crate::wire::Frames;

/// How long servers and agents have to end before the daemon leaves without them.
const DRAIN: Duration = Duration::from_secs(10);
/// A daemon never gives up accepting.
const ACCEPT_PATIENCE: Duration = Duration::from_secs(1 << 30);
/// Pauses after a failed accept: the first, and the longest.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Runs the daemon until it is told to stop.
pub async fn run(places: &Places) -> anyhow::Result<()> {
    // Listens only once it can serve: a shim must not find a daemon that is about to fail.
    let config = load(places)?;
    let listener = Listener::bind(&places.socket)?;
    let log = log::start();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let hub = Hub::new(&config, &tasks, &stop);
    let api = Api {
        hub: hub.clone(),
        log,
        shutdown: CancellationToken::new(),
        started: Instant::now(),
        socket: places.socket.clone(),
        config: places.config.clone(),
    };
    let shutdown = api.shutdown.clone();
    let signals = tasks.spawn(signals(shutdown.clone(), stop.clone()));
    tracing::info!(pid = std::process::id(), socket = %places.socket.display(), servers = config.servers.len(), "trunkline is up");
    let max_frame = config.daemon.max_frame.0;
    tokio::select! {
        () = accept(&listener, &api, max_frame, &tasks, &stop) => {}
        () = shutdown.cancelled() => {}
    }
    tracing::info!("shutting down");
    // The socket goes before the servers do, so that a shim that loses its connection finds no half-dead daemon; the lock
    // stays to the end, so that the next daemon meets none of this one's servers.
    let _lock = listener.lock();
    drop(listener);
    stop.cancel();
    drop((hub, api));
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!(left = tasks.len(), "gave up waiting for what still runs");
    }
    drop(signals.await);
    Ok(())
}

/// The configuration; a missing file in the usual place counts as an empty one.
fn load(places: &Places) -> anyhow::Result<Config> {
    match Config::load(&places.config) {
        Err(LoadError::Read { error, .. }) if error.kind() == std::io::ErrorKind::NotFound && !places.config_named => {
            Ok(Config::default())
        }
        loaded => Ok(loaded?),
    }
}

async fn accept(listener: &Listener, api: &Api, max_frame: usize, tasks: &TaskTracker, stop: &CancellationToken) {
    let fresh = || Backoff::new(ACCEPT_PAUSE.0, ACCEPT_PAUSE.1, ACCEPT_PATIENCE);
    let mut backoff = fresh();
    loop {
        match listener.accept().await {
            Ok((read, write, peer)) => {
                backoff = fresh();
                let connection = Connection { frames: Frames::new(read, max_frame), write, peer };
                tasks.spawn(connection_task(connection, api.clone(), stop.clone()));
            }
            Err(error @ AcceptError::Foreign(_)) => tracing::warn!(%error, "connection refused"),
            Err(AcceptError::Io(error)) => {
                let pause = backoff.pause().unwrap_or(ACCEPT_PAUSE.1);
                tracing::warn!(%error, ?pause, "cannot accept a connection");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

async fn connection_task(mut connection: Connection, api: Api, stop: CancellationToken) {
    let opened = tokio::select! {
        opened = downstream::open(&mut connection) => opened,
        () = stop.cancelled() => return,
    };
    match opened {
        Opened::Agent { view, agent, attach_id, first } => {
            downstream::serve(api.hub, connection, view, agent, attach_id, first, stop).await;
        }
        Opened::Control { first } => control::serve(api, connection.frames, connection.write, first, stop).await,
        Opened::Refused { error } => downstream::refuse(&mut connection.write, &error).await,
        Opened::Silent => {}
    }
}

#[cfg(unix)]
async fn signals(shutdown: CancellationToken, stop: CancellationToken) {
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
            _ = hangup.recv() => tracing::info!("SIGHUP changes nothing: restart the daemon to read its configuration again"),
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(windows)]
async fn signals(shutdown: CancellationToken, stop: CancellationToken) {
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
    result
}
