//! What can be told of an instance: who uses it, and what it is at.

use std::time::Duration;

use crate::hub::ids::SessionId;
use crate::hub::instance::Instance;
use crate::lists::ListKind;
use crate::upstream::Handshake;

impl Instance {
    /// Whether an agent has called anything of it.
    pub(in crate::hub) fn has_served(&self) -> bool {
        self.calls.lock().served
    }

    pub fn in_flight(&self) -> usize {
        self.calls.lock().in_flight()
    }

    /// The calls of agents that were made so long ago: whose each is, and its age.
    pub fn calls_older_than(&self, age: Duration) -> Vec<(SessionId, Duration)> {
        self.calls.lock().older_than(age)
    }

    /// What the server has asked, and nobody has answered.
    pub fn questions(&self) -> usize {
        self.calls.lock().questions()
    }

    pub fn session_ids(&self) -> Vec<SessionId> {
        let mut ids: Vec<_> = self.calls.lock().sessions().map(|session| session.id).collect();
        ids.sort_unstable();
        ids
    }

    /// Whether a server may have what it does not declare: some have tools all the same, or declare nothing at all.
    pub(in crate::hub) fn may_offer(&self, kind: ListKind) -> bool {
        let nothing = || self.handshake().is_some_and(Handshake::declares_nothing);
        kind == ListKind::Tools || nothing()
    }
}
