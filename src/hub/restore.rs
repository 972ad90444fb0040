//! What the next daemon must know of a legacy agent's session to go on with it, where the agent's own side keeps nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::era::AgentTerms;
use crate::hub::agent::View;
use crate::hub::log_level::Level;
use crate::hub::session::Session;
use crate::hub::session::place::Place;
use crate::hub::session::snapshot::{PendingRestore, SessionSnapshot};
use crate::hub::{Hub, Site};
use crate::retry::pause_after;

/// How many subscriptions of one session are remembered.
const MOST: usize = 256;
/// How long what is remembered may be: each of the promises, the `clientInfo`, a URI.
const LONGEST: usize = 64 * 1024;
/// Pauses before what could not be subscribed to is tried again: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

impl Hub {
    /// What is to be remembered of a session; nothing before its handshake.
    pub fn snapshot(&self, session: &Session) -> Option<SessionSnapshot> {
        let profile = (*session.profile()?).clone();
        let (missing_level, mut subscriptions) = {
            let missing = session.missing.lock();
            (missing.level, missing.subscriptions.clone())
        };
        let mut level = None;
        for server in self.visible(session) {
            for (own_level, uris) in server.asked_by(session.id) {
                level = level.or(own_level);
                let places = uris.into_iter().map(|(own, uri)| (uri, (server.name.to_string(), own)));
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
        (profile.version.len() + profile.capabilities.len() <= LONGEST).then_some(SessionSnapshot {
            profile,
            client_info,
            level,
            subscriptions,
            project: place.folder,
            roots,
        })
    }

    /// Has a session go on that another daemon had. Its servers are found with its next requests, but for those that it is
    /// subscribed at, or has set a level at.
    pub fn restore(self: &Arc<Self>, session: &Arc<Session>, remembered: SessionSnapshot) {
        let SessionSnapshot { profile, client_info, level, subscriptions, project, roots } = remembered;
        client_info.iter().for_each(|info| session.introduce(info));
        session.begin(profile.clone());
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
        *session.missing.lock() = PendingRestore { level, subscriptions, asks: None };
        self.ask_for_missing(session);
    }

    /// Sees to it that a session gets what it had, also if it asks for nothing itself.
    pub(in crate::hub) fn ask_for_missing(self: &Arc<Self>, session: &Arc<Session>) {
        let Some(profile) = session.profile() else { return };
        let over = CancellationToken::new();
        {
            let mut missing = session.missing.lock();
            if missing.is_empty() || missing.asks.is_some() {
                return;
            }
            missing.asks = Some(over.clone().drop_guard());
        }
        let (hub, session, terms) = (self.clone(), session.clone(), AgentTerms::Legacy(profile));
        self.services.around.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = over.cancelled() => {}
                () = session.gone.cancelled() => {}
                () = hub.services.around.stop.cancelled() => {}
                () = hub.ask_again(&session, &terms) => {}
            }
        });
    }

    /// Has a session join the servers that it had something at, until it has got all of it back.
    async fn ask_again(self: &Arc<Self>, session: &Arc<Session>, terms: &AgentTerms) {
        let mut tries = 0;
        loop {
            let servers = session.missing.lock().servers(&session.view);
            for server in servers {
                if let Ok(Site { instance, .. }) = self.instance(session, &server, terms).await {
                    // It has this already, unless it had joined the server before.
                    instance.bring_back(session);
                    instance.renew_own_subscription();
                }
            }
            {
                let mut missing = session.missing.lock();
                if missing.is_empty() {
                    missing.asks = None;
                    return;
                }
            }
            tries += 1;
            tokio::time::sleep(pause_after(tries, PAUSE.0, PAUSE.1, fastrand::f64())).await;
        }
    }
}
