//! Requests that a server was not given, because there was no room for them any more.

use crate::envelope::Envelope;
use crate::envelope::reply::{self, code};
use crate::hub::Site;
use crate::hub::instance::calls::turns::Standing;
use crate::wire::GIVEN_UP;

impl Site {
    /// Forgets what waits for the server of accounts that hold most of all, and answers their requests.
    pub(in crate::hub) fn give_up(&self) {
        let message = format!("server `{}` was not given this request: {GIVEN_UP}", self.instance.name);
        for id in self.instance.link.outbox.forget_cut() {
            let mut calls = self.instance.calls.lock();
            calls.moves(id, Standing::Elsewhere, false);
            let is_open = calls.is_waited_for(id);
            drop(calls);
            let answer = reply::error(&id.to_string(), code::INTERNAL, &message);
            if let Ok(envelope) = Envelope::parse(answer.as_bytes())
                && is_open
            {
                self.response(&envelope);
            }
        }
    }
}
