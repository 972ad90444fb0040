//! What a modern server asks in place of an answer, put to a legacy agent as requests; the call is made again with the
//! answers (MCP 2026-07-28 `basic/patterns/mrtr`).

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::across::Asker;
use super::bridge::{self, Asked, InputRequired};
use super::line::Line;
use super::session::{Question, Session};
use super::table::{Across, Opened, Owner, Pending};
use crate::envelope::Envelope;
use crate::envelope::reply::{self, code};
use crate::era::Speech;
use crate::retry::pause_after;
use crate::wire::{Held, To};

/// How often one call may be answered by questions.
const MOST: u32 = 200;
/// Pauses before a call is made again without asking anybody: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// Questions that were put to an agent, and the call that waits for all the answers.
#[derive(Debug)]
pub struct Round {
    line: Arc<Line>,
    asker: Asker,
    across: Across,
    /// The call whose task asks, under our id.
    call: Option<u64>,
    required: InputRequired,
    answers: Mutex<Vec<Option<Box<str>>>>,
    /// Pages that the person has opened.
    opened: Mutex<Vec<Opened>>,
    /// What the questions weigh.
    _held: Held,
}

impl Line {
    /// Why a server's questions cannot be put to an agent, if they cannot.
    fn not_to_be_asked(&self, asker: &Asker, across: &Across, required: &InputRequired) -> Option<String> {
        let refuse = |code, message: &str| Some(reply::error(&asker.id, code, message));
        let name = &self.name;
        if across.frame.is_none() {
            let message = format!("server `{name}` asks back where it may not, at `{}`", across.method);
            return refuse(code::INTERNAL, &message);
        }
        if across.rounds > MOST {
            return refuse(code::INTERNAL, &format!("server `{name}` asked {MOST} times instead of answering"));
        }
        let asked = required.asked.iter().find(|asked| !may_be_asked(&asker.session, asked))?;
        let message = format!("server `{name}` asks for `{}`, which this agent did not declare", asked.method);
        refuse(code::MISSING_CAPABILITY, &message)
    }

    /// Puts a server's questions to an agent; those of a task are of the call `call`, which is in flight meanwhile.
    pub(super) fn ask_round(
        self: &Arc<Self>,
        asker: Asker,
        mut across: Across,
        required: InputRequired,
        call: Option<u64>,
    ) {
        across.rounds += 1;
        let (session, id) = (asker.session.clone(), asker.id.clone());
        if let Some(refusal) = self.not_to_be_asked(&asker, &across, &required) {
            call.iter().for_each(|call| self.end_followed(*call));
            return session.reply(&id, &refusal);
        }
        let Ok(held) = session.account().hold(required.size()) else {
            call.iter().for_each(|call| self.end_followed(*call));
            let message = format!("server `{}` asks more than there is room for now (max_memory)", self.name);
            return session.reply(&id, &reply::error(&id, code::INTERNAL, &message));
        };
        // A page that the person has opened is not shown again: the server is asked until it has seen what it waits for.
        let opened = |asked: &Asked| across.opened.iter().any(|opened| opened.asked == *asked);
        let answers: Vec<_> =
            required.asked.iter().map(|asked| opened(asked).then(|| r#"{"action":"accept"}"#.into())).collect();
        let all = answers.iter().all(Option::is_some);
        let still = across.opened.iter().filter(|opened| required.asked.contains(&opened.asked)).cloned().collect();
        let (answers, opened) = (Mutex::new(answers), Mutex::new(still));
        let round = Arc::new(Round { line: self.clone(), asker, across, call, required, answers, opened, _held: held });
        if call.is_none() {
            session.began();
        }
        session.note_round(&id, &round);
        let hub = self.upstream.upgrade().and_then(|upstream| upstream.hub.upgrade());
        let left = hub.is_none_or(|hub| !hub.is_attached(session.id));
        if left || call.is_some_and(|call| !self.table.lock().is_waited_for(call)) {
            // It left, or cancelled, just now.
            round.end();
            return;
        }
        if all {
            return round.again_later();
        }
        for (index, asked) in round.required.asked.iter().enumerate() {
            if round.answers.lock()[index].is_none() {
                let ours = session.ask(Question::Round { round: round.clone(), index });
                session.tell(To::Call(&id), &bridge::question(asked, ours));
            }
        }
    }

    /// Tells an agent that what it sent a person to is done.
    pub(super) fn elicited(&self, session: &Session, across: &Across) {
        for opened in &across.opened {
            let params = format!(r#"{{"elicitationId":"{}"}}"#, bridge::elicitation_name(opened.question));
            session.tell(To::Agent, &reply::notification("notifications/elicitation/complete", &params));
        }
    }
}

fn may_be_asked(session: &Session, asked: &Asked) -> bool {
    let Some(class) = session.class() else { return false };
    match &*asked.method {
        "elicitation/create" if asked.is_page() => class.shows_urls(),
        "elicitation/create" => class.has("elicitation"),
        "sampling/createMessage" => class.has("sampling"),
        "roots/list" => class.has("roots"),
        _ => false,
    }
}

impl Round {
    /// Takes the agent's answer to one of the questions, which it was asked under `question`.
    pub fn answer(self: &Arc<Self>, index: usize, question: &str, envelope: &Envelope<'_>) {
        let asked = &self.required.asked[index];
        let answer = match (envelope.result, &*asked.method) {
            (Some(result), _) => result,
            // There is no other way to say so.
            (None, "elicitation/create") => r#"{"action":"cancel"}"#,
            (None, method) => {
                let error = envelope.error.unwrap_or_default();
                let message =
                    format!("server `{}` asks for `{method}`, which the agent refused: {error}", self.line.name);
                if self.end() {
                    let id = &self.asker.id;
                    self.asker.session.reply(id, &reply::error(id, code::INTERNAL, &message));
                }
                return;
            }
        };
        let complete = {
            let mut answers = self.answers.lock();
            answers[index] = Some(answer.into());
            answers.iter().all(Option::is_some)
        };
        let page = asked.is_page() && super::logins::accepts(answer, None) == super::session::Accepted::Yes;
        if page && let Ok(question) = question.parse() {
            self.opened.lock().push(Opened { asked: asked.clone(), question });
        }
        if complete {
            self.again();
        }
    }

    /// Takes the round off the session, with what is still open of it: the call is over. False if it was already.
    pub fn end(self: &Arc<Self>) -> bool {
        let session = &self.asker.session;
        if !session.forget_round(&self.asker.id, self) {
            return false;
        }
        match self.call {
            Some(call) => self.line.end_followed(call),
            None => session.ended(),
        }
        for question in session.take_round(self) {
            let params = format!(r#"{{"requestId":{question},"reason":"the call is over"}}"#);
            session.tell(To::Agent, &reply::notification("notifications/cancelled", &params));
        }
        true
    }

    fn again_later(self: Arc<Self>) {
        let Some(upstream) = self.line.upstream.upgrade() else { return self.again() };
        let pause = pause_after(self.across.rounds, PAUSE.0, PAUSE.1, 0.0);
        upstream.around.later(pause, move || self.again());
    }

    /// Makes the call again, with the answers: if the process that asked is gone, of the one in its place.
    fn again(self: &Arc<Self>) {
        let session = &self.asker.session;
        if !session.forget_round(&self.asker.id, self) {
            // It was cancelled meanwhile.
            return;
        }
        if let Some(call) = self.call {
            let opened = std::mem::take(&mut *self.opened.lock());
            return self.line.tell_task(call, &self.answers(), opened);
        }
        session.ended();
        let upstream = self.line.upstream.upgrade();
        match upstream.and_then(|upstream| Some((upstream.hub.upgrade()?, upstream.around.tasks.clone()))) {
            Some((hub, tasks)) if self.line.is_closed() || self.line.is_draining() => {
                let round = self.clone();
                tasks.spawn(async move {
                    let session = &round.asker.session;
                    let Some(class) = session.class() else { return };
                    match hub.line(session, round.line.name.as_str(), &Speech::Legacy(class)).await {
                        Ok(line) => round.send(&line),
                        Err(failure) => session.reply(&round.asker.id, &failure.frame(&round.asker.id)),
                    }
                });
            }
            Some(_) | None => self.send(&self.line),
        }
    }

    /// The name of each question, and its answer, raw.
    fn answers(&self) -> Vec<(Box<str>, Box<str>)> {
        let keys = self.required.asked.iter().map(|asked| asked.key.clone());
        keys.zip(self.answers.lock().iter().map(|answer| answer.clone().unwrap_or_default())).collect()
    }

    fn send(&self, line: &Arc<Line>) {
        let answers = self.answers();
        let mut across = self.across.clone();
        across.opened = std::mem::take(&mut self.opened.lock());
        let Asker { session, id, token, then } = self.asker.clone();
        let call = line.link.next_id();
        let state = self.required.state.as_deref();
        let frame = across.frame.as_deref().and_then(|frame| bridge::retry(frame, call, &answers, state));
        let Some(frame) = frame else {
            let message = format!("the answers cannot be brought to server `{}`", line.name);
            return session.reply(&id, &reply::error(&id, code::INTERNAL, &message));
        };
        across.retried = Some(frame.clone().into());
        line.visit(&session);
        let owner = Owner::Agent { session: session.clone(), id: id.clone(), token };
        let pending = Pending { across: Some(Box::new(across)), ..Pending::new(owner, then, None) };
        line.table.lock().insert(call, pending);
        if let Err(refused) = line.link.outbox.push(frame.len(), |out| out.extend_from_slice(frame.as_bytes()))
            && line.table.lock().remove(call).is_some()
        {
            session.reply(&id, &line.not_sent(&id, refused));
        }
        if session.gone.is_cancelled() {
            line.leave(&session);
        }
    }
}
