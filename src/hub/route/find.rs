//! The line of a session to a server: found, or started, in the era that both speak.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::era::{Era, Speech};
use crate::hub::agent::Stay;
use crate::hub::failure::Failure;
use crate::hub::level::Level;
use crate::hub::session::Session;
use crate::hub::sharing::Scope;
use crate::hub::{Hub, Site};

/// How often an instance is looked for again that turned out to be another agent's.
const TRIES: u32 = 3;

impl Hub {
    /// The line that a session has, else one that is found or started and joined.
    pub async fn line(
        self: &Arc<Self>,
        session: &Arc<Session>,
        server: &str,
        speech: &Speech,
    ) -> Result<Site, Failure> {
        if let Some(site) = self.joined(session, server, speech) {
            return Ok(site);
        }
        let mut site = self.find_line(session, server, speech).await?;
        site.roots_told().await;
        if site.line.is_draining() || !site.server.is_still_for(&site.line, session) {
            // It had nobody meanwhile, or has shown that it is right for others only.
            site = self.find_line(session, server, speech).await?;
        }
        let line = &site.line;
        line.join(session, speech.class());
        if !self.is_attached(session.id) {
            // It left just now.
            line.leave(session);
            return Err(self.upstream(server)?.unavailable("the agent left"));
        }
        if let Some(level) = session.level().as_deref().and_then(Level::parse)
            && line.handshake().is_some_and(|handshake| handshake.offers("logging"))
        {
            line.tell_level(session.id, level);
        }
        Ok(site)
    }

    /// An instance for a session, found or started, and not joined yet: in the agent's era if the server speaks it.
    pub(in crate::hub) async fn find_line(
        self: &Arc<Self>,
        session: &Session,
        server: &str,
        speech: &Speech,
    ) -> Result<Site, Failure> {
        let mut tries = 0;
        loop {
            let site = self.find_some_line(session, server, speech).await?;
            tries += 1;
            // It was promised what another agent can answer, because its era was not known when it was wanted.
            if tries > TRIES || site.line.dialect().is_some_and(|dialect| site.server.admits(dialect, speech.class())) {
                return Ok(site);
            }
        }
    }

    async fn find_some_line(
        self: &Arc<Self>,
        session: &Session,
        server: &str,
        speech: &Speech,
    ) -> Result<Site, Failure> {
        let upstream = self.upstream(server)?;
        if speech.era() == Era::Legacy && upstream.is_undecided() {
            upstream.decide_era(&upstream.key(session, speech, Era::Legacy).await).await;
        }
        let era = upstream.era_for(speech.era());
        drop(upstream);
        match self.find_line_in(session, server, speech, era).await {
            Err(Failure::OtherEra { server: name, reason, .. }) => {
                let found = self.find_line_in(session, server, speech, era.other()).await;
                match found {
                    Ok(site) => {
                        site.server.note_only(era.other());
                        Ok(site)
                    }
                    // It speaks neither: what it says to the agent's own era explains more.
                    Err(Failure::Start { .. } | Failure::OtherEra { .. }) => {
                        Err(Failure::Start { server: name, reason })
                    }
                    Err(failure) => Err(failure),
                }
            }
            // There is no place to try its own era: a process of the other one with the same promises will do.
            Err(full @ Failure::Full { .. }) => match self.find_line_in(session, server, speech, era.other()).await {
                Err(Failure::Full { .. }) => Err(full),
                // One that was starting does not speak it; there is a place now.
                Err(Failure::OtherEra { .. }) => self.find_line_in(session, server, speech, era).await,
                found => found,
            },
            found => found,
        }
    }

    async fn find_line_in(
        self: &Arc<Self>,
        session: &Session,
        server: &str,
        speech: &Speech,
        era: Era,
    ) -> Result<Site, Failure> {
        loop {
            let upstream = self.upstream(server)?;
            if session.stay == Stay::OneRequest && upstream.sharing().scope == Scope::Session {
                let reason = "each agent has a process of its own (share = \"session\"), and over HTTP a request of the modern era does not say which agent it is of: connect through the socket, or with `initialize`";
                return Err(upstream.unavailable(reason));
            }
            let key = upstream.key(session, speech, era).await;
            let found = upstream.line(&key).await;
            if !self.is_attached(session.id) {
                // It left while it waited: a member that is not here would keep the process for ever.
                upstream.drain_owned(session.id);
                return Err(upstream.unavailable("the agent left"));
            }
            match found {
                // Its configuration changed meanwhile, and another one took over.
                Err(_) if upstream.retired.load(Ordering::Relaxed) && self.upstream(server).is_ok() => {}
                found => return found.map(|line| Site { hub: self.clone(), server: upstream, line }),
            }
        }
    }
}
