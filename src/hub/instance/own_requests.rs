//! Requests of trunkline's own.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::envelope::reply;
use crate::era::{self, Era};
use crate::hub::instance::Instance;
use crate::hub::instance::calls::pending_call::{Answer, Caller, OnReply, PendingCall};
use crate::method::Method;
use crate::record::Outcome;
use crate::wire::Sent;

impl Instance {
    /// Parameters of a request of trunkline's own: `members` and, in the modern era, who asks.
    pub fn own_params(&self, members: Option<String>) -> String {
        let meta = (self.era() == Era::Modern).then(era::own_meta);
        let all: Vec<_> = members.into_iter().chain(meta).collect();
        format!("{{{}}}", all.join(","))
    }

    /// Asks the server something for the hub itself. `params` is raw JSON, or empty.
    pub fn ask(self: &Arc<Self>, method: Method, params: &str) -> Call {
        let (sender, answer) = oneshot::channel();
        let id = self.send_own(method, params, Caller::Hub(sender));
        Call { instance: self.clone(), id, answer }
    }

    /// Calls the server for the daemon: counts as a call in flight, so that nobody else is asked its questions.
    pub fn call(self: &Arc<Self>, method: Method, subject: &str, params: &str) -> Call {
        let (sender, answer) = oneshot::channel();
        let begun = Some(self.records().begin_own(method, subject, params));
        let id = self.link.next_id();
        let pending = PendingCall { begun, ..PendingCall::new(Caller::Daemon(sender), OnReply::Nothing, None) };
        let waits = self.begin_call(id, pending, true);
        let own = self.link.outbox.account();
        // Where it waits for its turn, it is in nobody's way.
        let apart = waits.then(|| own.apart(usize::MAX));
        let frame = reply::request(id, method, params);
        let sent = Sent { by: apart.as_ref().unwrap_or(own), request: Some(id), waits };
        if self.link.push_of(sent, frame.len(), |out| out.extend_from_slice(frame.as_bytes())).is_err() {
            self.calls.lock().remove(id);
        }
        Call { instance: self.clone(), id, answer }
    }

    /// Sends a request of trunkline's own. If it cannot be sent, its owner is dropped, which tells who waits.
    pub(in crate::hub) fn send_own(&self, method: Method, params: &str, owner: Caller) -> u64 {
        let id = self.link.next_id();
        let on_reply = if matches!(owner, Caller::Listener) { OnReply::Listen } else { OnReply::Nothing };
        self.calls.lock().insert(id, PendingCall::new(owner, on_reply, None));
        if self.push(&reply::request(id, method, params)).is_err() {
            self.calls.lock().remove(id);
        }
        id
    }
}

/// A call of the daemon's own; dropped before its answer, it is cancelled.
#[derive(Debug)]
pub struct Call {
    instance: Arc<Instance>,
    id: u64,
    pub answer: oneshot::Receiver<Answer>,
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut calls = self.instance.calls.lock();
        match calls.get(self.id) {
            None => return,
            // It belongs to no call, so that nothing need be remembered of it.
            Some(PendingCall { owner: Caller::Hub(_), .. }) => drop(calls.remove(self.id)),
            Some(_) => calls.note_cancelled(self.id),
        }
        let begun = calls.take_begun(self.id);
        drop(calls);
        self.instance.records().end(begun, Outcome::AgentLeft, None);
        if let Err(refused) = self.instance.send_cancelled(self.id, "the caller left") {
            tracing::debug!(?refused, "cancellation dropped");
        }
    }
}
