//! Calls that nobody waits for any more, and when each is over.
//!
//! A server may still be at a call that was cancelled and not answered, and ask or say something for it. Such a call counts for
//! as long as that may be, and no longer: many servers never answer a call that was cancelled (MCP
//! `basic/utilities/cancellation` tells them not to).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::envelope::Envelope;
use crate::envelope::reply::{self, code};
use crate::era::Era;
use crate::hub::eras::AsTask;
use crate::hub::instance::Instance;
use crate::hub::instance::calls::pending_call::{Caller, PendingCall, QUIET};
use crate::hub::session::Session;
use crate::method::Method;
use crate::record::Outcome;
use crate::wire::Refused;

impl Instance {
    pub(in crate::hub) fn send_cancelled(self: &Arc<Self>, id: u64, reason: &str) -> Result<(), Refused> {
        if self.link.outbox.withdraw(id) {
            self.over(id);
            return Ok(());
        }
        if !self.cancel_task(id) {
            return Ok(());
        }
        let params = format!(r#"{{"requestId":{id},"reason":"{reason}"}}"#);
        let sent = self.notify_text(&reply::notification(Method::Cancelled, &params));
        // Also where the server does not read now: the call is over some time all the same.
        if sent != Err(Refused::Closed) && self.calls.lock().get(id).is_some_and(|pending| pending.cancelled.is_some())
        {
            self.let_linger(id);
        }
        sent
    }

    /// Passes on an agent's cancellation if it names a call of that agent on this instance.
    pub fn cancel(self: &Arc<Self>, session: &Session, envelope: &Envelope<'_>) -> bool {
        let Some(raw) = envelope.params.request_id else { return false };
        let mut calls = self.calls.lock();
        let Some(id) = calls.find(session.id, raw) else { return false };
        if calls.get(id).is_some_and(PendingCall::is_cancelled) {
            return false;
        }
        calls.note_cancelled(id);
        let begun = calls.take_begun(id);
        drop(calls);
        self.records().end(begun, Outcome::Cancelled, None);
        session.over(raw);
        if self.link.outbox.withdraw(id) {
            self.over(id);
        } else if self.cancel_task(id) {
            let ours = id.to_string();
            self.notify(session, envelope, &mut [envelope.edit(raw, &ours)]);
            self.let_linger(id);
        }
        true
    }

    /// Cancels the task that a call has become; tells whether the server is at a request for the call besides.
    fn cancel_task(&self, id: u64) -> bool {
        let mut calls = self.calls.lock();
        let translation = calls.get_mut(id).and_then(|pending| pending.translation.as_mut());
        let Some(translation) = translation else { return true };
        let asleep = matches!(&translation.task, AsTask::Is(task) if task.asleep);
        let cancel = translation.cancellation();
        drop(calls);
        self.cancel_with(cancel);
        !asleep
    }

    /// Tells a server that nobody wants a task any more.
    pub(in crate::hub) fn cancel_with(&self, params: Option<String>) {
        if let Some(params) = params {
            self.send_own(Method::CancelTask, &params, Caller::Nobody);
        }
    }

    /// Sees to it that a call which was just cancelled is forgotten when the server is done with it.
    fn let_linger(self: &Arc<Self>, id: u64) {
        // The modern era has no ping, and no question that names no call.
        let fence = (self.era() == Era::Legacy).then(|| self.send_own(Method::Ping, "", Caller::Fence(id)));
        let instance = self.clone();
        self.around.later(QUIET, move || instance.check_cancelled(id, fence));
    }

    fn check_cancelled(self: &Arc<Self>, id: u64, fence: Option<u64>) {
        let over = self.calls.lock().get(id).and_then(|pending| pending.cancelled).map(|cancelled| cancelled.over());
        let left = over.map(|over| over.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero());
        match left {
            Some(left) => {
                let instance = self.clone();
                self.around.later(left, move || instance.check_cancelled(id, fence));
            }
            None => {
                fence.iter().for_each(|fence| drop(self.calls.lock().remove(*fence)));
                if over.is_some() {
                    tracing::debug!(server = %self.name, "a cancelled call is over");
                    self.over(id);
                }
            }
        }
    }

    /// A call that was cancelled, and of which nothing more will be heard.
    pub(in crate::hub) fn over(self: &Arc<Self>, id: u64) {
        let pending = self.calls.lock().remove(id);
        match pending.map(|pending| pending.owner) {
            Some(Caller::Agent { session, .. }) => self.answered(Some(&session)),
            Some(
                Caller::Daemon(_)
                | Caller::Hub(_)
                | Caller::Gone(_)
                | Caller::Suspended(_)
                | Caller::Listener
                | Caller::Fence(_)
                | Caller::Nobody,
            ) => self.answered(None),
            None => {}
        }
    }

    /// A call is over: whoever waits for a free instance, or for this one to be done, may go on.
    pub(in crate::hub) fn answered(&self, caller: Option<&Session>) {
        let calls = self.calls.lock();
        let left = caller.filter(|session| !calls.members.contains_key(&session.id));
        let some_wait = calls.turns.looked_at;
        drop(calls);
        if let Some(session) = left {
            session.note_left(&self.name, self.id);
        }
        if some_wait {
            self.next_turns(caller.map(Session::principal_id));
        }
        self.one_at_a_time.free();
        if self.is_draining() {
            self.idle.notify_waiters();
        }
    }

    /// It has ended: whoever waits for it to be done need not.
    pub(in crate::hub) fn note_closed(&self) {
        self.one_at_a_time.free();
        self.idle.notify_waiters();
    }

    /// Ends the calls that have taken longer than `limit`, in words that name the server.
    pub(in crate::hub) fn expire(self: &Arc<Self>, elapsed: Duration, limit: Duration) {
        let overdue = self.calls.lock().overdue(elapsed, limit);
        for id in overdue {
            let mut calls = self.calls.lock();
            let (owner, begun) = (calls.give_up(id), calls.take_begun(id));
            drop(calls);
            self.records().end(begun, Outcome::TimedOut, None);
            let message = format!("server `{}` did not answer within {limit:?} (call_timeout)", self.name);
            if let Err(refused) = self.send_cancelled(id, "call_timeout") {
                tracing::debug!(server = %self.name, ?refused, "cancellation dropped");
            }
            match owner {
                Some(Caller::Agent { session, id, .. }) => {
                    session.reply(&id, &reply::error(&id, code::TIMEOUT, &message));
                }
                Some(Caller::Daemon(sender)) => drop(sender.send(Err(message.into()))),
                Some(
                    Caller::Gone(_)
                    | Caller::Suspended(_)
                    | Caller::Hub(_)
                    | Caller::Listener
                    | Caller::Fence(_)
                    | Caller::Nobody,
                )
                | None => {}
            }
        }
    }
}
