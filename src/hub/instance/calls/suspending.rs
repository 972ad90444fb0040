//! What the server asks, and calls that are suspended until their agent comes back with the answers.

use std::sync::Arc;

use crate::hub::instance::calls::Calls;
use crate::hub::instance::calls::pending_call::{Caller, Leaving};
use crate::hub::session::Session;
use crate::method::Method;

impl Calls {
    /// Whether the server has taken all its questions for a call back before its agent was told to go; the call goes on.
    pub(in crate::hub) fn asks_nothing(&mut self, id: u64) -> bool {
        let Some(pending) = self.pending.get_mut(&id) else { return false };
        pending.suspension.take_if(|suspension| suspension.questions.is_empty()).is_some()
    }

    /// Lets a modern agent go, which is to come back with this state.
    pub(in crate::hub) fn suspend(&mut self, id: u64, state: &str) -> Option<Leaving> {
        let pending = self.pending.get_mut(&id).filter(|pending| !pending.is_cancelled())?;
        let subject = pending.translation.as_ref()?.subject.clone();
        let Caller::Agent { session, id, .. } = &pending.owner else { return None };
        let suspension = pending.suspension.as_mut()?;
        suspension.state = Some(state.into());
        let leaving = Leaving { session: session.clone(), id: id.clone(), subject, requests: suspension.requests() };
        pending.owner = Caller::Suspended(session.id);
        leaving.session.ended();
        Some(leaving)
    }

    /// Gives a call that rests to the agent that came back for it; tells whether it still was there.
    pub(in crate::hub) fn wake(&mut self, id: u64, session: &Arc<Session>, own: &str, token: Option<&str>) -> bool {
        let Some(pending) = self.pending.get_mut(&id) else { return false };
        let Caller::Suspended(before) = pending.owner else { return false };
        let owner = Caller::Agent { session: session.clone(), id: own.into(), token: token.map(Into::into) };
        pending.owner = owner;
        session.began();
        self.members.entry(session.id).or_default().in_flight += 1;
        self.leave_call(before);
        true
    }

    /// Whether a modern agent can be told to come back for this call.
    pub(in crate::hub) fn may_suspend(&self, id: u64) -> bool {
        let translation = self.pending.get(&id).and_then(|pending| pending.translation.as_ref());
        translation.is_some_and(|translation| translation.method.is_some_and(Method::may_ask))
    }

    /// Forgets what the server has asked: who was asked, and under which id.
    pub(in crate::hub) fn forget_questions(&mut self) -> Vec<(Arc<Session>, u64)> {
        let suspended = self.pending.values_mut().filter_map(|pending| pending.suspension.as_mut());
        suspended.for_each(|suspension| suspension.questions.clear());
        self.asked.drain().map(|(_, (session, id, _))| (session, id)).collect()
    }

    /// The server takes a question back that a modern agent may not have been told yet.
    pub(in crate::hub) fn take_back(&mut self, raw: &str) {
        for rest in self.pending.values_mut().filter_map(|pending| pending.suspension.as_mut()) {
            rest.questions.retain(|waiting| *waiting.id != *raw);
        }
    }
}
