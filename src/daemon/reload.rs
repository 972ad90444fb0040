//! Reads the configuration again: when the file changes, on SIGHUP, and when somebody asks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::service;
use crate::config::{CannotWatch, Config, LoadError, Watch, located};
use crate::control::ReloadRequest;
use crate::hub::{Hub, Reloaded};
use crate::paths::Places;

/// How long what the watcher took counts as what somebody asks for.
const RECENT: Duration = Duration::from_secs(10);

/// The configuration; a missing file in the usual place counts as an empty one.
pub(super) fn load(places: &Places) -> Result<Config, LoadError> {
    match Config::load(&places.config) {
        Err(LoadError::Read { error, .. }) if error.kind() == std::io::ErrorKind::NotFound && !places.config_named => {
            Ok(Config::default())
        }
        loaded => loaded,
    }
}

/// The one task that reloads, so that no two reloads overlap.
pub(super) async fn keep(
    hub: Arc<Hub>,
    places: Places,
    watch: Result<Watch, CannotWatch>,
    mut requests: mpsc::Receiver<ReloadRequest>,
    stop: CancellationToken,
) {
    let mut watch = match watch {
        Ok(watch) => Some(watch),
        Err(error) => {
            tracing::warn!(%error, "cannot watch the configuration: tell of changes with `trunkline reload`");
            None
        }
    };
    let mut taken: Option<(Instant, Reloaded)> = None;
    loop {
        let changed = async {
            match &mut watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        let asked = tokio::select! {
            () = stop.cancelled() => return,
            asked = requests.recv() => asked,
            () = changed => None,
        };
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = reload(&hub, &places) => outcome,
        };
        let unchanged = |outcome: &Result<Reloaded, _>| matches!(outcome, Ok(done) if *done == Reloaded::default());
        match asked {
            // Who asks right behind an edit is told what came of it, whoever saw it first.
            Some(asker) => {
                let before = taken.take().filter(|(at, _)| unchanged(&outcome) && at.elapsed() < RECENT);
                // One that went away does not want to know.
                drop(asker.send(before.map_or(outcome, |(_, done)| Ok(done))));
            }
            None if unchanged(&outcome) => {}
            None => taken = outcome.ok().map(|done| (Instant::now(), done)),
        }
    }
}

/// Unlike at the start, a missing file is a problem here: a configuration that was there is not taken for an empty one.
async fn reload(hub: &Arc<Hub>, places: &Places) -> Result<Reloaded, Vec<String>> {
    service::reloading();
    let loaded = Config::load(&places.config);
    let outcome = match loaded {
        Ok(config) if config == *hub.config() && hub.problems().is_empty() => Ok(Reloaded::default()),
        // Nothing that was there is taken for gone because a file says something else altogether.
        Ok(config) if config.servers.is_empty() && !config.problems.is_empty() => {
            let problems = located(&places.config, &config.problems);
            hub.refuse_config(problems.clone());
            Err(problems)
        }
        Ok(config) => {
            let problems = located(&places.config, &config.problems);
            Ok(hub.reload(config, problems).await)
        }
        Err(error) => {
            let problems: Vec<_> = error.to_string().lines().map(str::to_owned).collect();
            hub.refuse_config(problems.clone());
            Err(problems)
        }
    };
    service::ready();
    outcome
}
