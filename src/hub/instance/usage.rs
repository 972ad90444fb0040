//! What can be told of an instance: who uses it, and what it is at.

use crate::hub::ids::{PrincipalId, SessionId};
use crate::hub::instance::Instance;
use crate::hub::instance::calls::counts::OpenCall;
use crate::lists::ListKind;
use crate::upstream::Handshake;

impl Instance {
    /// Whether an agent has called anything of it.
    pub(in crate::hub) fn has_served(&self) -> bool {
        self.calls.lock().served
    }

    /// Whether it has answered a call.
    pub(in crate::hub) fn has_answered_calls(&self) -> bool {
        self.calls.lock().answered_calls
    }

    pub fn in_flight(&self) -> usize {
        self.calls.lock().in_flight()
    }

    /// Calls of others that wait here for their turn.
    pub(in crate::hub) fn held_of_others(&self, whose: PrincipalId) -> usize {
        self.calls.lock().turns.held_of_others(whose)
    }

    /// Whether it has no call, and no task that somebody may wait for.
    pub(in crate::hub) fn is_at_nothing(&self) -> bool {
        let calls = self.calls.lock();
        calls.in_flight() == 0 && !calls.tasks.are_running()
    }

    /// The calls that somebody waits for, the oldest first; no more than `most`.
    pub fn open_calls(&self, most: usize) -> Vec<OpenCall> {
        self.calls.lock().open(most)
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
