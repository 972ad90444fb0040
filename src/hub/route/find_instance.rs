//! The instance of a session to a server: found, or started, in the era that both speak.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::era::{AgentTerms, Era};
use crate::hub::agent::Lifetime;
use crate::hub::failure::Failure;
use crate::hub::log_level::Level;
use crate::hub::session::Session;
use crate::hub::sharing::Scope;
use crate::hub::{Hub, Site};

/// How often an instance is looked for again that turned out to be another agent's.
const TRIES: u32 = 3;

impl Hub {
    /// The instance that a session has, else one that is found or started and joined.
    pub async fn instance(
        self: &Arc<Self>,
        session: &Arc<Session>,
        server: &str,
        terms: &AgentTerms,
    ) -> Result<Site, Failure> {
        if let Some(site) = self.joined(session, server, terms) {
            return Ok(site);
        }
        let mut site = self.find_instance(session, server, terms).await?;
        site.roots_told().await;
        if site.instance.is_draining() || !site.server.is_still_for(&site.instance, session) {
            // It had nobody meanwhile, or has shown that it is right for others only.
            site = self.find_instance(session, server, terms).await?;
        }
        let instance = &site.instance;
        instance.attach(session, terms.profile());
        if self.session(session.id).is_none() {
            // It left just now.
            instance.detach(session);
            return Err(self.server(server)?.unavailable("the agent left"));
        }
        if let Some(level) = session.level().as_deref().and_then(Level::parse)
            && instance.handshake().is_some_and(|handshake| handshake.offers("logging"))
        {
            instance.tell_level(session.id, level);
        }
        Ok(site)
    }

    /// An instance for a session, found or started, and not joined yet: in the agent's era if the server speaks it.
    pub(in crate::hub) async fn find_instance(
        self: &Arc<Self>,
        session: &Session,
        server: &str,
        terms: &AgentTerms,
    ) -> Result<Site, Failure> {
        let mut tries = 0;
        loop {
            let site = self.find_some_instance(session, server, terms).await?;
            tries += 1;
            // It was promised what another agent can answer, because its era was not known when it was wanted.
            if tries > TRIES
                || site
                    .instance
                    .instance_terms()
                    .is_some_and(|instance_terms| site.server.admits(instance_terms, terms.profile()))
            {
                return Ok(site);
            }
        }
    }

    async fn find_some_instance(
        self: &Arc<Self>,
        session: &Session,
        name: &str,
        terms: &AgentTerms,
    ) -> Result<Site, Failure> {
        let server = self.server(name)?;
        if terms.era() == Era::Legacy && server.is_undecided() {
            server.decide_era(&server.key(session, terms, Era::Legacy).await).await;
        }
        let era = server.era_for(terms.era());
        drop(server);
        match self.find_instance_in(session, name, terms, era).await {
            Err(Failure::OtherEra { server, reason, .. }) => {
                let found = self.find_instance_in(session, name, terms, era.other()).await;
                match found {
                    Ok(site) => {
                        site.server.note_only(era.other());
                        Ok(site)
                    }
                    // It speaks neither: what it says to the agent's own era explains more.
                    Err(Failure::Start { .. } | Failure::OtherEra { .. }) => Err(Failure::Start { server, reason }),
                    Err(failure) => Err(failure),
                }
            }
            // There is no place to try its own era: a process of the other one with the same promises will do.
            Err(full @ Failure::Full { .. }) => match self.find_instance_in(session, name, terms, era.other()).await {
                Err(Failure::Full { .. }) => Err(full),
                // One that was starting does not speak it; there is a place now.
                Err(Failure::OtherEra { .. }) => self.find_instance_in(session, name, terms, era).await,
                found => found,
            },
            found => found,
        }
    }

    async fn find_instance_in(
        self: &Arc<Self>,
        session: &Session,
        name: &str,
        terms: &AgentTerms,
        era: Era,
    ) -> Result<Site, Failure> {
        loop {
            let server = self.server(name)?;
            if session.stay == Lifetime::OneRequest && server.sharing().scope == Scope::Session {
                let reason = "each agent has a process of its own (share = \"session\"), and over HTTP a request of the modern era does not say which agent it is of: connect through the socket, or with `initialize`";
                return Err(server.unavailable(reason));
            }
            let key = server.key(session, terms, era).await;
            let found = server.instance(&key).await;
            if self.session(session.id).is_none() {
                // It left while it waited: a member that is not here would keep the process for ever.
                server.drain_owned(session.id);
                return Err(server.unavailable("the agent left"));
            }
            match found {
                // Its configuration changed meanwhile, and another one took over.
                Err(_) if server.retired.load(Ordering::Relaxed) && self.server(name).is_ok() => {}
                found => return found.map(|instance| Site { hub: self.clone(), server, instance }),
            }
        }
    }
}
