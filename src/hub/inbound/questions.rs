//! What a server asks: brought to the one agent that it is for, or refused.

use std::sync::Arc;

use crate::envelope::{Envelope, task_id};
use crate::era::Dialect;
use crate::hub::line::Line;
use crate::hub::session::{Question, Session};
use crate::hub::sharing::ROOTS;
use crate::hub::table::{Table, Whose};
use crate::wire::To;

const AMBIGUOUS: &str = "trunkline cannot tell which agent this request is for: it is passed on only while exactly one agent has calls in flight";
const WHICH_CALL: &str =
    "trunkline cannot tell which of the agent's calls this request is for: it is passed on only while there is one";
const NO_AGENT: &str = "this came on the stream of a request that is no agent's: there is nobody to ask";
const NOT_HERE: &str = "an agent of the modern era can be asked while it calls a tool, gets a prompt or reads a resource, and not otherwise";
const UNDECLARED: &str = "the agent did not declare that it answers this";

const TOO_MANY: &str = "as many requests of this server wait for answers as may";
/// How many requests of one process may wait for answers.
const MOST: usize = 1024;

/// Whom a question is for.
enum For {
    /// An agent that takes requests, in mid-call if the call is known.
    Agent(Arc<Session>),
    /// A call of a modern agent, which must come back with the answer.
    Call(u64),
    Nobody {
        why: &'static str,
        ambiguous: bool,
    },
}

impl Line {
    /// A request of the server's. It is passed on only when it can belong to exactly one agent.
    pub(super) fn question(self: &Arc<Self>, envelope: &Envelope<'_>, call: Option<u64>) {
        let idle = self.table.lock().calls() == 0;
        if let Some(upstream) = self.upstream.upgrade() {
            upstream.note_asks(&envelope.method, idle);
        }
        let held = self.link.outbox.account().hold(envelope.frame.len());
        let mut table = self.table.lock();
        let (Ok(held), true) = (held, table.asked.len() < MOST) else {
            drop(table);
            return self.refuse(envelope.id, TOO_MANY);
        };
        match self.asked_of(&table, envelope, call) {
            For::Agent(session) => {
                let token = envelope.params.meta.progress_token.map(Into::into);
                let question = Question::Server { line: self.clone(), id: envelope.id.into(), token };
                let id = session.ask(question);
                table.asked.insert(envelope.id.into(), (session.clone(), id));
                let ours = id.to_string();
                let to = table.raw_id(session.id, call).map_or(To::Agent, To::Call);
                session.send_edited(to, envelope, &mut [envelope.edit(envelope.id, &ours)]);
            }
            For::Call(id) => self.rest(&mut table, id, envelope, held),
            For::Nobody { why, ambiguous } if envelope.method == ROOTS => {
                drop(table);
                self.answer_roots(envelope.id, why, ambiguous);
            }
            For::Nobody { why, ambiguous } => {
                drop(table);
                // What it asks while it has no call would not be clearer if it had one at a time.
                if let Some(upstream) = self.upstream.upgrade().filter(|_| ambiguous) {
                    upstream.note_interactive(&envelope.method);
                }
                self.refuse(envelope.id, why);
            }
        }
    }

    /// Whether this process was told that it may ask this.
    fn promised(&self, method: &str) -> bool {
        let capability = method.split('/').next().unwrap_or_default();
        matches!(self.dialect(), Some(Dialect::Legacy(class)) if class.has(capability))
    }

    /// Whether the agent of a call can be asked this: by what it declared, or while it is away by what was declared for it.
    fn may_ask(&self, table: &Table, call: u64, method: &str) -> bool {
        table.caller(call).map_or_else(|| self.promised(method), |session| session.answers(method))
    }

    fn asked_of(&self, table: &Table, envelope: &Envelope<'_>, call: Option<u64>) -> For {
        let nobody = |why| For::Nobody { why, ambiguous: false };
        // What comes of a task names it.
        let task = envelope.params.meta.related_task.and_then(task_id);
        if let Some(session) = task.as_ref().and_then(|id| table.tasks.session(id)) {
            return For::Agent(session);
        }
        if let Some(call) = task.and_then(|id| table.followed(|task| *task.id == *id)) {
            let answers = self.may_ask(table, call, &envelope.method);
            return if answers { For::Call(call) } else { nobody(UNDECLARED) };
        }
        let whose = table.whose_on(call);
        if let Whose::One(id) = whose
            && table.has_modern(id, call)
        {
            return match table.call_of(id, call) {
                Some(id) if !table.may_rest(id) => nobody(NOT_HERE),
                Some(id) if self.may_ask(table, id, &envelope.method) => For::Call(id),
                Some(_) => nobody(UNDECLARED),
                None => For::Nobody { why: WHICH_CALL, ambiguous: true },
            };
        }
        // Roots are the agent's, not a call's: where there is only one, there is no doubt.
        let only = || {
            let mut sessions = table.sessions();
            let first = sessions.next()?;
            Some(first).filter(|first| sessions.next().is_none() && first.answers(ROOTS))
        };
        let session = match whose {
            Whose::One(id) => table.session(id),
            Whose::Idle if envelope.method == ROOTS && only().is_some() => only(),
            // A process of one agent's asks nobody else, whenever it asks.
            Whose::Idle | Whose::Several | Whose::Nobody => self.owner().and_then(|owner| table.session(owner)),
        };
        // A modern agent takes no requests.
        match (session.filter(|session| session.class().is_some()).cloned(), whose) {
            // A process that several share may have been promised more than this one answers.
            (Some(session), _) if self.promised(&envelope.method) && !session.answers(&envelope.method) => {
                nobody(UNDECLARED)
            }
            (Some(session), _) => For::Agent(session),
            (None, Whose::Nobody) => nobody(NO_AGENT),
            // That another agent's call was cancelled a moment ago does not make the server one that cannot be shared.
            (None, Whose::Several) => For::Nobody { why: AMBIGUOUS, ambiguous: table.at_work().is_none() },
            (None, Whose::One(_) | Whose::Idle) => nobody(AMBIGUOUS),
        }
    }
}
