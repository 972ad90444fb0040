//! Calls of modern agents whose legacy server asks something: they rest until the agent comes back with the answers
//! (MCP 2026-07-28 `basic/patterns/mrtr`).
//!
//! What the agent brings back says nothing to anybody else: it is random, good for one agent, one request and one time, and
//! for a limited time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Hub;
use super::across::{Asker, unknown_state};
use super::bridge;
use super::line::Line;
use super::logins::bare;
use super::recall::under;
use super::router::{Routed, cancellable};
use super::session::{Accepted, Principal, Session};
use super::table::{Across, Owner, Rest, Table, Waiting};
use crate::envelope::reply::{self, code};
use crate::envelope::{Envelope, quoted, text};
use crate::names::ServerName;
use crate::oauth::random_text;
use crate::wire::{Held, Message};

/// How a `requestState` of trunkline's begins; then comes which daemon's it is, because a server may be a trunkline too.
const STATE: &str = "trunkline:";
/// How many calls may rest.
const MOST: usize = 4096;
/// How long to wait for more questions, which then are asked together.
const GATHER: Duration = Duration::from_millis(20);

/// What rests, by what the agent must bring back.
#[derive(Debug, Default)]
pub(super) struct Resting(Mutex<HashMap<Box<str>, Rested>>);

#[derive(Debug)]
struct Rested {
    whose: Principal,
    /// Which request may bring it back, if only one may.
    request: Option<Box<str>>,
    what: What,
    /// Ends the wait for the agent.
    _waits: DropGuard,
}

#[derive(Debug)]
pub(super) enum What {
    /// A call that the server is at.
    Call { line: Arc<Line>, id: Arc<AtomicU64> },
    /// It was answered meanwhile: the frame, but for its id; or there is no room for that.
    Answered(Option<(Box<str>, Held)>),
    /// The server has ended the call, and wants a person to open a page before it is made again; its error, raw.
    Again(Box<str>),
    /// A person is to log in at a server, where so many logins were done before.
    Login { server: ServerName, before: u64 },
}

impl Resting {
    pub(super) fn count(&self) -> usize {
        self.0.lock().len()
    }

    /// Keeps the answer to a call that rests.
    pub(super) fn keep(&self, state: &str, frame: &str, held: Option<Held>) {
        if let Some(rested) = self.0.lock().get_mut(state) {
            rested.what = What::Answered(held.map(|held| (frame.into(), held)));
        }
    }

    /// Takes what this request may have, once.
    fn take(&self, state: &str, whose: &Principal, request: &str) -> Option<Rested> {
        let mut all = self.0.lock();
        let fits = all
            .get(state)
            .is_some_and(|rested| rested.whose == *whose && rested.request.as_deref().is_none_or(|own| own == request));
        if fits { all.remove(state) } else { None }
    }
}

/// The result that tells an agent to come back with answers, and with this state.
pub(super) fn input_required(requests: &str, state: &str) -> String {
    let state = quoted(&format!("{}{state}", own_state()));
    format!(r#"{{"resultType":"input_required","inputRequests":{requests},"requestState":{state}}}"#)
}

/// How the states of this daemon begin.
fn own_state() -> &'static str {
    static OWN: OnceLock<String> = OnceLock::new();
    OWN.get_or_init(|| format!("{STATE}{:016x}:", fastrand::u64(..)))
}

impl Hub {
    /// Notes what an agent may come back for; returns what it must bring.
    pub(super) fn let_rest(
        self: &Arc<Self>,
        whose: Principal,
        request: Option<Box<str>>,
        what: What,
        patience: Duration,
    ) -> String {
        let state = random_text();
        let over = CancellationToken::new();
        let rested = Rested { whose, request, what, _waits: over.clone().drop_guard() };
        self.resting.0.lock().insert(state.clone().into(), rested);
        let (hub, key, stop) = (self.clone(), state.clone(), self.around.stop.clone());
        self.around.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(patience) => {}
                () = over.cancelled() => return,
                () = stop.cancelled() => return,
            }
            let rested = hub.resting.0.lock().remove(&*key);
            rested.into_iter().for_each(Rested::give_up);
        });
        state
    }

    /// An agent has left: it will not come back.
    pub(super) fn wake_none_of(&self, session: &Session) {
        let whose = session.principal();
        if whose != Principal::Session(session.id) {
            return;
        }
        let gone: Vec<_> = self.resting.0.lock().extract_if(|_, rested| rested.whose == whose).collect();
        gone.into_iter().for_each(|(_, rested)| rested.give_up());
    }

    /// Takes a request with which a modern agent comes back; `None` if it is none.
    pub(super) fn back_from_rest(self: &Arc<Self>, session: &Arc<Session>, envelope: &Envelope<'_>) -> Option<Routed> {
        let state = envelope.params.request_state.and_then(text)?;
        let state = state.strip_prefix(own_state())?;
        let Some(rested) = self.resting.take(state, &session.principal(), &bridge::subject(envelope)) else {
            session.reply(envelope.id, &unknown_state(envelope.id));
            return Some(Routed::Done);
        };
        match rested.what {
            What::Answered(Some((frame, _))) => {
                let answer = under(&frame, envelope.id).unwrap_or_default();
                session.reply(envelope.id, &answer);
            }
            What::Answered(None) => {
                let message = "it was answered meanwhile, and there was no room to keep the answer (max_memory)";
                session.reply(envelope.id, &reply::error(envelope.id, code::INTERNAL, message));
            }
            What::Call { line, id } => line.come_back(self, session, &id, envelope),
            What::Again(error) if opened(envelope) == Accepted::No => {
                let message = format!("the page was not opened; the server said: {error}");
                session.reply(envelope.id, &reply::error(envelope.id, code::INVALID_REQUEST, &message));
            }
            What::Login { server, before } => return Some(self.after_login(session, envelope, &server, before)),
            What::Again(_) => {
                let (hub, who, frame) = (self.clone(), session.clone(), bare(envelope.frame));
                let work = async move {
                    let Some(message) = Message::again(frame).await else { return };
                    hub.take_to_end(&who, message.envelope()).await;
                };
                return Some(Routed::Aside(cancellable(session, envelope, work)));
            }
        }
        Some(Routed::Done)
    }

    fn question_timeout(&self) -> Duration {
        self.config().daemon.question_timeout.0
    }
}

impl Rested {
    /// Nobody comes back: the server is told, so that it can end what it is at.
    fn give_up(self) {
        if let What::Call { line, id } = self.what {
            line.give_up_rest(&id, "the agent did not come back with an answer");
        }
    }
}

/// Whether all pages were opened that had to be.
fn opened(envelope: &Envelope<'_>) -> Accepted {
    let answers: HashMap<String, serde_json::Value> =
        serde_json::from_str(envelope.params.input_responses.unwrap_or("{}")).unwrap_or_default();
    let all = !answers.is_empty() && answers.values().all(|answer| answer["action"] == "accept");
    if all { Accepted::Yes } else { Accepted::No }
}

impl Line {
    /// Takes a question that the server asks at a call of a modern agent. What comes right behind it is asked with it.
    pub(super) fn rest(self: &Arc<Self>, table: &mut Table, call: u64, envelope: &Envelope<'_>, held: Held) {
        let Some(pending) = table.get_mut(call) else { return };
        let first = pending.rest.is_none();
        let rest = pending.rest.get_or_insert_with(|| Box::new(Rest::new(call)));
        rest.asked += 1;
        let request = bridge::input_request(envelope).into();
        let task = envelope.params.meta.related_task.map(Into::into);
        let key = rest.asked.to_string().into();
        rest.questions.push(Waiting { key, id: envelope.id.into(), task, request, _held: held });
        if first && let Some(upstream) = self.upstream.upgrade() {
            let (line, call) = (self.clone(), rest.call.clone());
            upstream.around.later(GATHER, move || line.tell_rest(&call));
        }
    }

    /// Tells a modern agent to come back with answers.
    fn tell_rest(self: &Arc<Self>, call: &Arc<AtomicU64>) {
        let Some(hub) = self.upstream.upgrade().and_then(|upstream| upstream.hub.upgrade()) else { return };
        let mut table = self.table.lock();
        if hub.resting.0.lock().len() >= MOST {
            drop(table);
            return self.give_up_rest(call, "too many calls wait for answers");
        }
        let now = call.load(Ordering::Relaxed);
        let asker = table.let_rest(now);
        // The lock is kept, so that no answer comes before it is known where to keep it.
        let (Some((session, id, request)), Some(rest)) =
            (asker, table.get_mut(now).and_then(|pending| pending.rest.as_mut()))
        else {
            drop(table);
            return self.give_up_rest(call, "the agent cancelled its request");
        };
        let what = What::Call { line: self.clone(), id: call.clone() };
        let state = hub.let_rest(session.principal(), Some(request), what, hub.question_timeout());
        rest.state = Some(state.clone().into());
        let asked = rest.questions.iter().map(|waiting| format!("{}:{}", quoted(&waiting.key), waiting.request));
        let requests = format!("{{{}}}", asked.collect::<Vec<_>>().join(","));
        drop(table);
        session.reply(&id, &reply::result(&id, &input_required(&requests, &state)));
    }

    /// Answers a question that its call did not wait for: with roots, which are the agent's and not the call's, or not at all.
    pub(super) fn end_question(self: &Arc<Self>, waiting: &Waiting) {
        let why = "the call that this was for is over";
        if waiting.is_for_roots() { self.answer_roots(&waiting.id, why, false) } else { self.refuse(&waiting.id, why) }
    }

    /// A modern agent is back: the server gets what it brings, and the agent's request is the one that is answered.
    fn come_back(self: &Arc<Self>, hub: &Hub, session: &Arc<Session>, id: &Arc<AtomicU64>, envelope: &Envelope<'_>) {
        let answers: HashMap<Cow<'_, str>, &RawValue> =
            envelope.params.input_responses.and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default();
        self.visit(session);
        let mut table = self.table.lock();
        let token = envelope.params.meta.progress_token.filter(|token| *token != "null");
        let call = id.load(Ordering::Relaxed);
        if !table.wake(call, session, envelope.id, token) {
            drop(table);
            let failure = hub.upstream(self.name.as_str()).map(|upstream| upstream.unavailable("it ended meanwhile"));
            return session.reply(envelope.id, &failure.unwrap_or_else(|failure| failure).frame(envelope.id));
        }
        let rest = table.get_mut(call).and_then(|pending| pending.rest.as_mut());
        let questions = rest.map(|rest| std::mem::take(&mut rest.questions)).unwrap_or_default();
        let is_answered = |waiting: &Waiting| answers.get(&*waiting.key).is_some_and(|raw| raw.get().starts_with('{'));
        let (answered, left): (Vec<_>, Vec<_>) = questions.into_iter().partition(is_answered);
        let again = !left.is_empty();
        if let Some(pending) = table.get_mut(call) {
            pending.rest = pending.rest.take().filter(|_| again).map(|mut rest| {
                rest.questions = left;
                rest
            });
        }
        drop(table);
        for waiting in answered {
            let answer = answers.get(&*waiting.key).map_or("{}", |raw| raw.get());
            if waiting.is_for_roots() {
                hub.take_modern_roots(session, answer);
            }
            let answer = waiting.task.map_or(answer.to_owned(), |task| bridge::related(answer, &task));
            self.answer_text(&reply::result(&waiting.id, &answer));
        }
        if again {
            // What is missing is asked for once more.
            self.tell_rest(id);
        }
    }

    /// Ends a call that rests, or is about to, and what the server asks for it.
    fn give_up_rest(self: &Arc<Self>, call: &AtomicU64, reason: &str) {
        let mut table = self.table.lock();
        let call = call.load(Ordering::Relaxed);
        let Some(pending) = table.get_mut(call) else { return };
        let (Some(rest), cancelled) = (pending.rest.take(), pending.cancelled.is_some()) else { return };
        let owner = table.give_up(call);
        drop(table);
        for waiting in rest.questions {
            self.refuse(&waiting.id, reason);
        }
        if cancelled {
            return;
        }
        if let Some(Owner::Agent { session, id, .. }) = owner {
            session.reply(&id, &reply::error(&id, code::INTERNAL, reason));
        }
        if let Err(refused) = self.send_cancelled(call, reason) {
            tracing::debug!(server = %self.name, ?refused, "cancellation dropped");
        }
    }

    /// Asks a modern agent for what must be done before a call is made again.
    pub(super) fn ask_first(&self, asker: &Asker, requests: &str, error: &str, across: &Across) {
        let Asker { session, id, .. } = asker;
        let Some(hub) = self.upstream.upgrade().and_then(|upstream| upstream.hub.upgrade()) else { return };
        let (subject, what) = (across.subject.clone(), What::Again(error.into()));
        let state = hub.let_rest(session.principal(), Some(subject), what, hub.question_timeout());
        session.reply(id, &reply::result(id, &input_required(requests, &state)));
    }
}
