//! The way to the daemon, for commands that ask it something.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use crate::cli::done::{Done, Trouble};
use crate::cli::start;
use crate::control::{self, Client, DaemonClient};
use crate::ipc::{self, Signpost};
use crate::paths::Places;
use crate::retry::Backoff;

/// How long a daemon may take to end; it gives its servers up before that.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(20);

/// The folder that the person works in, for servers to whom that matters.
pub(super) fn here() -> Option<PathBuf> {
    std::env::current_dir().ok()
}

/// Runs work that may wait.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the async runtime")?.block_on(work)
}

/// Runs `work` with a connection to the daemon.
pub(super) fn with_daemon(places: &Places, work: impl AsyncFnOnce(&Client) -> Done) -> Done {
    block_on(async { work(&connect(places).await?).await })
}

/// The same, where a daemon is started if none runs.
pub(super) fn with_started_daemon(places: &Places, work: impl AsyncFnOnce(&Client) -> Done) -> Done {
    let places = started(places)?;
    with_daemon(&places, work)
}

/// Where the daemon listens, once one runs.
pub(super) fn started(places: &Places) -> Result<Places, Trouble> {
    // Behind a socket that was named alone, a daemon is somebody else's to start.
    if !places.is_a_socket_alone() {
        drop(start::connect(places)?);
    }
    Ok(Signpost::follow(places.clone()))
}

pub(super) async fn connect(places: &Places) -> Result<Client, Trouble> {
    match control::connect(&places.socket).await {
        Ok(client) => Ok(client),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Err(Trouble::NoDaemon(places.socket.display().to_string()))
        }
        Err(error) => Err(Trouble::Other(
            anyhow::Error::new(error).context(format!("cannot connect to {}", places.socket.display())),
        )),
    }
}

/// Has a daemon that runs write what it still holds of the record, for those who read the file. Without one, all is there.
pub(super) fn flush_record(places: &Places) {
    let none = || None::<String>;
    let flushed = block_on(async {
        let client = connect(places).await?;
        // What is asked does not matter: the daemon writes before it reads.
        Ok(client.calls(none(), none(), none(), none(), none(), None, None, None, None, Some(1)).await?)
    });
    // A daemon that cannot be asked writes within half a second all the same.
    drop(flushed);
}

/// Ends the daemon, if one runs, and waits until it has.
pub(super) fn stop_daemon(places: &Places) -> Result<(), Trouble> {
    let places = Signpost::follow(places.clone());
    block_on(async {
        match connect(&places).await {
            Ok(client) => shutdown(&client, &places).await.map(drop),
            Err(Trouble::NoDaemon(_)) => Ok(()),
            Err(error) => Err(error),
        }
    })
}

/// Asks the daemon to end and waits until it and its servers have.
pub(super) async fn shutdown(client: &Client, places: &Places) -> Done {
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
