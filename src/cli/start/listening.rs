//! Connects to a daemon that listens already.

use std::io;

use anyhow::Context;

use crate::ipc::{self, ClientStream, Reader, Signpost};
use crate::paths::Places;

/// Connects to the daemon, if one listens: where the running one says that it does, else at the place that follows from
/// this process's environment.
pub(in crate::cli) fn try_connect(places: &Places) -> anyhow::Result<Option<(Reader, ClientStream)>> {
    let followed = Signpost::follow(places.clone());
    let first = connect_to(&followed.socket)?;
    match first {
        None if followed.socket != places.socket => connect_to(&places.socket),
        first => Ok(first),
    }
}

fn connect_to(socket: &std::path::Path) -> anyhow::Result<Option<(Reader, ClientStream)>> {
    match ipc::connect_blocking(socket) {
        Ok(connected) => Ok(Some(connected)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot connect to {}", socket.display())),
    }
}
