//! Who learns that a server's offer changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Hub;
use super::inbound::news;
use super::registry::Upstream;
use super::session::Session;
use crate::lists::ListKind;
use crate::names::ServerName;
use crate::upstream::catalog::Audience;

impl Hub {
    /// The sessions that are offered what `audience` is, and want to hear of changes.
    pub(super) fn audience(&self, upstream: &Upstream, audience: &Audience) -> Vec<Arc<Session>> {
        let served = |session: &Arc<Session>| {
            session.hears_news()
                && upstream.suits(&audience.dialect, session)
                && session.last_speech().is_some_and(|speech| upstream.era_for(speech.era()) == audience.dialect.era())
        };
        let sessions = self.sessions().into_iter().filter(served);
        let sees = sessions.filter(|session| self.sees(session, &upstream.name));
        let project = |session: &Session| session.place_now().folder.filter(|_| upstream.depends_on_project());
        sees.filter(|session| project(session) == audience.project).collect()
    }

    /// Tells the agents that were given lists without this server that it is there now.
    pub(super) fn announce_missed(&self, upstream: &Upstream, audience: &Audience) {
        for session in self.audience(upstream, audience) {
            tell(&session, session.take_missed(&upstream.name));
        }
    }

    /// Tells the agents to whom a server offered something else before.
    pub(super) fn announce_change(&self, upstream: &Upstream, audience: &Audience, kind: ListKind) {
        for session in self.audience(upstream, audience) {
            tell(&session, [kind]);
        }
    }

    /// Tells every agent concerned, once, that these servers offer something else, or are or are not there.
    pub(super) fn announce(&self, servers: &BTreeSet<ServerName>, kinds: &[ListKind], besides: &[Arc<Session>]) {
        for session in self.sessions() {
            let concerned = servers.iter().any(|server| self.sees(&session, server))
                || besides.iter().any(|other| other.id == session.id);
            if concerned && session.hears_news() {
                tell(&session, kinds.iter().copied());
            }
        }
    }
}

/// One notification for each kind of list.
fn tell(session: &Arc<Session>, kinds: impl IntoIterator<Item = ListKind>) {
    let mut told = BTreeSet::new();
    for kind in kinds {
        if told.insert(kind.changed()) {
            session.tell_changed(kind, &news(kind));
        }
    }
}
