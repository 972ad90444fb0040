//! What the end of its server means for a request that was not answered. Pure.

use crate::hub::instance::calls::pending_call::{Caller, PendingCall};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum AtEnd {
    /// Nobody waits for it.
    Nothing,
    /// It is asked once more of the next instance: that changes nothing.
    Repeat,
    /// Whoever waits for it is told.
    Fail,
    /// The agent that is to come back for it is told then.
    KeepForReturn,
}

/// Whether an instance has shaken hands with its server before it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Greeted {
    Yes,
    No,
}

impl PendingCall {
    /// What becomes of it now that its server has ended; one that never was ready leaves nothing to be repeated.
    pub(in crate::hub) fn at_end(&self, greeted: Greeted) -> AtEnd {
        match &self.owner {
            Caller::Agent { .. } if self.cancelled.is_some() => AtEnd::Nothing,
            Caller::Agent { .. } if self.repeat.is_some() && greeted == Greeted::Yes => AtEnd::Repeat,
            Caller::Agent { .. } | Caller::Daemon(_) | Caller::Hub(_) => AtEnd::Fail,
            Caller::Suspended(_) => AtEnd::KeepForReturn,
            Caller::Gone(_) | Caller::Listener | Caller::Fence(_) | Caller::Nobody => AtEnd::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::sync::oneshot;

    use super::*;
    use crate::hub::ids::SessionId;
    use crate::hub::instance::calls::pending_call::{Cancelled, OnReply, Repeat};
    use crate::hub::session::Session;

    fn list() -> Option<Box<Repeat>> {
        Some(Box::new(Repeat { frame: "{}".into(), edits: Vec::new(), on_reply: OnReply::Nothing }))
    }

    fn agents(repeat: Option<Box<Repeat>>) -> PendingCall {
        let owner = Caller::Agent { session: Session::for_test(1, None), id: "1".into(), token: None };
        PendingCall::new(owner, OnReply::Nothing, repeat)
    }

    #[test]
    fn who_waits_is_told_and_what_changes_nothing_is_asked_again() {
        let of = |owner| PendingCall::new(owner, OnReply::Nothing, None);
        let cancelled = Some(Cancelled { at: Instant::now(), heard: None });
        for (what, call, ready, starting) in [
            ("a call", agents(None), AtEnd::Fail, AtEnd::Fail),
            ("a list", agents(list()), AtEnd::Repeat, AtEnd::Fail),
            ("a list that was cancelled", PendingCall { cancelled, ..agents(list()) }, AtEnd::Nothing, AtEnd::Nothing),
            ("a command's call", of(Caller::Daemon(oneshot::channel().0)), AtEnd::Fail, AtEnd::Fail),
            ("the hub's own list", of(Caller::Hub(oneshot::channel().0)), AtEnd::Fail, AtEnd::Fail),
            ("a suspended call", of(Caller::Suspended(SessionId(1))), AtEnd::KeepForReturn, AtEnd::KeepForReturn),
            ("a call whose agent left", of(Caller::Gone(SessionId(1))), AtEnd::Nothing, AtEnd::Nothing),
            ("the own subscription", of(Caller::Listener), AtEnd::Nothing, AtEnd::Nothing),
            ("a fence", of(Caller::Fence(1)), AtEnd::Nothing, AtEnd::Nothing),
            ("a setting", of(Caller::Nobody), AtEnd::Nothing, AtEnd::Nothing),
        ] {
            assert_eq!((call.at_end(Greeted::Yes), call.at_end(Greeted::No)), (ready, starting), "{what}");
        }
    }
}
