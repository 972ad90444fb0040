//! Requests and answers between an agent of one era and a server of the other.

use std::sync::Arc;

use crate::envelope::reply::{self, code};
use crate::envelope::{Envelope, text};
use crate::hub::eras::{Disposition, bad_level, no_method, unsupported};
use crate::hub::log_level::Level;
use crate::hub::route::plan::Plan;
use crate::hub::session::Session;
use crate::hub::{Hub, Site, eras};
use crate::method::Method;

impl Hub {
    /// What to do with a request that the server does not know in this form; `None` if it can be sent across.
    pub(in crate::hub) fn translation<'e>(
        self: &Arc<Self>,
        session: &Arc<Session>,
        site: &Site,
        envelope: &Envelope<'e>,
    ) -> Option<Plan<'e>> {
        let instance = &site.instance;
        let agent = eras::era_of(envelope);
        if agent == instance.era() {
            return None;
        }
        if let Some(refusal) = unsupported(envelope) {
            session.reply(envelope.id, &refusal);
            return Some(Plan::Answered);
        }
        let answer = match eras::disposition(envelope.method, agent) {
            Disposition::Send => return None,
            Disposition::Discover => {
                let frame = instance.handshake().and_then(|handshake| handshake.initialize.clone());
                frame.and_then(|frame| eras::discover_result(&frame)).map(|result| reply::result(envelope.id, &result))
            }
            Disposition::Listen => {
                self.listen_on(session, instance, envelope);
                return Some(Plan::Answered);
            }
            Disposition::Pong => Some(reply::result(envelope.id, "{}")),
            Disposition::SetLevel => Some(match envelope.params.level.and_then(Level::parse) {
                Some(level) => {
                    instance.set_level(session.id, level);
                    reply::result(envelope.id, "{}")
                }
                None => bad_level(envelope.id),
            }),
            Disposition::Subscribe | Disposition::Unsubscribe => {
                let uri = envelope.params.uri.and_then(text);
                uri.map(|uri| {
                    if envelope.method == Some(Method::Subscribe) {
                        instance.subscribe(session.id, &uri, &uri);
                    } else {
                        instance.unsubscribe(session.id, &uri);
                    }
                    instance.renew_own_subscription();
                    reply::result(envelope.id, "{}")
                })
            }
            Disposition::NoMethod => Some(no_method(envelope)),
            Disposition::Tasks => {
                let message = format!(
                    "`{}` is not offered here: tasks of revision {} are not those of {}, which server `{}` speaks",
                    envelope.method_name,
                    agent.revision(),
                    instance.era().revision(),
                    instance.name
                );
                Some(reply::error(envelope.id, code::METHOD_NOT_FOUND, &message))
            }
        };
        let answer = answer.unwrap_or_else(|| {
            reply::error(envelope.id, code::INVALID_PARAMS, "the request does not name what it is about")
        });
        session.reply(envelope.id, &answer);
        Some(Plan::Answered)
    }
}
