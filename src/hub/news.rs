//! Who learns that a server's offer changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Hub;
use super::registry::Upstream;
use super::session::Session;
use crate::envelope::reply;
use crate::era::Dialect;
use crate::lists::ListKind;
use crate::names::ServerName;
use crate::upstream::catalog::Audience;

impl Hub {
    /// The legacy sessions that are offered what `audience` is; those of the modern era ask for news themselves.
    pub(super) fn audience(&self, upstream: &Upstream, audience: &Audience) -> Vec<Arc<Session>> {
        let Dialect::Legacy(class) = &audience.dialect else { return Vec::new() };
        let sessions = self.sessions().into_iter().filter(|session| session.class().as_ref() == Some(class));
        let sees = sessions.filter(|session| self.sees(session, &upstream.name));
        sees.filter(|session| upstream.key_now(session, audience.dialect.clone()).project == audience.project).collect()
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
            if concerned && session.class().is_some() {
                tell(&session, kinds.iter().copied());
            }
        }
    }
}

/// One notification for each kind of list.
fn tell(session: &Session, kinds: impl IntoIterator<Item = ListKind>) {
    let methods: BTreeSet<_> = kinds.into_iter().map(ListKind::changed).collect();
    for method in methods {
        session.send_text(&reply::notification(method, ""));
    }
}
