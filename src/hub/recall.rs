//! What is answered from the catalog while a server does not run: handshakes and lists, in its own words.

use std::sync::Arc;

use super::Hub;
use super::across::unsupported;
use super::bridge;
use super::key::Key;
use super::registry::Upstream;
use super::session::Session;
use crate::envelope::reply;
use crate::envelope::{Envelope, quoted, splice, text};
use crate::era::{Era, LEGACY_ALL, Speech};
use crate::lists::ListKind;
use crate::upstream::Handshake;
use crate::upstream::catalog::{Audience, Catalog, List, filtered};

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
        if audience.dialect.era() != speech.era() && unsupported(envelope).is_some() {
            return None;
        }
        let answer = match (&*envelope.method, ListKind::of_method(&envelope.method)) {
            ("ping", _) if speech.era() == Era::Legacy => return Some(reply::result(envelope.id, "{}")),
            ("initialize" | "server/discover", _) => {
                let (era, frame) = upstream.recall_handshake(&audience)?;
                match (era != speech.era(), speech) {
                    (false, Speech::Legacy(class)) => greeting(&frame, envelope.id, &class.version)?,
                    (false, Speech::Modern(_)) => under(&frame, envelope.id)?,
                    (true, Speech::Modern(_)) => reply::result(envelope.id, &bridge::discover_result(&frame)?),
                    (true, Speech::Legacy(class)) => {
                        let version = class.answer_version();
                        let result = bridge::initialize_result(&frame, version, upstream.name.as_str())?;
                        reply::result(envelope.id, &result)
                    }
                }
            }
            (method, Some(kind)) if !envelope.params.is_retry() => {
                let (era, page) = upstream.recall_page(&audience, kind, envelope.params.cursor)?;
                let members = match speech {
                    Speech::Modern(_) if era == Era::Legacy => bridge::modern_members(method, &page),
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
        if !self.settings().is_usable() || self.state.lock().held.is_some() {
            return None;
        }
        Some(self.key_now(session, speech, self.era_for(speech.era())))
    }

    /// The handshake's reply that an instance would give, if that is known of this or another agent, and in which era.
    pub(super) fn recall_handshake(&self, audience: &Audience) -> Option<(Era, String)> {
        let catalogs = &self.state.lock().catalogs;
        let near = catalogs.nearest(audience, |catalog| catalog.handshake().is_some())?;
        Some((near.dialect.era(), catalogs.get(&near)?.handshake()?))
    }

    pub(super) fn recall_page(
        &self,
        audience: &Audience,
        kind: ListKind,
        cursor: Option<&str>,
    ) -> Option<(Era, String)> {
        let catalogs = &self.state.lock().catalogs;
        let has = |catalog: &Catalog| catalog.page(kind, cursor).is_some();
        let near = catalogs.nearest(audience, has).filter(|_| self.shares_lists())?;
        Some((near.dialect.era(), catalogs.get(&near)?.page(kind, cursor)?))
    }

    pub(super) fn recall_list(&self, audience: &Audience, kind: ListKind) -> Option<List> {
        let catalogs = &mut self.state.lock().catalogs;
        let near = catalogs.nearest(audience, |catalog| catalog.has_list(kind)).filter(|_| self.shares_lists())?;
        catalogs.list(&near, kind)
    }

    /// Starts the server in the background if what was recalled of it has not been confirmed for long.
    pub(super) fn confirm_later(self: &Arc<Self>, key: &Key) {
        let due = self.audience(key).is_some_and(|audience| self.state.lock().catalogs.is_due(&audience));
        if due {
            let (upstream, key) = (self.clone(), key.clone());
            self.around.tasks.spawn(async move {
                if let Err(failure) = upstream.line(&key).await {
                    tracing::debug!(server = %upstream.name, %failure, "offer not confirmed");
                }
                upstream.drain_unowned(&key);
            });
        }
    }

    /// Whether it has shaken hands with anybody.
    pub(super) fn has_said(&self) -> bool {
        self.state.lock().catalogs.any_handshake().is_some()
    }

    pub fn instructions(&self) -> Option<String> {
        Handshake::of_reply(self.state.lock().catalogs.any_handshake()?).instructions()
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

/// An answer to `initialize` under another id, in a revision that its agent asked for: processes are shared by agents that
/// ask for several, and a server answers none with a newer one than it knows.
pub(super) fn greeting(frame: &str, id: &str, version: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Greeting<'a> {
        #[serde(borrow, rename = "protocolVersion")]
        version: Option<&'a serde_json::value::RawValue>,
    }
    let envelope = Envelope::parse(frame.as_bytes()).ok()?;
    let mut edits = vec![envelope.edit(envelope.id, id)];
    let own = quoted(version);
    let said: Option<Greeting<'_>> = envelope.result.and_then(|result| serde_json::from_str(result).ok());
    if let Some(raw) = said.and_then(|said| said.version).map(serde_json::value::RawValue::get)
        && LEGACY_ALL.contains(&version)
        && text(raw).is_some_and(|said| LEGACY_ALL.contains(&&*said) && *version < *said)
    {
        edits.push(envelope.edit(raw, &own));
    }
    let mut out = Vec::with_capacity(frame.len() + id.len());
    splice(frame, &mut edits, &mut out);
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_greeting_is_in_the_revision_that_was_asked_for() {
        let frame = |version: &str| format!(r#"{{"id":1,"result":{{"protocolVersion":"{version}","x":1}}}}"#);
        for (said, asked, expected) in [
            ("2025-11-25", "2025-06-18", "2025-06-18"),
            ("2025-11-25", "2025-11-25", "2025-11-25"),
            ("2024-11-05", "2025-06-18", "2024-11-05"),
            ("2025-11-25", "1999-01-01", "2025-11-25"),
        ] {
            let greeting = super::greeting(&frame(said), "7", asked).unwrap_or_default();
            assert_eq!(greeting, frame(expected).replace("\"id\":1", "\"id\":7"), "{said} {asked}");
        }
    }
}
