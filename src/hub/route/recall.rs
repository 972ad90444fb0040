//! What is answered from the catalog while a server does not run: handshakes and lists, in its own words.

use std::sync::Arc;

use crate::envelope::Envelope;
use crate::envelope::reply;
use crate::era::{Era, Speech};
use crate::hub::eras::unsupported;
use crate::hub::server::Upstream;
use crate::hub::session::Session;
use crate::hub::{Hub, eras};
use crate::lists::ListKind;

impl Hub {
    /// The answer to a request of a one-server view whose server is not up, if it is known.
    pub(in crate::hub) fn recall(
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
                    (false, Speech::Legacy(class)) => eras::greeting(&frame, envelope.id, &class.version)?,
                    (false, Speech::Modern(_)) => Envelope::with_id(&frame, envelope.id)?,
                    (true, Speech::Modern(_)) => reply::result(envelope.id, &eras::discover_result(&frame)?),
                    (true, Speech::Legacy(class)) => {
                        let version = class.answer_version();
                        let result = eras::initialize_result(&frame, version, upstream.name.as_str())?;
                        reply::result(envelope.id, &result)
                    }
                }
            }
            (method, Some(kind)) if !envelope.params.is_retry() => {
                let (era, page) = upstream.recall_page(&audience, kind, envelope.params.cursor)?;
                let members = match speech {
                    Speech::Modern(_) if era == Era::Legacy => eras::modern_members(method, &page),
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
