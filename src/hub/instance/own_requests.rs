//! Requests of trunkline's own.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::era::{self, Era};
use crate::hub::instance::Line;
use crate::hub::instance::calls::pending::{Answer, Owner, Pending, Then};

impl Line {
    /// Parameters of a request of trunkline's own: `members` and, in the modern era, who asks.
    pub fn own_params(&self, members: Option<String>) -> String {
        let meta = (self.era() == Era::Modern).then(era::own_meta);
        let all: Vec<_> = members.into_iter().chain(meta).collect();
        format!("{{{}}}", all.join(","))
    }

    /// Asks the server something for the hub itself. `params` is raw JSON, or empty.
    pub fn ask(self: &Arc<Self>, method: &str, params: &str) -> Call {
        let (sender, answer) = oneshot::channel();
        let id = self.send_own(method, params, Owner::Hub(sender));
        Call { line: self.clone(), id, answer }
    }

    /// Calls the server for the daemon: counts as a call in flight, so that nobody else is asked its questions.
    pub fn call(self: &Arc<Self>, method: &str, params: &str) -> Call {
        let (sender, answer) = oneshot::channel();
        let id = self.send_own(method, params, Owner::Daemon(sender));
        Call { line: self.clone(), id, answer }
    }

    /// Sends a request of trunkline's own. If it cannot be sent, its owner is dropped, which tells who waits.
    pub(in crate::hub) fn send_own(&self, method: &str, params: &str, owner: Owner) -> u64 {
        let id = self.link.next_id();
        let then = if matches!(owner, Owner::Listener) { Then::Listen } else { Then::Nothing };
        self.table.lock().insert(id, Pending::new(owner, then, None));
        let params = if params.is_empty() { String::new() } else { format!(r#","params":{params}"#) };
        if self.push(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"{params}}}"#)).is_err() {
            self.table.lock().remove(id);
        }
        id
    }
}

/// A call of the daemon's own; dropped before its answer, it is cancelled.
#[derive(Debug)]
pub struct Call {
    line: Arc<Line>,
    id: u64,
    pub answer: oneshot::Receiver<Answer>,
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut table = self.line.table.lock();
        match table.get(self.id) {
            None => return,
            // It belongs to no call, so that nothing need be remembered of it.
            Some(Pending { owner: Owner::Hub(_), .. }) => drop(table.remove(self.id)),
            Some(_) => table.note_cancelled(self.id),
        }
        drop(table);
        if let Err(refused) = self.line.send_cancelled(self.id, "the caller left") {
            tracing::debug!(?refused, "cancellation dropped");
        }
    }
}
