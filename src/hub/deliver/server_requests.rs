//! What a server asks: brought to the one agent that it is for, or refused.

use crate::envelope::{Envelope, text};
use crate::hub::Site;
use crate::hub::instance::attribution::For;
use crate::hub::instance::recorded::asked;
use crate::hub::session::open_request::OpenRequest;
use crate::method::Method;
use crate::wire::To;

const TOO_MANY: &str = "as many requests of this server wait for answers as may";
/// How many requests of one process may wait for answers.
const MOST: usize = 1024;

impl Site {
    /// A request of the server's. It is passed on only when it can belong to exactly one agent.
    pub(in crate::hub) fn question(&self, envelope: &Envelope<'_>, call: Option<u64>) {
        let idle = self.instance.calls.lock().calls() == 0;
        if self.server.note_asks(&envelope.method_name, idle) && envelope.method == Some(Method::ListRoots) {
            self.hub.ask_those_not_asked(&self.instance.name);
        }
        let held = self.instance.link.outbox.account().hold(envelope.frame.len());
        let page = envelope.params.elicitation_id.and_then(text);
        let mut calls = self.instance.calls.lock();
        let (Ok(held), true) = (held, calls.asked.len() < MOST) else {
            drop(calls);
            return self.instance.refuse(envelope.id, TOO_MANY);
        };
        // A server that uses an id again has given its first question up.
        if let Some((asked, id, _)) = calls.asked.remove(envelope.id) {
            asked.take_back(id, "its server has asked something else under the same id");
        }
        calls.take_back(envelope.id);
        match self.instance.asked_of(&calls, &|id| self.hub.session(id), envelope, call) {
            For::Agent(session) => {
                let token = envelope.params.meta.progress_token.map(Into::into);
                let question = OpenRequest::Server { instance: self.instance.id, id: envelope.id.into(), token };
                let id = session.ask(question);
                let during = calls.waited_for_call(session.id, call);
                calls.asked.insert(envelope.id.into(), (session.clone(), id, during));
                calls.begin_question(during, asked(envelope));
                if let Some(page) = &page {
                    calls.pages.note(page, Some(session.id));
                }
                let ours = id.to_string();
                let to = calls.raw_id(session.id, call).map_or(To::Agent, To::Call);
                let mut edits = vec![envelope.edit(envelope.id, &ours)];
                edits.extend(envelope.params.meta.progress_token.map(|token| envelope.edit(token, &ours)));
                session.send_edited(to, envelope, &mut edits);
            }
            For::Call(id) => {
                if let Some(page) = &page {
                    calls.pages.note(page, None);
                }
                calls.begin_question(Some(id), asked(envelope));
                self.ask_suspended(&mut calls, id, envelope, held);
            }
            For::Nobody { why, ambiguous } if envelope.method == Some(Method::ListRoots) => {
                drop(calls);
                self.answer_roots(envelope.id, why, ambiguous);
            }
            For::Nobody { why, ambiguous } => {
                drop(calls);
                // What it asks while it has no call would not be clearer if it had one at a time.
                if ambiguous {
                    self.server.note_interactive(&envelope.method_name);
                }
                self.instance.refuse(envelope.id, why);
            }
        }
    }
}
