//! What an agent has sent and no server has taken, weighed for the agent.

use crate::hub::session::Session;
use crate::wire::Account;

impl Session {
    /// Who a message to a server is weighed for until the server has taken it. It has a bound of its own: what waits for a server is no
    /// reason to cut the agent off. Where it holds most of all, what it holds is given up, and a new account begins.
    pub(in crate::hub) fn sending(&self) -> Account {
        let mut sending = self.sending.lock();
        match &*sending {
            Some(account) if !account.held_most() => account.clone(),
            _ => sending.insert(self.account().apart(self.account().limit())).clone(),
        }
    }
}
