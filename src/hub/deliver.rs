//! What a server sends, brought to the agent it belongs to, and to no other.

pub(in crate::hub) mod closing;
pub(in crate::hub) mod given_up;
pub(in crate::hub) mod list_changes;
pub(in crate::hub) mod max_result;
pub(in crate::hub) mod notifications;
pub(in crate::hub) mod server_requests;
pub(in crate::hub) mod unmatched_answers;

use crate::envelope::{Edit, Envelope, Kind, result_meta};
use crate::era::Era;
use crate::fault;
use crate::hub::ids::SessionId;
use crate::hub::instance::calls::pending_call::{Asker, Caller, OnReply, PendingCall, Translation};
use crate::hub::session::Session;
use crate::hub::{Site, eras};
use crate::method::Method;
use crate::upstream::Inbound;
use crate::upstream::catalog::filtered;
use crate::wire::To;

impl Site {
    /// Takes one message of the server, or its end.
    pub fn inbound(&self, inbound: Inbound<'_>) {
        match inbound {
            Inbound::Message { envelope, call } => {
                fault::provoked_by(&envelope.method_name);
                match envelope.kind {
                    Kind::Response => self.response(envelope),
                    Kind::Request => self.question(envelope, call),
                    Kind::Notification => self.notification(envelope, call),
                }
            }
            Inbound::BehindText(envelope) => self.behind_text(envelope),
            Inbound::Unreadable { id, reason } => self.unreadable(id, reason),
            Inbound::Parked { id, frame, why } => self.parked(id, frame, why),
            Inbound::Over(id) => self.instance.over(id),
            Inbound::Paused(id) => self.paused(id),
            Inbound::SessionLost => self.session_lost(),
            Inbound::Renewed => self.renewed(),
            Inbound::Closed(reason) => self.closed(reason),
        }
    }

    pub(in crate::hub) fn response(&self, envelope: &Envelope<'_>) {
        let ours = envelope.id.parse().ok();
        if ours.is_some_and(|id| self.follow(id, envelope)) {
            return;
        }
        let pending = {
            let mut calls = self.instance.calls.lock();
            let pending = ours.and_then(|id| calls.answered(id, envelope.error.is_none()));
            // Under the lock, so that an agent that comes back now finds it.
            if let Some(PendingCall {
                owner: Caller::Suspended(_),
                translation: Some(translation),
                suspension: Some(suspension),
                ..
            }) = &pending
            {
                self.keep_answer(translation, suspension, envelope);
            }
            pending
        };
        let large = pending.as_ref().and_then(|pending| self.too_large(pending.owner.agent()?.0, envelope));
        let large = large.as_ref().and_then(|frame| Envelope::parse(frame.as_bytes()).ok());
        let envelope = large.as_ref().unwrap_or(envelope);
        let Some(PendingCall { owner, on_reply, mut translation, cancelled, suspension, begun, .. }) = pending else {
            return self.answers_nothing(envelope);
        };
        match &mut translation {
            // It goes on when the agent has answered what it is asked.
            Some(translation) if translation.asks(envelope) => translation.begun = begun,
            Some(_) | None => self.instance.records().answered(begun, envelope),
        }
        if let (Caller::Agent { .. }, Some(suspension)) = (&owner, suspension) {
            // It was answered before its agent could be told of the questions.
            suspension.questions.iter().for_each(|waiting| self.end_question(waiting));
        }
        match owner {
            // Its stream is closed, and the id may be another request's by now; across the eras, it may be no answer yet.
            Caller::Agent { session, token, .. }
                if cancelled.is_some() && (session.is_over_http() || translation.is_some()) =>
            {
                self.settle(&session, &on_reply, envelope);
                if translation.is_none() {
                    self.note_task(&session, envelope, token.as_deref());
                }
                self.instance.answered(Some(&session));
            }
            Caller::Agent { session, id, token } => {
                self.answer_agent(Asker { session, id, token, on_reply }, translation, envelope);
            }
            Caller::Daemon(sender) | Caller::Hub(sender) => {
                // A receiver that went away no longer wants the answer.
                drop(sender.send(Ok(envelope.frame.into())));
                self.instance.answered(None);
            }
            Caller::Listener => {
                if let Ok(id) = envelope.id.parse() {
                    self.instance.own_subscription_answered(id, envelope.error);
                }
            }
            Caller::Fence(call) => self.instance.calls.lock().hear_of_cancelled(call),
            Caller::Gone(session) => {
                self.note_task_left(session, envelope);
                self.instance.answered(None);
            }
            Caller::Suspended(_) | Caller::Nobody => self.instance.answered(None),
        }
    }

    /// Brings an answer to the agent that waits for it, under its own id.
    fn answer_agent(&self, asker: Asker, translation: Option<Box<Translation>>, envelope: &Envelope<'_>) {
        let Asker { session, id, token, on_reply } = &asker;
        let session = session.clone();
        self.settle(&session, on_reply, envelope);
        let filtered = self.note_list(&session, on_reply, envelope);
        self.note_pages(Some(session.id).filter(|_| translation.is_none()), envelope);
        if let Some(translation) = translation {
            let filtered = filtered.as_ref().and_then(|frame| Envelope::parse(frame.as_bytes()).ok());
            self.translate_answer(asker, *translation, filtered.as_ref().unwrap_or(envelope));
            return self.instance.answered(Some(&session));
        }
        self.note_task(&session, envelope, token.as_deref());
        if let Some(frame) = filtered.and_then(|frame| Envelope::with_id(&frame, id)) {
            session.reply(id, &frame);
        } else {
            let mut edits = vec![envelope.edit(envelope.id, id)];
            if matches!(on_reply, OnReply::Listen | OnReply::ListenAgain)
                && let Some(subscription) = envelope.result.and_then(|result| result_meta(result).subscription_id)
            {
                edits.push(envelope.edit(subscription, id));
            }
            session.send_edited(To::Answer(id), envelope, &mut edits);
        }
        self.instance.answered(Some(&session));
    }

    /// Brings an answer across; `response` is what the agent may see of it.
    pub(in crate::hub) fn translate_answer(&self, asker: Asker, translation: Translation, response: &Envelope<'_>) {
        let outcome = Some(response).filter(|_| translation.agent == Era::Legacy);
        let outcome = outcome.and_then(|response| translation.task.outcome(response));
        let outcome = outcome.as_ref().and_then(|outcome| Envelope::parse(outcome.as_bytes()).ok());
        let envelope = outcome.as_ref().unwrap_or(response);
        match translation.agent {
            Era::Modern => {
                if let Some(requests) = envelope.error.and_then(eras::elicitation_result) {
                    let error = envelope.error.unwrap_or_default();
                    return match translation.declared.shows_urls() {
                        true => self.ask_first(&asker, &requests, error, &translation),
                        false => {
                            let message =
                                format!("server `{}` wants a person to open a page first", self.instance.name);
                            asker.session.reply(&asker.id, &eras::page_not_shown(&asker.id, &message))
                        }
                    };
                }
            }
            Era::Legacy => {
                if let Some(required) = envelope.result.and_then(eras::InputRequired::parse) {
                    return self.ask(asker, translation, required, None);
                }
                self.elicited(&asker.session, &translation);
            }
        }
        let Asker { session, id, .. } = asker;
        let translate_result = eras::translate_result(envelope, translation.agent, translation.method);
        let mut edits: Vec<_> = translate_result.iter().map(|(at, with)| Edit { at: at.clone(), with }).collect();
        edits.push(envelope.edit(envelope.id, &id));
        session.send_edited(To::Answer(&id), envelope, &mut edits);
    }

    /// Keeps a page of a list; returns what the agent may see of it, if that is less.
    fn note_list(&self, session: &Session, on_reply: &OnReply, envelope: &Envelope<'_>) -> Option<String> {
        match (on_reply, envelope.result) {
            (OnReply::List { kind, cursor }, Some(result)) => {
                self.server.note_page(&self.instance, *kind, cursor.as_deref(), result);
                self.server.filter_tools(*kind, envelope.frame)
            }
            (OnReply::Tasks, Some(_)) => {
                let calls = self.instance.calls.lock();
                filtered(envelope.frame, "tasks", "taskId", |id| calls.tasks.is_of(id, session))
            }
            (_, _) => None,
        }
    }

    /// Remembers whose a task is that the server has begun in place of an answer.
    fn note_task(&self, session: &Session, envelope: &Envelope<'_>, token: Option<&str>) {
        if let Some(id) = envelope.result.and_then(eras::begun) {
            let ours = envelope.id.parse().ok().zip(token.map(Into::into));
            self.instance.calls.lock().tasks.note(&id, session, ours);
        }
    }

    /// Remembers that such a task is nobody's who is here.
    pub(in crate::hub) fn note_task_left(&self, session: SessionId, envelope: &Envelope<'_>) {
        if let Some(id) = envelope.result.and_then(eras::begun) {
            self.instance.calls.lock().tasks.note_left(&id, session);
        }
    }

    /// Remembers who is asked to have pages opened before the call is made again; an agent of the other era is told otherwise.
    fn note_pages(&self, session: Option<SessionId>, envelope: &Envelope<'_>) {
        let pages = envelope.error.map(eras::pages).unwrap_or_default();
        if !pages.is_empty() {
            let mut calls = self.instance.calls.lock();
            pages.iter().for_each(|id| calls.pages.note(id, session));
        }
    }

    /// Carries out what a request was for, now that the server has answered it.
    fn settle(&self, session: &Session, on_reply: &OnReply, envelope: &Envelope<'_>) {
        let failed = envelope.error.is_some();
        match on_reply {
            OnReply::Task(id) => {
                let mut calls = self.instance.calls.lock();
                match envelope.result {
                    Some(result) if eras::has_ended(result) => calls.tasks.note_ended(id),
                    Some(_) => calls.tasks.note_heard(id),
                    None => {}
                }
            }
            OnReply::Nothing | OnReply::Listen | OnReply::ListenAgain | OnReply::List { .. } | OnReply::Tasks => {}
            OnReply::SetLevel(before) if failed => {
                let mut calls = self.instance.calls.lock();
                calls.told_level = before.told;
                if let Some(member) = calls.members.get_mut(&session.id) {
                    member.level = before.own;
                }
            }
            OnReply::SetLevel(_) => {}
            OnReply::Subscribe(uri) => {
                if failed {
                    self.instance.unsubscribe(session.id, uri);
                }
            }
        }
    }

    /// An agent over HTTP, which waits on a stream as trunkline does, can do without it for as long.
    fn paused(&self, id: u64) {
        let calls = self.instance.calls.lock();
        let owner = calls.get(id).and_then(|pending| pending.owner.agent());
        let owner = owner.map(|(session, id)| (session.clone(), id.to_owned()));
        drop(calls);
        if let Some((session, id)) = owner {
            session.pause(&id);
        }
    }

    /// The server has forgotten what it asked.
    fn session_lost(&self) {
        let void = self.instance.calls.lock().forget_questions();
        void.iter().for_each(|(session, id)| session.take_back(*id, "its server has forgotten what it asked"));
    }

    /// The server has forgotten what it was told: it is told again.
    fn renewed(&self) {
        let (level, uris) = self.instance.calls.lock().told();
        if let Some(level) = level {
            self.instance.send_own(Method::SetLevel, &format!(r#"{{"level":{level}}}"#), Caller::Nobody);
        }
        for uri in uris {
            let params = format!(r#"{{"uri":{}}}"#, crate::envelope::quoted(&uri));
            self.instance.send_own(Method::Subscribe, &params, Caller::Nobody);
        }
        self.instance.lists.forget_all();
        self.server.check_again(&self.instance, self.server.offered(self.instance.audience()));
    }
}
