//! A server under new settings takes over from the same one under the old ones.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Start;
use crate::hub::failure::Failure;
use crate::hub::instance::Line;
use crate::hub::server::Upstream;
use crate::hub::session::Session;
use crate::hub::sharing::key::Key;

impl Upstream {
    /// Starts under new settings what runs under the old ones, and takes its agents over; fails if it does not start.
    pub(in crate::hub) async fn take_over(self: &Arc<Self>, old: &Arc<Self>) -> Result<(), String> {
        let taken = self.try_take_over(old).await;
        if taken.is_err() {
            self.retire("its new settings were not taken");
            self.drain(Duration::ZERO);
        }
        taken.map_err(|failure| failure.reason())
    }

    /// Whether it is the same server as before, and can be used.
    fn continues(&self, old: &Self) -> bool {
        self.settings().is_usable() && self.settings().written == old.settings().written
    }

    async fn try_take_over(self: &Arc<Self>, old: &Arc<Self>) -> Result<(), Failure> {
        if self.settings().written == old.settings().written {
            self.inherit(old);
        }
        if self.state.lock().held.is_some() {
            return Ok(());
        }
        if self.settings().start == Start::Eager
            && self.settings().is_usable()
            && old.lines().iter().all(|line| line.session_ids().is_empty())
        {
            // Nobody waits for it, but it is to run.
            for key in self.eager_keys() {
                self.line(&key).await?;
            }
        }
        let mut moves: Vec<(Arc<Line>, Arc<Session>, Key)> = Vec::new();
        for line in old.lines().into_iter().filter(|line| self.continues(old) && !line.is_draining()) {
            let Some(dialect) = line.dialect().cloned() else { continue };
            for session in line.sessions() {
                let Some(speech) = session.last_speech() else { continue };
                let key = self.key(&session, &speech, dialect.era()).await;
                moves.push((line.clone(), session, key));
            }
        }
        for (_, _, key) in &moves {
            self.line(key).await?;
        }
        for (line, session, key) in &moves {
            // Up already: this does not wait.
            if let Ok(new) = self.line(key).await
                && self.services.sessions.is_attached(session.id)
            {
                new.succeed(line, |other| other.id == session.id);
            } else {
                self.drain_owned(session.id);
            }
        }
        Ok(())
    }
}
