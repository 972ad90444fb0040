//! What is answered from the catalog while a server does not run: handshakes and lists, in its own words.

use std::sync::Arc;

use super::Hub;
use super::across::unsupported;
use super::bridge;
use super::key::Key;
use super::registry::Upstream;
use super::session::Session;
use crate::envelope::reply;
use crate::envelope::{Envelope, splice};
use crate::era::{Era, Speech};
use crate::lists::ListKind;
use crate::upstream::catalog::filtered;

impl Hub {
    /// The answer to a request of a one-server view whose server is not up, if it is known.
    pub(super) fn recall(
        &self,
        session: &Arc<Session>,
        upstream: &Arc<Upstream>,
        speech: &Speech,
        envelope: &Envelope<'_>,
    ) -> Option<String> {
        let key = upstream.recall_key(session, speech)?;
        let audience = upstream.audience(&key)?;
        let across = audience.dialect.era() != speech.era();
        if across && unsupported(envelope).is_some() {
            return None;
        }
        let answer = match (&*envelope.method, ListKind::of_method(&envelope.method)) {
            ("ping", _) if speech.era() == Era::Legacy => return Some(reply::result(envelope.id, "{}")),
            ("initialize" | "server/discover", _) => {
                let frame = upstream.recall_handshake(&audience)?;
                match (across, speech) {
                    (false, _) => under(&frame, envelope.id)?,
                    (true, Speech::Modern(_)) => reply::result(envelope.id, &bridge::discover_result(&frame)?),
                    (true, Speech::Legacy(class)) => {
                        let version = class.answer_version();
                        let result = bridge::initialize_result(&frame, version, upstream.name.as_str())?;
                        reply::result(envelope.id, &result)
                    }
                }
            }
            (method, Some(kind)) if !envelope.params.is_retry() => {
                let page = upstream.recall_page(&audience, kind, envelope.params.cursor)?;
                let members = match speech {
                    Speech::Modern(_) if across => bridge::modern_members(method, &page),
                    Speech::Modern(_) | Speech::Legacy(_) => None,
                };
                let page = match (members, page.strip_prefix('{')) {
                    (Some(members), Some(rest)) => format!("{{{members}{rest}"),
                    (_, _) => page,
                };
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
    pub(super) fn recall_key(&self, session: &Session, speech: &Speech) -> Option<Key> {
        if !self.settings().enabled || self.state.lock().held.is_some() {
            return None;
        }
        Some(self.key_now(session, speech.dialect(self.era_for(speech.era()))))
    }

    /// A frame that answers a list request, without what agents are not to see; `None` if that is nothing.
    pub(super) fn screen(&self, kind: ListKind, frame: &str) -> Option<String> {
        if kind != ListKind::Tools || self.settings().tools.is_open() {
            return None;
        }
        filtered(frame, kind.member(), "name", |tool| self.allows(tool))
    }
}

/// A frame under another id.
pub(super) fn under(frame: &str, id: &str) -> Option<String> {
    let envelope = Envelope::parse(frame.as_bytes()).ok()?;
    let mut out = Vec::with_capacity(frame.len() + id.len());
    splice(frame, &mut [envelope.edit(envelope.id, id)], &mut out);
    String::from_utf8(out).ok()
}
