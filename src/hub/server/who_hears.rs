//! Who learns that a server's offer changed.

use std::sync::Arc;

use crate::hub::server::Server;
use crate::hub::session::Session;
use crate::lists::ListKind;
use crate::upstream::catalog::Audience;

impl Server {
    /// The sessions that are offered what `audience` is, and want to hear of changes.
    pub(in crate::hub) fn listeners(&self, audience: &Audience) -> Vec<Arc<Session>> {
        let served = |session: &Arc<Session>| {
            session.hears_news()
                && self.suits(&audience.instance_terms, session)
                && session.last_terms().is_some_and(|terms| self.era_for(terms.era()) == audience.instance_terms.era())
        };
        let sessions = self.services.sessions.all().into_iter().filter(served);
        let sees = sessions.filter(|session| self.services.sees(session, &self.name));
        let project = |session: &Session| session.place_now().folder.filter(|_| self.depends_on_project());
        sees.filter(|session| project(session) == audience.project).collect()
    }

    /// Tells the agents that were given lists without this server that it is there now.
    pub(in crate::hub) fn announce_missed(&self, audience: &Audience) {
        for session in self.listeners(audience) {
            session.tell_all_changed(session.take_missed(&self.name));
        }
    }

    /// Tells the agents to whom a server offered something else before.
    pub(in crate::hub) fn announce_change(&self, audience: &Audience, kind: ListKind) {
        for session in self.listeners(audience) {
            session.tell_all_changed([kind]);
        }
    }
}
