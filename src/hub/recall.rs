//! What is answered from the catalog while a server does not run: handshakes and lists, in its own words.

use std::sync::Arc;

use super::Hub;
use super::key::Key;
use super::registry::Upstream;
use super::session::Session;
use crate::envelope::reply;
use crate::envelope::{Envelope, splice};
use crate::era::Dialect;
use crate::lists::ListKind;
use crate::upstream::catalog::filtered;

impl Hub {
    /// The answer to a request of a one-server view whose server is not up, if it is known.
    pub(super) fn recall(
        &self,
        session: &Arc<Session>,
        upstream: &Arc<Upstream>,
        dialect: &Dialect,
        envelope: &Envelope<'_>,
    ) -> Option<String> {
        let key = upstream.recall_key(session, dialect)?;
        let audience = upstream.audience(&key)?;
        let answer = match (&*envelope.method, ListKind::of_method(&envelope.method)) {
            ("ping", _) => return Some(reply::result(envelope.id, "{}")),
            ("initialize" | "server/discover", _) => under(&upstream.recall_handshake(&audience)?, envelope.id)?,
            (_, Some(kind)) if !envelope.params.is_retry() => {
                let page = upstream.recall_page(&audience, kind, envelope.params.cursor)?;
                let frame = reply::result(envelope.id, &page);
                upstream.screen(kind, &frame).unwrap_or(frame)
            }
            (_, _) => return None,
        };
        upstream.confirm_later(&key);
        Some(answer)
    }
}

impl Upstream {
    /// What a session needs, if its server is not up and may be started.
    pub(super) fn recall_key(&self, session: &Session, dialect: &Dialect) -> Option<Key> {
        if !self.settings().enabled || self.state.lock().held.is_some() {
            return None;
        }
        Some(self.key_now(session, dialect.clone()))
    }

    /// A frame that answers a list request, without what agents are not to see; `None` if that is nothing.
    pub(super) fn screen(&self, kind: ListKind, frame: &str) -> Option<String> {
        if kind != ListKind::Tools || self.settings().tools.is_open() {
            return None;
        }
        filtered(frame, kind, |tool| self.allows(tool))
    }
}

/// A frame under another id.
pub(super) fn under(frame: &str, id: &str) -> Option<String> {
    let envelope = Envelope::parse(frame.as_bytes()).ok()?;
    let mut out = Vec::with_capacity(frame.len() + id.len());
    splice(frame, &mut [envelope.edit(envelope.id, id)], &mut out);
    String::from_utf8(out).ok()
}
