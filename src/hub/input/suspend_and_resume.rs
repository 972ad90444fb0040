//! Calls of modern agents whose legacy server asks something: they rest until the agent comes back with the answers
//! (MCP 2026-07-28 `basic/patterns/mrtr`).
//!
//! What the agent brings back says nothing to anybody else: it is random, good for one agent, one request and one time, and
//! for a limited time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::envelope::reply::{self, code};
use crate::envelope::{Edit, Envelope, spliced, text};
use crate::hub::agent::Principal;
use crate::hub::eras::unknown_state;
use crate::hub::input::suspended_call::{Suspended, What, input_required, own_state};
use crate::hub::instance::calls::Calls;
use crate::hub::instance::calls::pending_call::{Asker, Caller, Leaving, Suspension, Translation, Waiting};
use crate::hub::routed::{Routed, cancellable};
use crate::hub::session::Session;
use crate::hub::session::open_request::Accepted;
use crate::hub::{Hub, Site, eras};
use crate::random::random_text;
use crate::record::Outcome;
use crate::wire::{Held, Message};

/// How many calls may rest.
const MOST: usize = 4096;
/// How long to wait for more questions, which then are asked together.
const GATHER: Duration = Duration::from_millis(20);

impl Hub {
    /// Notes what an agent may come back for, and with which state.
    pub(in crate::hub) fn suspend(
        self: &Arc<Self>,
        state: String,
        whose: Principal,
        request: Option<Box<str>>,
        what: What,
        patience: Duration,
    ) {
        let over = CancellationToken::new();
        let rested = Suspended { whose, request, what, _waits: over.clone().drop_guard() };
        self.resting.0.lock().insert(state.clone().into(), rested);
        let (hub, stop) = (self.clone(), self.services.around.stop.clone());
        self.services.around.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(patience) => {}
                () = over.cancelled() => return,
                () = stop.cancelled() => return,
            }
            let rested = hub.resting.0.lock().remove(&*state);
            rested.into_iter().for_each(|rested| hub.give_up(rested));
        });
    }

    /// An agent has left: it will not come back.
    pub(in crate::hub) fn forget_suspended_of(self: &Arc<Self>, session: &Session) {
        let whose = session.principal();
        if whose != Principal::Session(session.id) {
            return;
        }
        let gone: Vec<_> = self.resting.0.lock().extract_if(|_, rested| rested.whose == whose).collect();
        gone.into_iter().for_each(|(_, rested)| self.give_up(rested));
    }

    /// Takes a request with which a modern agent comes back; `None` if it is none.
    pub(in crate::hub) fn resume(self: &Arc<Self>, session: &Arc<Session>, envelope: &Envelope<'_>) -> Option<Routed> {
        let state = envelope.params.request_state.and_then(text)?;
        let state = state.strip_prefix(own_state())?;
        let Some(rested) = self.resting.take(state, &session.principal(), &eras::subject(envelope)) else {
            session.reply(envelope.id, &unknown_state(envelope.id));
            return Some(Routed::Done);
        };
        match rested.what {
            What::Answered(Some((frame, _))) => {
                let answer = Envelope::with_id(&frame, envelope.id).unwrap_or_default();
                session.reply(envelope.id, &answer);
            }
            What::Answered(None) => {
                let message = "it was answered meanwhile, and there was no room to keep the answer (max_memory)";
                session.reply(envelope.id, &reply::error(envelope.id, code::INTERNAL, message));
            }
            What::Call { instance, id } => match self.site(instance) {
                Some(site) => site.come_back(session, &id, envelope),
                None => session.reply(envelope.id, &unknown_state(envelope.id)),
            },
            What::Again(error) if opened(envelope) == Accepted::No => {
                let message = format!("the page was not opened; the server said: {error}");
                session.reply(envelope.id, &reply::error(envelope.id, code::INVALID_REQUEST, &message));
            }
            What::Login { server, before } => return Some(self.after_login(session, envelope, &server, before)),
            What::Again(_) => {
                let (hub, who, frame) = (self.clone(), session.clone(), eras::without_input_responses(envelope.frame));
                let work = async move {
                    let Some(message) = Message::again(frame).await else { return };
                    hub.take_to_end(&who, message.envelope()).await;
                };
                return Some(Routed::Aside(cancellable(session, envelope, work)));
            }
        }
        Some(Routed::Done)
    }

    /// Nobody comes back: the server is told, so that it can end what it is at.
    fn give_up(self: &Arc<Self>, rested: Suspended) {
        if let What::Call { instance, id } = rested.what
            && let Some(site) = self.site(instance)
        {
            site.give_up_suspended(&id, "the agent did not come back with an answer");
        }
    }

    fn question_timeout(&self) -> Duration {
        self.config().daemon.question_timeout.0
    }
}

/// Whether all pages were opened that had to be.
fn opened(envelope: &Envelope<'_>) -> Accepted {
    let answers: HashMap<String, serde_json::Value> =
        serde_json::from_str(envelope.params.input_responses.unwrap_or("{}")).unwrap_or_default();
    let all = !answers.is_empty() && answers.values().all(|answer| answer["action"] == "accept");
    if all { Accepted::Yes } else { Accepted::No }
}

impl Site {
    /// Takes a question that the server asks at a call of a modern agent. What comes right behind it is asked with it.
    pub(in crate::hub) fn ask_suspended(&self, calls: &mut Calls, call: u64, envelope: &Envelope<'_>, held: Held) {
        let Some(pending) = calls.get_mut(call) else { return };
        let first = pending.suspension.is_none();
        let rest = pending.suspension.get_or_insert_with(|| Box::new(Suspension::new(call)));
        rest.asked += 1;
        let request = eras::input_request(envelope).into();
        let task = envelope.params.meta.related_task.map(Into::into);
        let key = rest.asked.to_string().into();
        rest.questions.push(Waiting { key, id: envelope.id.into(), task, request, _held: held });
        if first {
            let (site, call) = (self.clone(), rest.call.clone());
            self.instance.around.later(GATHER, move || site.tell_to_come_back(&call));
        }
    }

    /// Tells a modern agent to come back with answers.
    fn tell_to_come_back(&self, call: &Arc<AtomicU64>) {
        if self.hub.resting.count() >= MOST {
            return self.give_up_suspended(call, "too many calls wait for answers");
        }
        let state = random_text();
        let now = call.load(Ordering::Relaxed);
        if self.instance.calls.lock().asks_nothing(now) {
            return;
        }
        let leaving = self.instance.calls.lock().suspend(now, &state);
        let Some(Leaving { session, id, subject, requests }) = leaving else {
            return self.give_up_suspended(call, "the agent cancelled its request");
        };
        // The agent's next message is read after this.
        session.reply(&id, &reply::result(&id, &input_required(&requests, &state)));
        let what = What::Call { instance: self.instance.id, id: call.clone() };
        self.hub.suspend(state, session.principal(), Some(subject), what, self.hub.question_timeout());
    }

    /// Answers a question that its call did not wait for: with roots, which are the agent's and not the call's, or not at all.
    pub(in crate::hub) fn end_question(&self, waiting: &Waiting) {
        let why = "the call that this was for is over";
        if waiting.is_for_roots() {
            self.answer_roots(&waiting.id, why, false)
        } else {
            self.instance.refuse(&waiting.id, why)
        }
    }

    /// A modern agent is back: the server gets what it brings, and the agent's request is the one that is answered.
    fn come_back(&self, session: &Arc<Session>, id: &Arc<AtomicU64>, envelope: &Envelope<'_>) {
        let answers: HashMap<Cow<'_, str>, &RawValue> =
            envelope.params.input_responses.and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default();
        self.instance.borrow(session);
        let mut calls = self.instance.calls.lock();
        let token = envelope.params.meta.progress_token.filter(|token| *token != "null");
        let call = id.load(Ordering::Relaxed);
        if !calls.wake(call, session, envelope.id, token) {
            drop(calls);
            let failure = self.server.unavailable("it ended meanwhile");
            return session.reply(envelope.id, &failure.frame(envelope.id));
        }
        let rest = calls.get_mut(call).and_then(|pending| pending.suspension.as_mut());
        let questions = rest.map(|rest| std::mem::take(&mut rest.questions)).unwrap_or_default();
        let is_answered = |waiting: &Waiting| answers.get(&*waiting.key).is_some_and(|raw| raw.get().starts_with('{'));
        let (answered, left): (Vec<_>, Vec<_>) = questions.into_iter().partition(is_answered);
        let again = !left.is_empty();
        if let Some(pending) = calls.get_mut(call) {
            pending.suspension = pending.suspension.take().filter(|_| again).map(|mut rest| {
                rest.questions = left;
                rest
            });
        }
        drop(calls);
        for waiting in answered {
            let answer = answers.get(&*waiting.key).map_or("{}", |raw| raw.get());
            if waiting.is_for_roots() {
                self.hub.take_modern_roots(session, answer);
            }
            let answer = waiting.task.map_or(answer.to_owned(), |task| eras::related(answer, &task));
            self.instance.answer_text(&reply::result(&waiting.id, &answer));
        }
        if again {
            // What is missing is asked for once more.
            self.tell_to_come_back(id);
        }
    }

    /// Ends a call that rests, or is about to, and what the server asks for it.
    fn give_up_suspended(&self, call: &AtomicU64, reason: &str) {
        let mut calls = self.instance.calls.lock();
        let call = call.load(Ordering::Relaxed);
        let Some(pending) = calls.get_mut(call) else { return };
        let (Some(rest), cancelled) = (pending.suspension.take(), pending.cancelled.is_some()) else { return };
        let (owner, begun) = (calls.give_up(call), calls.take_begun(call));
        drop(calls);
        self.instance.records().end(begun, Outcome::AgentLeft, None);
        for waiting in rest.questions {
            self.instance.refuse(&waiting.id, reason);
        }
        if cancelled {
            return;
        }
        if let Some(Caller::Agent { session, id, .. }) = owner {
            session.reply(&id, &reply::error(&id, code::INTERNAL, reason));
        }
        if let Err(refused) = self.instance.send_cancelled(call, reason) {
            tracing::debug!(server = %self.instance.name, ?refused, "cancellation dropped");
        }
    }

    /// Asks a modern agent for what must be done before a call is made again.
    pub(in crate::hub) fn ask_first(&self, asker: &Asker, requests: &str, error: &str, translation: &Translation) {
        let Asker { session, id, .. } = asker;
        let state = random_text();
        session.reply(id, &reply::result(id, &input_required(requests, &state)));
        let (subject, what) = (translation.subject.clone(), What::Again(error.into()));
        self.hub.suspend(state, session.principal(), Some(subject), what, self.hub.question_timeout());
    }

    /// Keeps an answer for the agent that is to come back for it.
    pub(in crate::hub) fn keep_answer(&self, translation: &Translation, rest: &Suspension, envelope: &Envelope<'_>) {
        if let Some(state) = &rest.state {
            let translate_result = eras::translate_result(envelope, translation.agent, translation.method);
            let own = translate_result.iter().map(|(at, with)| Edit { at: at.clone(), with });
            let frame = spliced(envelope.frame, own.chain([envelope.edit(envelope.id, "0")]));
            self.hub.resting.keep(state, &frame, self.instance.link.outbox.account().hold(frame.len()).ok());
        }
    }
}
