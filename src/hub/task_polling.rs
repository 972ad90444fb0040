//! Calls that a server of the other era makes tasks of: trunkline follows the task in the agent's place, and the call is
//! answered with what becomes of it. Until then it is in flight as any other, under one id of ours after another.

use std::time::Duration;

use parking_lot::MutexGuard;

use crate::envelope::Envelope;
use crate::envelope::reply;
use crate::era::Era;
use crate::hub::eras::{AsTask, InputRequired, Step, Task};
use crate::hub::instance::calls::Calls;
use crate::hub::instance::calls::pending_call::{Asker, Caller, Opened, Translation};
use crate::hub::{Site, eras};
use crate::method::Method;
use crate::record::Outcome;

/// What comes next for a call that goes on.
enum Next {
    Send(String),
    Sleep(Duration),
    Ask(InputRequired),
}

impl Site {
    /// Goes on with a call that the server has made a task of, or must make one of; false if this is its answer.
    pub(in crate::hub) fn follow(&self, id: u64, response: &Envelope<'_>) -> bool {
        let mut calls = self.instance.calls.lock();
        let Some(pending) = calls.get_mut(id).filter(|pending| !pending.turn.is_held()) else { return false };
        let over = pending.cancelled.is_some();
        let Some(translation) = pending.translation.as_mut() else { return false };
        let Some(step) = translation.task.step(translation.agent, response) else { return false };
        if over {
            // Nobody waits for it any more, and the server may not know that yet.
            if let Step::Begin(task, _) = step {
                translation.task = AsTask::Is(Task::new(task, id));
            }
            let cancel = translation.cancellation();
            drop(calls);
            self.instance.cancel_with(cancel);
            return false;
        }
        let number = self.instance.link.next_id();
        let Some(next) = next_of(translation, step, id, number) else { return false };
        if let AsTask::Is(task) = &mut translation.task {
            task.asleep = !matches!(next, Next::Send(_));
        }
        // It waits for a person.
        pending.parked = matches!(next, Next::Ask(_));
        let whose = pending.turn.whose;
        calls.go_on_as(id, number);
        match next {
            Next::Send(frame) => {
                drop(calls);
                self.send_on(number, &frame);
            }
            Next::Sleep(pause) => {
                drop(calls);
                self.poll_later(number, pause);
            }
            Next::Ask(required) => self.ask_for_task(calls, number, required),
        }
        self.instance.next_turns(whose);
        true
    }

    fn ask_for_task(&self, mut calls: MutexGuard<'_, Calls>, id: u64, required: InputRequired) {
        let asked = calls.get_mut(id).and_then(|pending| {
            pending.translation.iter_mut().for_each(|translation| translation.rounds += 1);
            let Caller::Agent { session, id, token } = &pending.owner else { return None };
            let (session, id, token, on_reply) = (session.clone(), id.clone(), token.clone(), pending.on_reply.clone());
            Some((Asker { session, id, token, on_reply }, (**pending.translation.as_ref()?).clone()))
        });
        drop(calls);
        if let Some((asker, translation)) = asked {
            self.ask(asker, translation, required, Some(id));
        }
    }

    /// Looks at a task after a while.
    fn poll_later(&self, id: u64, pause: Duration) {
        let site = self.clone();
        self.instance.around.later(pause, move || site.look(id));
    }

    fn look(&self, id: u64) {
        let mut calls = self.instance.calls.lock();
        let Some(pending) = calls.get_mut(id) else { return };
        let over = pending.cancelled.is_some();
        let Some(translation) = pending.translation.as_mut() else { return };
        if over {
            // Nothing was asked, so that nothing will be answered.
            let cancel = translation.cancellation();
            drop(calls);
            self.instance.cancel_with(cancel);
            return self.instance.over(id);
        }
        if let AsTask::Is(task) = &mut translation.task {
            task.asleep = false;
        }
        let frame = request(translation, poll_method(translation.agent), id, "");
        drop(calls);
        frame.iter().for_each(|frame| self.send_on(id, frame));
    }

    /// Tells a server what an agent says to what was asked for its task: the name of each question, and the answer, raw.
    pub(in crate::hub) fn tell_task(&self, id: u64, answers: &[(Box<str>, Box<str>)], opened: Vec<Opened>) {
        let mut calls = self.instance.calls.lock();
        // It may have ended with its server.
        let Some(pending) = calls.get_mut(id) else { return };
        pending.parked = false;
        let Some(translation) = pending.translation.as_mut() else { return };
        translation.opened = opened;
        let members = format!(r#","inputResponses":{}"#, eras::input_responses(answers));
        let frame = request(translation, Method::UpdateTask, id, &members);
        if let AsTask::Is(task) = &mut translation.task {
            task.asleep = false;
            task.answered.extend(answers.iter().map(|(key, _)| key.clone()));
        }
        drop(calls);
        frame.iter().for_each(|frame| self.send_on(id, frame));
    }

    /// Sends the next request of a call that goes on; that it cannot be sent is its answer.
    fn send_on(&self, id: u64, frame: &str) {
        if let Err(refused) = self.instance.link.push(frame.len(), |out| out.extend_from_slice(frame.as_bytes())) {
            let refusal = self.instance.not_sent(&id.to_string(), refused);
            Envelope::parse(refusal.as_bytes()).iter().for_each(|refusal| self.response(refusal));
        }
    }

    /// Ends a call whose agent does not answer what is asked for its task.
    pub(in crate::hub) fn end_followed(&self, id: u64) {
        let mut calls = self.instance.calls.lock();
        let cancel = calls.get_mut(id).and_then(|pending| pending.translation.as_mut()?.cancellation());
        let pending = calls.remove(id);
        drop(calls);
        self.instance.cancel_with(cancel);
        if let Some(mut pending) = pending {
            self.instance.records().end(pending.begun.take(), Outcome::AgentLeft, None);
            self.instance.answered(pending.owner.agent().map(|(session, _)| &**session));
        }
    }
}

/// What a step needs, of a call that went out as `id` and goes on as `number`; `None` if there is no such way.
fn next_of(translation: &mut Translation, step: Step, id: u64, number: u64) -> Option<Next> {
    match step {
        Step::Allow => {
            let agent = translation.agent;
            let allowed = |frame: Option<&str>| eras::allowed(agent, frame?, number);
            let base = allowed(translation.frame.as_deref())?;
            let frame = allowed(translation.retried.as_deref()).unwrap_or_else(|| base.clone());
            translation.frame = Some(base.into());
            translation.task = AsTask::Allowed;
            Some(Next::Send(frame))
        }
        Step::Begin(task, pause) => {
            translation.task = AsTask::Is(Task::new(task, id));
            match translation.agent {
                Era::Legacy => Some(Next::Sleep(pause)),
                Era::Modern => request(translation, poll_method(Era::Modern), number, "").map(Next::Send),
            }
        }
        Step::Poll(pause) => {
            note_failures(translation, |_| 0);
            Some(Next::Sleep(pause))
        }
        Step::PollOnceMore(pause) => {
            note_failures(translation, |failures| failures + 1);
            Some(Next::Sleep(pause))
        }
        Step::Ask(required) => {
            note_failures(translation, |_| 0);
            Some(Next::Ask(required))
        }
    }
}

fn note_failures(translation: &mut Translation, count: impl Fn(u32) -> u32) {
    if let AsTask::Is(task) = &mut translation.task {
        task.failures = count(task.failures);
    }
}

/// How a task is looked at on the way to the agent: a legacy server waits until there is a result.
fn poll_method(agent: Era) -> Method {
    match agent {
        Era::Modern => Method::TaskResult,
        Era::Legacy => Method::GetTask,
    }
}

fn request(translation: &Translation, method: Method, id: u64, members: &str) -> Option<String> {
    let AsTask::Is(task) = &translation.task else { return None };
    let params = task.params(translation.agent, translation.frame.as_deref().unwrap_or_default(), members);
    Some(reply::request(id, method, &params))
}
