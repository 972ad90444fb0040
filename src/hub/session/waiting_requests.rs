//! The requests of an agent that wait for servers, and what there is no room for.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::envelope::reply::{self, code};
use crate::envelope::{Envelope, Kind};
use crate::hub::session::Session;
use crate::wire::Held;

/// A request that waits for a server.
pub(in crate::hub) struct Waits {
    session: Arc<Session>,
    id: Box<str>,
    token: CancellationToken,
    _held: Held,
}

impl Waits {
    /// Cancelled when its agent does not want it any more.
    pub(in crate::hub) fn cancelled(&self) -> &CancellationToken {
        &self.token
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        // Of one that was cancelled, the id may be another's by now.
        if !self.token.is_cancelled() {
            self.session.state.lock().waiting.remove(&self.id);
        }
        self.session.ended();
    }
}

impl Session {
    /// Notes that a request waits, for as long as what it returns lives; refuses it where as much waits as may.
    pub(in crate::hub) fn wait_with(self: &Arc<Self>, envelope: &Envelope<'_>) -> Option<Waits> {
        let Ok(held) = self.account().hold(envelope.frame.len()) else {
            self.refuse_for_weight(envelope);
            return None;
        };
        let token = CancellationToken::new();
        self.state.lock().waiting.insert(envelope.id.into(), token.clone());
        self.began();
        Some(Waits { session: self.clone(), id: envelope.id.into(), token, _held: held })
    }

    /// Says that there is no room for a message now.
    pub fn refuse_for_weight(&self, envelope: &Envelope<'_>) {
        let held = self.account().held();
        if envelope.kind == Kind::Request {
            let message = format!(
                "there is no room for another message of {} bytes: {held} bytes of this agent wait already, or as much waits in the whole daemon as may (max_memory); ask again when some of it is answered",
                envelope.frame.len()
            );
            self.reply(envelope.id, &reply::error(envelope.id, code::INTERNAL, &message));
        } else {
            tracing::warn!(session = self.id.0, held, method = %envelope.method_name, "a message of an agent is dropped: there is no room for it");
        }
    }

    /// Cancels a waiting request; tells whether there was one.
    pub fn cancel_waiting(&self, id: &str) -> bool {
        let token = self.state.lock().waiting.remove(id);
        token.inspect(CancellationToken::cancel).is_some()
    }
}
