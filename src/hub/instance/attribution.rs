//! Whose a server's request is: exactly one agent's, or nobody's.

use std::sync::Arc;

use crate::envelope::{Envelope, text};
use crate::era::InstanceTerms;
use crate::hub::eras::declares;
use crate::hub::ids::SessionId;
use crate::hub::instance::Instance;
use crate::hub::instance::calls::task_of::TaskOf;
use crate::hub::instance::calls::{Calls, Whose};
use crate::hub::session::Session;
use crate::method::Method;

const AMBIGUOUS: &str = "trunkline cannot tell which agent this request is for: it is passed on only while exactly one agent has calls in flight";
const WHICH_CALL: &str =
    "trunkline cannot tell which of the agent's calls this request is for: it is passed on only while there is one";
const NO_AGENT: &str = "this came on the stream of a request that is no agent's: there is nobody to ask";
const NOT_HERE: &str = "an agent of the modern era can be asked while it calls a tool, gets a prompt or reads a resource, and not otherwise";
const NO_TASK: &str = "no agent that is here has a task of this id";
const LEFT: &str = "the agent whose task this is for has left";
const UNDECLARED: &str = "the agent did not declare that it answers this";

/// Whom a question is for.
#[derive(Debug)]
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
    /// Whom the server asks, of the agents that are here.
    pub(in crate::hub) fn asked_of(
        &self,
        calls: &Calls,
        here: Here<'_>,
        envelope: &Envelope<'_>,
        call: Option<u64>,
    ) -> For {
        Process { terms: self.instance_terms(), owner: self.owner(), here }.asked_of(calls, envelope, call)
    }
}

/// Finds an agent, if it is here.
type Here<'h> = &'h dyn Fn(SessionId) -> Option<Arc<Session>>;

/// What counts of a process for whom it may ask.
struct Process<'p> {
    /// What it was promised.
    terms: Option<&'p InstanceTerms>,
    /// The one agent that it belongs to, if it belongs to one.
    owner: Option<SessionId>,
    here: Here<'p>,
}

impl Process<'_> {
    /// Whether it was told that it may ask this.
    fn promised(&self, asked: &Envelope<'_>) -> bool {
        matches!(self.terms, Some(InstanceTerms::Legacy(profile)) if declares(profile, asked))
    }

    /// Whether the agent of a call can be asked this: by what it declared with the call, or else by what was declared for it.
    fn may_ask(&self, calls: &Calls, call: u64, asked: &Envelope<'_>) -> bool {
        let translation = calls.get(call).and_then(|pending| pending.translation.as_ref());
        translation.map_or_else(|| self.promised(asked), |translation| declares(&translation.declared, asked))
    }

    /// A legacy agent, if it can be asked this: a process that several share may have been promised more than one answers.
    fn ask(&self, session: Arc<Session>, asked: &Envelope<'_>) -> For {
        let capability = asked.method_name.split('/').next().unwrap_or_default();
        let promised = matches!(self.terms, Some(InstanceTerms::Legacy(profile)) if profile.has(capability));
        if promised && !session.may_be_asked(asked) {
            return For::Nobody { why: UNDECLARED, ambiguous: false };
        }
        For::Agent(session)
    }

    fn asked_of(&self, calls: &Calls, envelope: &Envelope<'_>, call: Option<u64>) -> For {
        let nobody = |why| For::Nobody { why, ambiguous: false };
        match calls.task_of(envelope) {
            Some(TaskOf::Agent(session)) => {
                let session = (self.here)(session).filter(|session| session.profile().is_some());
                return session.map_or(nobody(LEFT), |session| self.ask(session, envelope));
            }
            Some(TaskOf::Call(call)) if self.may_ask(calls, call, envelope) => return For::Call(call),
            Some(TaskOf::Call(_)) => return nobody(UNDECLARED),
            // Its call is in flight, if it is only being begun.
            Some(TaskOf::Unknown) | None => {}
        }
        // An agent may make a task of what it is asked.
        if envelope.method.is_some_and(Method::is_about_tasks)
            && let Some(id) = envelope.params.task_id.and_then(text)
        {
            let session = calls.agents_tasks.of(&id).and_then(self.here);
            return session.map_or(nobody(NO_TASK), |session| self.ask(session, envelope));
        }
        let whose = calls.whose_on(call);
        if let Whose::One(id) = whose
            && calls.has_modern(id, call)
        {
            return match calls.call_of(id, call) {
                Some(id) if !calls.may_suspend(id) => nobody(NOT_HERE),
                Some(id) if self.may_ask(calls, id, envelope) => For::Call(id),
                Some(_) => nobody(UNDECLARED),
                None => For::Nobody { why: WHICH_CALL, ambiguous: true },
            };
        }
        // Roots are the agent's, not a call's: where there is only one, there is no doubt.
        let only = || {
            let mut sessions = calls.sessions();
            let first = sessions.next()?;
            Some(first).filter(|first| sessions.next().is_none() && first.answers(Some(Method::ListRoots)))
        };
        let session = match whose {
            Whose::One(id) => calls.session(id),
            Whose::Idle if envelope.method == Some(Method::ListRoots) && only().is_some() => only(),
            // A process of one agent's asks nobody else, whenever it asks.
            Whose::Idle | Whose::Several | Whose::Nobody => self.owner.and_then(|owner| calls.session(owner)),
        };
        // A modern agent takes no requests.
        match (session.filter(|session| session.profile().is_some()).cloned(), whose) {
            (Some(session), _) => self.ask(session, envelope),
            (None, Whose::Nobody) => nobody(NO_AGENT),
            // That another agent's call was cancelled a moment ago does not make the server one that cannot be shared.
            (None, Whose::Several) => For::Nobody { why: AMBIGUOUS, ambiguous: calls.at_work().is_none() },
            (None, Whose::One(_) | Whose::Idle) => nobody(AMBIGUOUS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::era::{ClientProfile, Era, LEGACY};
    use crate::hub::eras::AsTask;
    use crate::hub::instance::calls::member::Member;
    use crate::hub::instance::calls::pending_call::{Caller, OnReply, PendingCall, Translation};
    use crate::hub::session::Session;
    use tokio::sync::oneshot;

    const FORM: &str = r#"{"elicitation":{},"roots":{}}"#;

    /// The calls of an instance: each with its caller, under the ids 1, 2, ...
    fn calls(callers: Vec<Caller>) -> Calls {
        let mut calls = Calls::default();
        for (id, caller) in (1..).zip(callers) {
            if let Some((session, _)) = caller.agent() {
                calls.members.entry(session.id).or_default().session = Some(session.clone());
            }
            calls.insert(id, PendingCall::new(caller, OnReply::Nothing, None));
        }
        calls
    }

    fn of(session: &Arc<Session>) -> Caller {
        Caller::Agent { session: session.clone(), id: "7".into(), token: None }
    }

    fn idle(sessions: &[&Arc<Session>]) -> Calls {
        let mut calls = Calls::default();
        for session in sessions {
            calls.members.insert(session.id, Member { session: Some((*session).clone()), ..Member::default() });
        }
        calls
    }

    /// A call of a modern agent on a legacy server.
    fn modern(session: &Arc<Session>, method: Method) -> Calls {
        let mut calls = calls(vec![of(session)]);
        let translation = Translation {
            agent: Era::Modern,
            method: Some(method),
            declared: session.profile().unwrap_or_else(|| Arc::new(ClientProfile::plain())),
            subject: "".into(),
            frame: None,
            retried: None,
            task: AsTask::Never,
            level: None,
            rounds: 0,
            opened: Vec::new(),
            begun: None,
            _held: None,
        };
        calls.get_mut(1).expect("there").translation = Some(Box::new(translation));
        calls
    }

    fn told(process: &Process<'_>, calls: &Calls, method: &str, call: Option<u64>) -> String {
        told_of(process, calls, &format!(r#"{{"id":1,"method":"{method}"}}"#), call)
    }

    fn told_of(process: &Process<'_>, calls: &Calls, frame: &str, call: Option<u64>) -> String {
        match process.asked_of(calls, &Envelope::parse(frame.as_bytes()).expect("valid"), call) {
            For::Agent(session) => format!("agent {}", session.id.0),
            For::Call(id) => format!("call {id}"),
            For::Nobody { why, ambiguous } => {
                let why = [
                    (AMBIGUOUS, "unclear"),
                    (WHICH_CALL, "which"),
                    (NO_AGENT, "none"),
                    (NOT_HERE, "not here"),
                    (LEFT, "left"),
                ]
                .into_iter()
                .find_map(|(text, word)| (text == why).then_some(word))
                .unwrap_or("undeclared");
                format!("{why}{}", if ambiguous { ", one at a time" } else { "" })
            }
        }
    }

    #[test]
    fn a_servers_request_is_one_agents_or_nobodys() {
        let (one, other, silent) =
            (Session::for_test(1, Some(FORM)), Session::for_test(2, Some(FORM)), Session::for_test(3, Some("{}")));
        let (new, elicit, roots) = (Session::for_test(4, None), Method::Elicit.name(), Method::ListRoots.name());
        let terms = InstanceTerms::Legacy(ClientProfile::of(LEGACY, FORM).expect("an object"));
        let shared = Process { terms: Some(&terms), owner: None, here: &|_| None };
        let own = Process { terms: Some(&terms), owner: Some(one.id), here: &|_| None };
        let gone = || Caller::Gone(one.id);
        let lingering = || {
            let mut calls = calls(vec![of(&one), of(&other)]);
            calls.note_cancelled(2);
            calls
        };
        for (what, process, calls, method, call, expected) in [
            ("one agent's call", &shared, calls(vec![of(&one)]), elicit, None, "agent 1"),
            ("two calls of one agent's", &shared, calls(vec![of(&one), of(&one)]), elicit, None, "agent 1"),
            ("two agents' calls", &shared, calls(vec![of(&one), of(&other)]), elicit, None, "unclear, one at a time"),
            ("likewise, and the wire tells", &shared, calls(vec![of(&one), of(&other)]), elicit, Some(2), "agent 2"),
            ("the other's was cancelled just now", &shared, lingering(), elicit, None, "unclear"),
            ("no call", &shared, idle(&[&one]), elicit, None, "unclear"),
            ("no call, a process of one agent's", &own, idle(&[&one]), elicit, None, "agent 1"),
            ("roots of the only agent", &shared, idle(&[&one]), roots, None, "agent 1"),
            ("roots of one of two agents", &shared, idle(&[&one, &other]), roots, None, "unclear"),
            ("an agent that declared nothing", &shared, calls(vec![of(&silent)]), elicit, None, "undeclared"),
            ("a call whose agent left", &shared, calls(vec![gone()]), elicit, None, "unclear"),
            (
                "a call of the hub's own",
                &shared,
                calls(vec![Caller::Hub(oneshot::channel().0)]),
                elicit,
                Some(1),
                "none",
            ),
            ("a modern agent's list", &shared, modern(&new, Method::ListTools), elicit, None, "not here"),
            (
                "a modern agent that declared nothing",
                &shared,
                modern(&new, Method::CallTool),
                elicit,
                None,
                "undeclared",
            ),
            (
                "a call of an agent that is modern besides",
                &shared,
                modern(&one, Method::CallTool),
                elicit,
                None,
                "call 1",
            ),
        ] {
            assert_eq!(told(process, &calls, method, call), expected, "{what}");
        }
    }

    #[test]
    fn what_names_a_task_is_for_the_agent_that_began_it() {
        let (one, other) = (Session::for_test(1, Some(FORM)), Session::for_test(2, Some(FORM)));
        let terms = InstanceTerms::Legacy(ClientProfile::of(LEGACY, FORM).expect("an object"));
        let everybody = [one.clone(), other.clone()];
        let here = |id| everybody.iter().find(|session| session.id == id).cloned();
        let shared = Process { terms: Some(&terms), owner: None, here: &here };
        let left = Process { here: &|_| None, ..shared };
        let asks = |task: &str| {
            format!(
                r#"{{"id":1,"method":"elicitation/create","params":{{"_meta":{{"io.modelcontextprotocol/related-task":{{"taskId":"{task}"}}}}}}}}"#
            )
        };
        for (what, process, callers, task, expected) in [
            ("nobody calls", &shared, vec![], "one's", "agent 1"),
            ("another agent calls", &shared, vec![of(&other)], "one's", "agent 1"),
            ("its agent left", &left, vec![], "one's", "left"),
            ("its agent left, another one calls", &left, vec![of(&other)], "one's", "left"),
            ("a task that the call begins", &shared, vec![of(&other)], "new", "agent 2"),
        ] {
            let mut calls = calls(callers);
            calls.tasks.note("one's", &one, None);
            assert_eq!(told_of(process, &calls, &asks(task), None), expected, "{what}");
        }
    }

    #[test]
    fn a_message_that_names_no_call_is_the_only_callers() {
        let (one, other) = (Session::for_test(1, Some(FORM)), Session::for_test(2, Some(FORM)));
        let own = || Caller::Hub(oneshot::channel().0);
        for (what, calls, call, expected) in [
            ("nobody calls", calls(vec![]), None, Whose::Idle),
            ("only the hub asks", calls(vec![own()]), None, Whose::Idle),
            ("one calls, the hub asks", calls(vec![of(&one), own()]), None, Whose::One(one.id)),
            ("a command calls", calls(vec![Caller::Daemon(oneshot::channel().0)]), None, Whose::One(SessionId::DAEMON)),
            ("one left", calls(vec![Caller::Gone(one.id)]), None, Whose::One(one.id)),
            ("one is to come back", calls(vec![Caller::Suspended(one.id)]), None, Whose::One(one.id)),
            ("two call", calls(vec![of(&one), of(&other)]), None, Whose::Several),
            ("two call, the wire tells", calls(vec![of(&one), of(&other)]), Some(2), Whose::One(other.id)),
            ("the wire tells of the hub's", calls(vec![of(&one), own()]), Some(2), Whose::Nobody),
            ("the wire tells of one that is over", calls(vec![of(&one)]), Some(9), Whose::Nobody),
        ] {
            assert_eq!(calls.whose_on(call), expected, "{what}");
        }
    }
}
