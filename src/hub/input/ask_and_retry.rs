//! What a modern server asks in place of an answer, put to a legacy agent as requests; the call is made again with the
//! answers (MCP 2026-07-28 `basic/patterns/mrtr`).

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::envelope::Envelope;
use crate::envelope::reply::{self, code};
use crate::era::AgentTerms;
use crate::hub::eras::{Asked, InputRequired};
use crate::hub::input::input_round::InputRound;
use crate::hub::instance::Instance;
use crate::hub::instance::calls::pending_call::{Asker, Caller, Opened, PendingCall, Translation};
use crate::hub::session::Session;
use crate::hub::session::open_request::{Accepted, OpenRequest};
use crate::hub::{Hub, Site, eras};
use crate::method::Method;
use crate::retry::pause_after;
use crate::wire::To;

/// How often one call may be answered by questions.
const MOST: u32 = 200;
/// Pauses before a call is made again without asking anybody: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

impl Site {
    /// Why a server's questions cannot be put to an agent, if they cannot.
    fn not_to_be_asked(&self, asker: &Asker, translation: &Translation, required: &InputRequired) -> Option<String> {
        let refuse = |code, message: &str| Some(reply::error(&asker.id, code, message));
        let name = &self.instance.name;
        if translation.frame.is_none() {
            let message = format!(
                "server `{name}` asks back where it may not, at `{}`",
                translation.method.map_or("this method", Method::name)
            );
            return refuse(code::INTERNAL, &message);
        }
        if translation.rounds > MOST {
            return refuse(code::INTERNAL, &format!("server `{name}` asked {MOST} times instead of answering"));
        }
        let asked = required.asked.iter().find(|asked| !may_be_asked(&asker.session, asked))?;
        let message = format!("server `{name}` asks for `{}`, which this agent did not declare", asked.method);
        refuse(code::MISSING_CAPABILITY, &message)
    }

    /// Puts a server's questions to an agent; those of a task are of the call `call`, which is in flight meanwhile.
    pub(in crate::hub) fn ask(
        &self,
        asker: Asker,
        mut translation: Translation,
        required: InputRequired,
        call: Option<u64>,
    ) {
        translation.rounds += 1;
        let (session, id) = (asker.session.clone(), asker.id.clone());
        if let Some(refusal) = self.not_to_be_asked(&asker, &translation, &required) {
            call.iter().for_each(|call| self.end_followed(*call));
            return session.reply(&id, &refusal);
        }
        let Ok(held) = session.account().hold(required.size()) else {
            call.iter().for_each(|call| self.end_followed(*call));
            let message = format!("server `{}` asks more than there is room for now (max_memory)", self.instance.name);
            return session.reply(&id, &reply::error(&id, code::INTERNAL, &message));
        };
        // A page that the person has opened is not shown again: the server is asked until it has seen what it waits for.
        let opened = |asked: &Asked| translation.opened.iter().any(|opened| opened.asked == *asked);
        let answers: Vec<_> =
            required.asked.iter().map(|asked| opened(asked).then(|| r#"{"action":"accept"}"#.into())).collect();
        let all = answers.iter().all(Option::is_some);
        let still =
            translation.opened.iter().filter(|opened| required.asked.contains(&opened.asked)).cloned().collect();
        let (answers, opened) = (Mutex::new(answers), Mutex::new(still));
        let round = Arc::new(InputRound {
            number: self.hub.rounds.next_number(),
            server: self.instance.name.clone(),
            instance: self.instance.id,
            asker,
            translation,
            call,
            required,
            answers,
            opened,
            _held: held,
        });
        if call.is_none() {
            session.began();
        }
        self.hub.rounds.add(&round);
        let left = self.hub.session(session.id).is_none();
        if left || call.is_some_and(|call| !self.instance.calls.lock().is_waited_for(call)) {
            // It left, or cancelled, just now.
            self.hub.end_round(&round);
            return;
        }
        if all {
            return self.hub.retry_later(round);
        }
        for (index, asked) in round.required.asked.iter().enumerate() {
            if round.answers.lock()[index].is_none() {
                let ours = session.ask(OpenRequest::InputRound { call: id.clone(), round: round.number, index });
                session.tell(To::Call(&id), &eras::question(asked, ours));
            }
        }
    }

    /// Tells an agent that what it sent a person to is done.
    pub(in crate::hub) fn elicited(&self, session: &Session, translation: &Translation) {
        for opened in &translation.opened {
            let params = format!(r#"{{"elicitationId":"{}"}}"#, eras::elicitation_name(opened.question));
            session.tell(To::Agent, &reply::notification(Method::ElicitationComplete, &params));
        }
    }
}

fn may_be_asked(session: &Session, asked: &Asked) -> bool {
    let params = asked.params.as_deref().unwrap_or_default();
    session.profile().is_some_and(|profile| eras::may_be_asked(&profile, asked.what(), params))
}

impl Hub {
    /// Takes the agent's answer to one of the questions of a round, which it was asked under `question`.
    pub(in crate::hub) fn answer_round(
        self: &Arc<Self>,
        round: &Arc<InputRound>,
        index: usize,
        question: &str,
        envelope: &Envelope<'_>,
    ) {
        let asked = &round.required.asked[index];
        let answer = match (envelope.result, asked.what()) {
            (Some(result), _) => result,
            // There is no other way to say so.
            (None, Some(Method::Elicit)) => r#"{"action":"cancel"}"#,
            (None, _) => {
                let method = &asked.method;
                let error = envelope.error.unwrap_or_default();
                let message =
                    format!("server `{}` asks for `{method}`, which the agent refused: {error}", round.server);
                if self.end_round(round) {
                    let id = &round.asker.id;
                    round.asker.session.reply(id, &reply::error(id, code::INTERNAL, &message));
                }
                return;
            }
        };
        let complete = {
            let mut answers = round.answers.lock();
            answers[index] = Some(answer.into());
            answers.iter().all(Option::is_some)
        };
        if asked.is_page()
            && Accepted::of(answer, None) == Accepted::Yes
            && let Ok(question) = question.parse()
        {
            round.opened.lock().push(Opened { asked: asked.clone(), question });
        }
        if complete {
            self.retry(round);
        }
    }

    /// Ends every call of an agent that waits for its answers.
    pub(in crate::hub) fn end_rounds(self: &Arc<Self>, session: &Session) {
        for round in self.rounds.of(session.id) {
            self.end_round(&round);
        }
    }

    /// Forgets a round, with what is still open of it: the call is over. False if it was already.
    pub(in crate::hub) fn end_round(self: &Arc<Self>, round: &Arc<InputRound>) -> bool {
        if !self.rounds.remove(round) {
            return false;
        }
        let session = &round.asker.session;
        match round.call {
            Some(call) => {
                if let Some(site) = self.site(round.instance) {
                    site.end_followed(call);
                }
            }
            None => session.ended(),
        }
        for question in session.take_round(round.number) {
            let params = format!(r#"{{"requestId":{question},"reason":"the call is over"}}"#);
            session.tell(To::Agent, &reply::notification(Method::Cancelled, &params));
        }
        true
    }

    fn retry_later(self: &Arc<Self>, round: Arc<InputRound>) {
        let pause = pause_after(round.translation.rounds, PAUSE.0, PAUSE.1, 0.0);
        let (hub, stop) = (self.clone(), self.services.around.stop.clone());
        self.services.around.tasks.spawn(async move {
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
                hub.retry(&round);
            }
        });
    }

    /// Makes the call again, with the answers: if the process that asked is gone, of the one in its place.
    fn retry(self: &Arc<Self>, round: &Arc<InputRound>) {
        if !self.rounds.remove(round) {
            // It was cancelled meanwhile.
            return;
        }
        let site = self.site(round.instance);
        if let Some(call) = round.call {
            let opened = std::mem::take(&mut *round.opened.lock());
            if let Some(site) = site {
                site.tell_task(call, &round.answers(), opened);
            }
            return;
        }
        round.asker.session.ended();
        match site.filter(|site| !site.instance.is_closed() && !site.instance.is_draining()) {
            Some(site) => send(round, &site.instance),
            None => {
                let (hub, round) = (self.clone(), round.clone());
                self.services.around.tasks.spawn(async move {
                    let session = &round.asker.session;
                    let Some(profile) = session.profile() else { return };
                    match hub.instance(session, round.server.as_str(), &AgentTerms::Legacy(profile)).await {
                        Ok(site) => send(&round, &site.instance),
                        Err(failure) => session.reply(&round.asker.id, &failure.frame(&round.asker.id)),
                    }
                });
            }
        }
    }
}

/// Makes a call again, with the answers.
fn send(round: &InputRound, instance: &Arc<Instance>) {
    let answers = round.answers();
    let mut translation = round.translation.clone();
    translation.opened = std::mem::take(&mut round.opened.lock());
    let Asker { session, id, token, on_reply } = round.asker.clone();
    let call = instance.link.next_id();
    let state = round.required.state.as_deref();
    let frame = translation.frame.as_deref().and_then(|frame| eras::retry(frame, call, &answers, state));
    let Some(frame) = frame else {
        let message = format!("the answers cannot be brought to server `{}`", instance.name);
        return session.reply(&id, &reply::error(&id, code::INTERNAL, &message));
    };
    translation.retried = Some(frame.clone().into());
    instance.borrow(&session);
    let owner = Caller::Agent { session: session.clone(), id: id.clone(), token };
    let begun = translation.begun.take();
    let translation = Some(Box::new(translation));
    let pending = PendingCall { translation, begun, ..PendingCall::new(owner, on_reply, None) };
    instance.calls.lock().insert(call, pending);
    if let Err(refused) = instance.link.push(frame.len(), |out| out.extend_from_slice(frame.as_bytes()))
        && instance.calls.lock().remove(call).is_some()
    {
        session.reply(&id, &instance.not_sent(&id, refused));
    }
    if session.gone.is_cancelled() {
        instance.detach(&session);
    }
}
