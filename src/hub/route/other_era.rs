//! Requests and answers between an agent of one era and a server of the other.

use std::sync::Arc;

use crate::envelope::reply::{self, code};
use crate::envelope::{Envelope, text};
use crate::hub::eras::{Fate, bad_level, no_method, unsupported};
use crate::hub::level::Level;
use crate::hub::route::plan::Plan;
use crate::hub::session::Session;
use crate::hub::{Hub, Site, eras};

impl Hub {
    /// What to do with a request that the server does not know in this form; `None` if it can be sent across.
    pub(in crate::hub) fn across<'e>(
        self: &Arc<Self>,
        session: &Arc<Session>,
        site: &Site,
        envelope: &Envelope<'e>,
    ) -> Option<Plan<'e>> {
        let line = &site.line;
        let agent = eras::era_of(envelope);
        if agent == line.era() {
            return None;
        }
        if let Some(refusal) = unsupported(envelope) {
            session.reply(envelope.id, &refusal);
            return Some(Plan::Answered);
        }
        let answer = match eras::fate(&envelope.method, agent) {
            Fate::Send => return None,
            Fate::Discover => {
                let frame = line.handshake().and_then(|handshake| handshake.initialize.clone());
                frame.and_then(|frame| eras::discover_result(&frame)).map(|result| reply::result(envelope.id, &result))
            }
            Fate::Listen => {
                self.listen_on(session, line, envelope);
                return Some(Plan::Answered);
            }
            Fate::Pong => Some(reply::result(envelope.id, "{}")),
            Fate::SetLevel => Some(match envelope.params.level.and_then(Level::parse) {
                Some(level) => {
                    line.set_level(session.id, level);
                    reply::result(envelope.id, "{}")
                }
                None => bad_level(envelope.id),
            }),
            Fate::Subscribe | Fate::Unsubscribe => {
                let uri = envelope.params.uri.and_then(text);
                uri.map(|uri| {
                    if envelope.method == "resources/subscribe" {
                        line.subscribe(session.id, &uri, &uri);
                    } else {
                        line.unsubscribe(session.id, &uri);
                    }
                    line.listen_anew();
                    reply::result(envelope.id, "{}")
                })
            }
            Fate::NoMethod => Some(no_method(envelope)),
            Fate::Tasks => {
                let message = format!(
                    "`{}` is not offered here: tasks of revision {} are not those of {}, which server `{}` speaks",
                    envelope.method,
                    agent.revision(),
                    line.era().revision(),
                    line.name
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
