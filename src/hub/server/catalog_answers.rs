//! What is answered from the catalog while a server does not run: handshakes and lists, in its own words.

use std::sync::Arc;

use crate::era::{AgentTerms, Era};
use crate::hub::server::Server;
use crate::hub::session::Session;
use crate::hub::sharing::share_key::ShareKey;
use crate::lists::ListKind;
use crate::upstream::Handshake;
use crate::upstream::catalog::{Audience, Catalog, List};

impl Server {
    /// What a session needs, if its server is not up and may be started.
    pub(in crate::hub) fn recall_key(&self, session: &Session, terms: &AgentTerms) -> Option<ShareKey> {
        if !self.settings().is_usable() || self.state.lock().held.is_some() {
            return None;
        }
        Some(self.key_now(session, terms, self.era_for(terms.era())))
    }

    /// The handshake's reply that an instance would give, if that is known of this or another agent, and in which era.
    pub(in crate::hub) fn recall_handshake(&self, audience: &Audience) -> Option<(Era, String)> {
        let catalogs = &self.state.lock().catalogs;
        let near = catalogs.nearest(audience, |catalog| catalog.handshake().is_some())?;
        Some((near.instance_terms.era(), catalogs.get(&near)?.handshake()?))
    }

    pub(in crate::hub) fn recall_page(
        &self,
        audience: &Audience,
        kind: ListKind,
        cursor: Option<&str>,
    ) -> Option<(Era, String)> {
        let catalogs = &self.state.lock().catalogs;
        let has = |catalog: &Catalog| catalog.page(kind, cursor).is_some();
        let near = catalogs.nearest(audience, has).filter(|_| self.shares_lists())?;
        Some((near.instance_terms.era(), catalogs.get(&near)?.page(kind, cursor)?))
    }

    pub(in crate::hub) fn recall_list(&self, audience: &Audience, kind: ListKind) -> Option<List> {
        let catalogs = &mut self.state.lock().catalogs;
        let near = catalogs.nearest(audience, |catalog| catalog.has_list(kind)).filter(|_| self.shares_lists())?;
        catalogs.list(&near, kind)
    }

    /// Starts the server in the background if what was recalled of it has not been confirmed for long.
    pub(in crate::hub) fn confirm_later(self: &Arc<Self>, key: &ShareKey) {
        let due = self.audience(key).is_some_and(|audience| self.state.lock().catalogs.is_due(&audience));
        if due {
            let (server, key) = (self.clone(), key.clone());
            self.around.tasks.spawn(async move {
                if let Err(failure) = server.instance(&key).await {
                    tracing::debug!(server = %server.name, %failure, "offer not confirmed");
                }
                server.drain_unowned(&key);
            });
        }
    }

    /// Whether it has shaken hands with anybody.
    pub(in crate::hub) fn has_said(&self) -> bool {
        self.state.lock().catalogs.any_handshake().is_some()
    }

    pub fn instructions(&self) -> Option<String> {
        Handshake::of_reply(self.state.lock().catalogs.any_handshake()?).instructions()
    }
}
