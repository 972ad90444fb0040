//! What the next daemon must know of a legacy agent's session to go on with it, where the agent's own side keeps nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Hub;
use super::level::Level;
use super::session::{Place, Session, View};
use crate::envelope::{Envelope, text};
use crate::era::{Class, Speech};
use crate::retry::pause_after;

/// How many subscriptions of one session are remembered.
const MOST: usize = 256;
/// How long what is remembered may be: each of the promises, the `clientInfo`, a URI.
const LONGEST: usize = 64 * 1024;
/// Pauses before what could not be subscribed to is tried again: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A session, as far as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    class: Class,
    /// Its `clientInfo`, raw.
    client_info: Option<String>,
    /// Raw.
    level: Option<String>,
    subscriptions: Subscriptions,
    /// Where it works.
    project: Option<PathBuf>,
    /// Its roots, raw.
    #[serde(default)]
    roots: Option<String>,
}

/// By the URIs that the agent knows: the server, and its own URI.
type Subscriptions = BTreeMap<String, (String, String)>;

/// What a session had at an earlier daemon, and has not got back yet.
#[derive(Debug, Default)]
pub(super) struct Missing {
    level: Option<Level>,
    subscriptions: Subscriptions,
    /// Dropped, nobody asks for it any more.
    _asks: Option<DropGuard>,
}

impl Missing {
    fn is_empty(&self) -> bool {
        self.level.is_none() && self.subscriptions.is_empty()
    }
}

impl Session {
    /// Notes that a request takes the place of what the agent said to an earlier daemon.
    pub(super) fn overtake(&self, envelope: &Envelope<'_>) {
        match &*envelope.method {
            "initialize" => *self.missing.lock() = Missing::default(),
            "logging/setLevel" => self.missing.lock().level = None,
            "resources/subscribe" | "resources/unsubscribe" => {
                if let Some(uri) = envelope.params.uri.and_then(text) {
                    self.missing.lock().subscriptions.remove(&*uri);
                }
            }
            _ => {}
        }
    }
}

impl Hub {
    /// What is to be remembered of a session; nothing before its handshake.
    pub fn remember(&self, session: &Session) -> Option<Remembered> {
        let class = (*session.class()?).clone();
        let (missing_level, mut subscriptions) = {
            let missing = session.missing.lock();
            (missing.level, missing.subscriptions.clone())
        };
        let mut level = None;
        for upstream in self.visible(session) {
            for (own_level, uris) in upstream.asked_by(session.id) {
                level = level.or(own_level);
                let places = uris.into_iter().map(|(own, uri)| (uri, (upstream.name.to_string(), own)));
                subscriptions.extend(places.filter(|(uri, _)| uri.len() <= LONGEST));
            }
        }
        while subscriptions.len() > MOST {
            subscriptions.pop_last();
        }
        let level = session.level().or(level.or(missing_level).map(|level| level.raw().to_owned()));
        let client_info = session.client_info().filter(|info| info.len() <= LONGEST).map(|info| info.to_string());
        let place = session.last_place();
        let roots = place.roots.filter(|roots| roots.len() <= LONGEST).map(|roots| roots.to_string());
        (class.version.len() + class.capabilities.len() <= LONGEST).then_some(Remembered {
            class,
            client_info,
            level,
            subscriptions,
            project: place.folder,
            roots,
        })
    }

    /// Has a session go on that another daemon had. Its servers are found with its next requests, but for those that it is
    /// subscribed at, or has set a level at.
    pub fn go_on(self: &Arc<Self>, session: &Arc<Session>, remembered: Remembered) {
        let Remembered { class, client_info, level, subscriptions, project, roots } = remembered;
        client_info.iter().for_each(|info| session.introduce(info));
        session.begin(class.clone());
        session.resume_greeted();
        session.set_place(Some(Place { folder: project, roots: roots.map(Into::into) }));
        let level = level.and_then(|raw| Level::parse(&raw));
        let level = match (&session.view, level) {
            (View::One(_), level) => level,
            (View::All | View::Profile(_), level) => {
                level.iter().for_each(|level| session.set_level(level.raw()));
                None
            }
        };
        let over = CancellationToken::new();
        let missing = Missing { level, subscriptions, _asks: Some(over.clone().drop_guard()) };
        if missing.is_empty() {
            return;
        }
        *session.missing.lock() = missing;
        let (hub, session, speech) = (self.clone(), session.clone(), Speech::Legacy(Arc::new(class)));
        self.around.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = over.cancelled() => {}
                () = session.gone.cancelled() => {}
                () = hub.around.stop.cancelled() => {}
                () = hub.ask_again(&session, &speech) => {}
            }
        });
    }

    /// Sets a level and subscribes, until all of it is done.
    async fn ask_again(self: &Arc<Self>, session: &Arc<Session>, speech: &Speech) {
        let mut tries = 0;
        loop {
            let wanted = session.missing.lock().level.is_some();
            if let View::One(server) = &session.view
                && wanted
                && let Ok(line) = self.line(session, server.as_str(), speech).await
            {
                // The lock is held until it is done: the agent may say something else.
                let mut missing = session.missing.lock();
                missing.level.take().iter().for_each(|level| line.tell_level(session.id, *level));
            }
            let wanted = session.missing.lock().subscriptions.clone();
            for (uri, (server, own)) in wanted {
                let Ok(line) = self.line(session, &server, speech).await else { continue };
                let mut missing = session.missing.lock();
                if missing.subscriptions.remove(&uri).is_some() {
                    line.begin_subscription(session, &own, &uri);
                }
            }
            if session.missing.lock().is_empty() {
                return;
            }
            tries += 1;
            tokio::time::sleep(pause_after(tries, PAUSE.0, PAUSE.1, fastrand::f64())).await;
        }
    }
}
