//! The line of a session to a server: found, or started, in the era that both speak.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Hub;
use super::failure::Failure;
use super::level;
use super::line::Line;
use super::session::{Session, Stay};
use super::sharing::Scope;
use crate::era::{Era, Speech};

/// How often an instance is looked for again that turned out to be another agent's.
const TRIES: u32 = 3;

impl Hub {
    /// The line that a session has, else one that is found or started and joined.
    pub async fn line(&self, session: &Arc<Session>, server: &str, speech: &Speech) -> Result<Arc<Line>, Failure> {
        if let Some(line) = session.line(server, speech) {
            return Ok(line);
        }
        let mut line = self.find_line(session, server, speech).await?;
        let upstream = self.upstream(server)?;
        line.roots_told(&upstream).await;
        if line.is_draining() || !upstream.is_still_for(&line, session) {
            // It had nobody meanwhile, or has shown that it is right for others only.
            line = self.find_line(session, server, speech).await?;
        }
        line.join(session, speech.class());
        if !self.is_attached(session.id) {
            // It left just now.
            line.leave(session);
            return Err(self.upstream(server)?.unavailable("the agent left"));
        }
        if let Some(level) = session.level().as_deref().and_then(level::Level::parse)
            && line.handshake().is_some_and(|handshake| handshake.offers("logging"))
        {
            line.tell_level(session.id, level);
        }
        Ok(line)
    }

    /// An instance for a session, found or started, and not joined yet: in the agent's era if the server speaks it.
    pub(super) async fn find_line(
        &self,
        session: &Session,
        server: &str,
        speech: &Speech,
    ) -> Result<Arc<Line>, Failure> {
        let mut tries = 0;
        loop {
            let line = self.find_some_line(session, server, speech).await?;
            let upstream = self.upstream(server)?;
            tries += 1;
            // It was promised what another agent can answer, because its era was not known when it was wanted.
            if tries > TRIES || line.dialect().is_some_and(|dialect| upstream.admits(dialect, speech.class())) {
                return Ok(line);
            }
        }
    }

    async fn find_some_line(&self, session: &Session, server: &str, speech: &Speech) -> Result<Arc<Line>, Failure> {
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
                    Ok(line) => {
                        self.upstream(server)?.note_only(era.other());
                        Ok(line)
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
        &self,
        session: &Session,
        server: &str,
        speech: &Speech,
        era: Era,
    ) -> Result<Arc<Line>, Failure> {
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
                found => return found,
            }
        }
    }
}
