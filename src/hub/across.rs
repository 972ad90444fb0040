//! Requests and answers between an agent of one era and a server of the other.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::Hub;
use super::bridge::{self, AsTask, Fate};
use super::level::Level;
use super::line::Line;
use super::router::Plan;
use super::session::Session;
use super::table::{Across, Rest, Then};
use crate::envelope::reply::{self, code};
use crate::envelope::{Edit, Envelope, splice, text};
use crate::era::{Era, LEGACY_ALL, MODERN};
use crate::wire::To;

/// An agent's request that was answered: whose, under which id and token, and what was to be done.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    pub session: Arc<Session>,
    pub id: Box<str>,
    pub token: Option<Box<str>>,
    pub then: Then,
}

impl Hub {
    /// What to do with a request that the server does not know in this form; `None` if it can be sent across.
    pub(super) fn across<'e>(
        self: &Arc<Self>,
        session: &Arc<Session>,
        line: &Arc<Line>,
        envelope: &Envelope<'e>,
    ) -> Option<Plan<'e>> {
        let agent = bridge::era_of(envelope);
        if agent == line.era() {
            return None;
        }
        if let Some(refusal) = unsupported(envelope) {
            session.reply(envelope.id, &refusal);
            return Some(Plan::Answered);
        }
        let answer = match bridge::fate(&envelope.method, agent) {
            Fate::Send => return None,
            Fate::Discover => {
                let frame = line.handshake().and_then(|handshake| handshake.initialize.clone());
                frame
                    .and_then(|frame| bridge::discover_result(&frame))
                    .map(|result| reply::result(envelope.id, &result))
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

/// The refusal of a request of a revision that trunkline cannot translate.
pub(super) fn unsupported(envelope: &Envelope<'_>) -> Option<String> {
    let version = text(envelope.params.meta.protocol_version?)?;
    (version != MODERN).then(|| not_modern(envelope.id, &version))
}

/// The refusal of a request that stands for itself, in a revision in which none does.
pub fn not_modern(id: &str, version: &str) -> String {
    let message = match LEGACY_ALL.contains(&version) {
        true => {
            format!("in revision {version} a session begins with `initialize`, and requests carry no `_meta` for it")
        }
        false => format!("revision {version} is not supported"),
    };
    reply::unsupported_version(id, &message, &bridge::supported(), version)
}

/// The refusal of a request that comes back for something that is not there.
pub(super) fn unknown_state(id: &str) -> String {
    let message = "this `requestState` is not known here, has expired, was used before, or belongs to another request: call again without it";
    reply::error(id, code::INVALID_PARAMS, message)
}

pub(super) fn no_method(envelope: &Envelope<'_>) -> String {
    let message = format!("revision {} has no method `{}`", bridge::era_of(envelope).revision(), envelope.method);
    reply::error(envelope.id, code::METHOD_NOT_FOUND, &message)
}

pub(super) fn bad_level(id: &str) -> String {
    reply::error(id, code::INVALID_PARAMS, "`level` is not one of the log levels of RFC 5424")
}

/// What is changed in a request for a server of the other era, and what is kept of it.
pub(super) struct Crossing {
    pub edits: Vec<(Range<usize>, String)>,
    pub across: Box<Across>,
}

impl Line {
    /// What a request with the view's edits must be changed in for a server of the other era; `None` if it speaks the agent's.
    /// `ours` is the progress token towards the server, if the agent gave one.
    pub(super) fn cross(
        &self,
        session: &Session,
        envelope: &Envelope<'_>,
        edits: &[Edit<'_>],
        ours: &str,
    ) -> Option<Crossing> {
        let agent = bridge::era_of(envelope);
        if agent == self.era() {
            return None;
        }
        let meta = envelope.params.meta_raw;
        let meta = meta.map(|meta| (meta, with_token(meta, envelope.params.meta.progress_token, ours)));
        let own = meta.as_ref().map(|(_, own)| &**own);
        let (with, level) = match agent {
            Era::Modern => (own.map(bridge::legacy_meta), envelope.params.meta.log_level.and_then(Level::parse)),
            Era::Legacy => {
                let capabilities = session.class().map(|class| class.capabilities.clone()).unwrap_or("{}".to_owned());
                let capabilities = bridge::without_tasks(&capabilities);
                let level = self.level_of(session.id).map(Level::raw);
                (Some(bridge::modern_meta(own, session.client_info().as_deref(), &capabilities, level)), None)
            }
        };
        if let Some(level) = level {
            self.want_level(session.id, level);
        }
        let task = self.task_of(agent, envelope, edits);
        let mut more = Vec::new();
        // What is not there yet is put first in the params.
        let mut put = Vec::new();
        if task == AsTask::Allowed {
            put.push(bridge::AS_TASK.to_owned());
        }
        match (meta, with) {
            (Some((meta, _)), Some(with)) => more.push((envelope.span(meta), with)),
            (None, Some(with)) => put.push(format!(r#""_meta":{with}"#)),
            (_, None) => {}
        }
        if !put.is_empty() {
            more.extend(bridge::at_params(envelope.frame, &put.join(",")));
        }
        let asks_back = agent == Era::Legacy && bridge::may_ask(&envelope.method);
        let frame = (asks_back || task != AsTask::Never).then(|| {
            let own = more.iter().map(|(at, with)| Edit { at: at.clone(), with });
            spliced(envelope.frame, edits.iter().cloned().chain(own)).into()
        });
        let across = Across {
            agent,
            method: (&*envelope.method).into(),
            subject: bridge::subject(envelope),
            frame,
            retried: None,
            task,
            level,
            rounds: 0,
            opened: Vec::new(),
            _held: None,
        };
        Some(Crossing { edits: more, across: Box::new(across) })
    }

    /// Brings an answer across; `response` is what the agent may see of it.
    pub(super) fn answer_across(self: &Arc<Self>, asker: Asker, across: Across, response: &Envelope<'_>) {
        let outcome = Some(response).filter(|_| across.agent == Era::Legacy);
        let outcome = outcome.and_then(|response| across.task.outcome(response));
        let outcome = outcome.as_ref().and_then(|outcome| Envelope::parse(outcome.as_bytes()).ok());
        let envelope = outcome.as_ref().unwrap_or(response);
        match across.agent {
            Era::Modern => {
                if let Some(requests) = envelope.error.and_then(bridge::elicitation_result) {
                    let error = envelope.error.unwrap_or_default();
                    let shows = asker.session.classes().iter().any(|class| class.shows_urls());
                    return match shows {
                        true => self.ask_first(&asker, &requests, error, &across),
                        false => {
                            let message = format!("server `{}` wants a person to open a page first", self.name);
                            asker.session.reply(&asker.id, &bridge::page_not_shown(&asker.id, &message))
                        }
                    };
                }
            }
            Era::Legacy => {
                if let Some(required) = envelope.result.and_then(bridge::InputRequired::parse) {
                    return self.ask_round(asker, across, required, None);
                }
                self.elicited(&asker.session, &across);
            }
        }
        let Asker { session, id, .. } = asker;
        let crossed = crossed(envelope, &across);
        let mut edits: Vec<_> = crossed.iter().map(|(at, with)| Edit { at: at.clone(), with }).collect();
        edits.push(envelope.edit(envelope.id, &id));
        session.send_edited(To::Answer(&id), envelope, &mut edits);
    }

    /// Keeps an answer for the agent that is to come back for it.
    pub(super) fn keep_answer(&self, across: &Across, rest: &Rest, envelope: &Envelope<'_>) {
        if let Some(hub) = self.upstream.upgrade().and_then(|upstream| upstream.hub.upgrade())
            && let Some(state) = &rest.state
        {
            let crossed = crossed(envelope, across);
            let own = crossed.iter().map(|(at, with)| Edit { at: at.clone(), with });
            let frame = spliced(envelope.frame, own.chain([envelope.edit(envelope.id, "0")]));
            hub.resting.keep(state, &frame, self.link.outbox.account().hold(frame.len()).ok());
        }
    }
}

/// `_meta`, raw, with another progress token in place of its own.
fn with_token<'m>(meta: &'m str, token: Option<&str>, ours: &str) -> Cow<'m, str> {
    let Some(token) = token.filter(|token| *token != "null") else { return meta.into() };
    let at = token.as_ptr() as usize - meta.as_ptr() as usize;
    format!("{}{ours}{}", &meta[..at], &meta[at + token.len()..]).into()
}

/// What is changed in an answer for an agent of the other era, but for its id.
fn crossed(envelope: &Envelope<'_>, across: &Across) -> Vec<(Range<usize>, String)> {
    let code = envelope.error.and_then(|error| bridge::error_code(across.agent, &across.method, error));
    let code = code.map(|(raw, code)| (envelope.span(raw), code.to_string()));
    let members = envelope.result.filter(|_| across.agent == Era::Modern);
    let members = members.and_then(|result| {
        let at = envelope.span(result).start + 1;
        Some((at..at, bridge::modern_members(&across.method, result)?))
    });
    code.into_iter().chain(members).collect()
}

/// A frame with edits.
fn spliced<'e>(frame: &str, edits: impl Iterator<Item = Edit<'e>>) -> String {
    let mut edits: Vec<_> = edits.collect();
    let more = edits.iter().map(|edit| edit.with.len()).sum::<usize>();
    let mut out = Vec::with_capacity(frame.len() + more);
    splice(frame, &mut edits, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
