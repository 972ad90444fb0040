//! What is answered from the catalog while a server does not run: handshakes and lists, in its own words.

use std::sync::Arc;

use crate::envelope::Envelope;
use crate::envelope::reply;
use crate::era::{AgentTerms, Era};
use crate::hub::eras::unsupported;
use crate::hub::server::Server;
use crate::hub::session::Session;
use crate::hub::{Hub, eras};
use crate::lists::ListKind;
use crate::method::Method;

impl Hub {
    /// The answer to a request of a one-server view whose server is not up, if it is known.
    pub(in crate::hub) fn recall(
        &self,
        session: &Arc<Session>,
        server: &Arc<Server>,
        terms: &AgentTerms,
        envelope: &Envelope<'_>,
    ) -> Option<String> {
        let key = server.recall_key(session, terms)?;
        let audience = server.audience(&key)?;
        if audience.instance_terms.era() != terms.era() && unsupported(envelope).is_some() {
            return None;
        }
        let answer = match (envelope.method, ListKind::of_method(envelope.method)) {
            (Some(Method::Ping), _) if terms.era() == Era::Legacy => return Some(reply::result(envelope.id, "{}")),
            (Some(Method::Initialize | Method::Discover), _) => {
                let (era, frame) = server.recall_handshake(&audience)?;
                match (era != terms.era(), terms) {
                    (false, AgentTerms::Legacy(profile)) => eras::greeting(&frame, envelope.id, &profile.version)?,
                    (false, AgentTerms::Modern(_)) => Envelope::with_id(&frame, envelope.id)?,
                    (true, AgentTerms::Modern(_)) => reply::result(envelope.id, &eras::discover_result(&frame)?),
                    (true, AgentTerms::Legacy(profile)) => {
                        let version = profile.answer_version();
                        let result = eras::initialize_result(&frame, version, server.name.as_str())?;
                        reply::result(envelope.id, &result)
                    }
                }
            }
            (method, Some(kind)) if !envelope.params.is_retry() => {
                let (era, page) = server.recall_page(&audience, kind, envelope.params.cursor)?;
                let members = match terms {
                    AgentTerms::Modern(_) if era == Era::Legacy => eras::modern_members(method, &page),
                    AgentTerms::Modern(_) | AgentTerms::Legacy(_) => None,
                };
                let page = match (members, page.strip_prefix('{')) {
                    (Some(members), Some(rest)) => format!("{{{members}{rest}"),
                    (_, _) => page,
                };
                let frame = reply::result(envelope.id, &page);
                server.filter_tools(kind, &frame).unwrap_or(frame)
            }
            (_, _) => return None,
        };
        server.confirm_later(&key);
        Some(answer)
    }
}
