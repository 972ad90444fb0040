//! Whose a server's request is: exactly one agent's, or nobody's.

use std::sync::Arc;

use crate::envelope::{Envelope, task_id};
use crate::era::InstanceTerms;
use crate::hub::instance::Instance;
use crate::hub::instance::calls::{Calls, Whose};
use crate::hub::session::Session;
use crate::method::Method;

const AMBIGUOUS: &str = "trunkline cannot tell which agent this request is for: it is passed on only while exactly one agent has calls in flight";
const WHICH_CALL: &str =
    "trunkline cannot tell which of the agent's calls this request is for: it is passed on only while there is one";
const NO_AGENT: &str = "this came on the stream of a request that is no agent's: there is nobody to ask";
const NOT_HERE: &str = "an agent of the modern era can be asked while it calls a tool, gets a prompt or reads a resource, and not otherwise";
const UNDECLARED: &str = "the agent did not declare that it answers this";

/// Whom a question is for.
pub(in crate::hub) enum For {
    /// An agent that takes requests, in mid-call if the call is known.
    Agent(Arc<Session>),
    /// A call of a modern agent, which must come back with the answer.
    Call(u64),
    Nobody {
        why: &'static str,
        ambiguous: bool,
    },
}

impl Instance {
    /// Whether this process was told that it may ask this.
    fn promised(&self, method: &str) -> bool {
        let capability = method.split('/').next().unwrap_or_default();
        matches!(self.instance_terms(), Some(InstanceTerms::Legacy(profile)) if profile.has(capability))
    }

    /// Whether the agent of a call can be asked this: by what it declared, or while it is away by what was declared for it.
    fn may_ask(&self, table: &Calls, call: u64, asked: &Envelope<'_>) -> bool {
        table.caller(call).map_or_else(|| self.promised(&asked.method_name), |session| session.answers(asked.method))
    }

    /// Whom the server asks.
    pub(in crate::hub) fn asked_of(&self, table: &Calls, envelope: &Envelope<'_>, call: Option<u64>) -> For {
        let nobody = |why| For::Nobody { why, ambiguous: false };
        // What comes of a task names it.
        let task = envelope.params.meta.related_task.and_then(task_id);
        if let Some(session) = task.as_ref().and_then(|id| table.tasks.session(id)) {
            return For::Agent(session);
        }
        if let Some(call) = task.and_then(|id| table.followed(|task| *task.id == *id)) {
            let answers = self.may_ask(table, call, envelope);
            return if answers { For::Call(call) } else { nobody(UNDECLARED) };
        }
        let whose = table.whose_on(call);
        if let Whose::One(id) = whose
            && table.has_modern(id, call)
        {
            return match table.call_of(id, call) {
                Some(id) if !table.may_suspend(id) => nobody(NOT_HERE),
                Some(id) if self.may_ask(table, id, envelope) => For::Call(id),
                Some(_) => nobody(UNDECLARED),
                None => For::Nobody { why: WHICH_CALL, ambiguous: true },
            };
        }
        // Roots are the agent's, not a call's: where there is only one, there is no doubt.
        let only = || {
            let mut sessions = table.sessions();
            let first = sessions.next()?;
            Some(first).filter(|first| sessions.next().is_none() && first.answers(Some(Method::ListRoots)))
        };
        let session = match whose {
            Whose::One(id) => table.session(id),
            Whose::Idle if envelope.method == Some(Method::ListRoots) && only().is_some() => only(),
            // A process of one agent's asks nobody else, whenever it asks.
            Whose::Idle | Whose::Several | Whose::Nobody => self.owner().and_then(|owner| table.session(owner)),
        };
        // A modern agent takes no requests.
        match (session.filter(|session| session.profile().is_some()).cloned(), whose) {
            // A process that several share may have been promised more than this one answers.
            (Some(session), _) if self.promised(&envelope.method_name) && !session.answers(envelope.method) => {
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
