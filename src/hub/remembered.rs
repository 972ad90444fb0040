//! What the next daemon must know of a legacy agent's session to go on with it, where the agent's own side keeps nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Hub;
use super::level::Level;
use super::session::{Session, View};
use crate::era::{Class, Speech};
use crate::retry::Backoff;

/// How many subscriptions of one session are remembered.
const MOST: usize = 256;
/// Pauses before what could not be subscribed to is tried again: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long that is tried.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// A session, as far as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    class: Class,
    /// Its `clientInfo`, raw.
    client_info: Option<String>,
    /// Raw.
    level: Option<String>,
    /// What it is subscribed to, by the URIs that it knows.
    uris: BTreeSet<String>,
    /// Where it works.
    project: Option<PathBuf>,
}

/// What a session had at an earlier daemon, and has not got back yet.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    level: Option<Level>,
    uris: BTreeSet<String>,
}

impl Hub {
    /// What is to be remembered of a session; nothing before its handshake.
    pub fn remember(&self, session: &Session) -> Option<Remembered> {
        let class = (*session.class()?).clone();
        let (missing_level, mut uris) = {
            let missing = session.missing.lock();
            (missing.level.map(|level| level.raw().to_owned()), missing.uris.clone())
        };
        let mut level = session.level().or(missing_level);
        for line in session.lines() {
            let table = line.table.lock();
            let Some(member) = table.members.get(&session.id) else { continue };
            level = level.or(member.level.map(|level| level.raw().to_owned()));
            uris.extend(member.uris.iter().map(|(_, uri)| uri.clone()).take(MOST - uris.len().min(MOST)));
        }
        let client_info = session.client_info().map(|info| info.to_string());
        Some(Remembered { class, client_info, level, uris, project: session.last_project() })
    }

    /// Has a session go on that another daemon had. Its servers are found with its next requests, but for those that it is
    /// subscribed at, or has set a level at.
    pub fn go_on(self: &Arc<Self>, session: &Arc<Session>, remembered: Remembered) {
        let Remembered { class, client_info, level, uris, project } = remembered;
        client_info.iter().for_each(|info| session.introduce(info));
        session.begin(class.clone());
        session.set_project(Some(project));
        let level = level.and_then(|raw| Level::parse(&raw));
        let level = match (&session.view, level) {
            (View::One(_), level) => level,
            (View::All | View::Profile(_), level) => {
                level.iter().for_each(|level| session.set_level(level.raw()));
                None
            }
        };
        if level.is_some() || !uris.is_empty() {
            *session.missing.lock() = Missing { level, uris };
            let (hub, session, speech) = (self.clone(), session.clone(), Speech::Legacy(Arc::new(class)));
            self.around.tasks.spawn(async move {
                tokio::select! {
                    () = hub.ask_again(&session, &speech) => {}
                    () = session.gone.cancelled() => {}
                    () = hub.around.stop.cancelled() => {}
                }
            });
        }
    }

    /// Sets a level and subscribes, until all of it is done.
    async fn ask_again(self: &Arc<Self>, session: &Arc<Session>, speech: &Speech) {
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1, PATIENCE);
        loop {
            let level = session.missing.lock().level;
            if let (View::One(server), Some(wanted)) = (&session.view, level)
                && let Ok(line) = self.line(session, server.as_str(), speech).await
            {
                line.tell_level(session.id, wanted);
                session.missing.lock().level = None;
            }
            let uris: Vec<_> = session.missing.lock().uris.iter().cloned().collect();
            for uri in uris {
                let owner = match &session.view {
                    View::One(server) => Some((server.clone(), uri.clone())),
                    View::All | View::Profile(_) => self.owner_of(session, &uri, speech).await,
                };
                let Some((server, own)) = owner else { continue };
                if let Ok(line) = self.line(session, server.as_str(), speech).await {
                    line.begin_subscription(session, &own, &uri);
                    session.missing.lock().uris.remove(&uri);
                }
            }
            if *session.missing.lock() == Missing::default() {
                return;
            }
            let Some(pause) = backoff.pause() else { return };
            tokio::time::sleep(pause).await;
        }
    }
}
