//! Calls of modern agents that wait for what the agent brings back (MCP 2026-07-28 `basic/patterns/mrtr`).
//!
//! What the agent brings back says nothing to anybody else: it is random, good for one agent, one request and one time, and
//! for a limited time.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio_util::sync::DropGuard;

use crate::envelope::quoted;
use crate::hub::agent::Principal;
use crate::hub::ids::InstanceId;
use crate::names::ServerName;
use crate::wire::Held;

/// How a `requestState` of trunkline's begins; then comes which daemon's it is, because a server may be a trunkline too.
const STATE: &str = "trunkline:";
/// What rests, by what the agent must bring back.
#[derive(Debug, Default)]
pub(in crate::hub) struct SuspendedCalls(pub Mutex<HashMap<Box<str>, Suspended>>);

#[derive(Debug)]
pub(in crate::hub) struct Suspended {
    pub whose: Principal,
    /// Which request may bring it back, if only one may.
    pub request: Option<Box<str>>,
    pub what: What,
    /// Ends the wait for the agent.
    pub _waits: DropGuard,
}

#[derive(Debug)]
pub(in crate::hub) enum What {
    /// A call that the server is at.
    Call { instance: InstanceId, id: Arc<AtomicU64> },
    /// It was answered meanwhile: the frame, but for its id; or there is no room for that.
    Answered(Option<(Box<str>, Held)>),
    /// The server has ended the call, and wants a person to open a page before it is made again; its error, raw.
    Again(Box<str>),
    /// A person is to log in at a server, where so many logins were done before.
    Login { server: ServerName, before: u64 },
}

impl SuspendedCalls {
    pub(in crate::hub) fn count(&self) -> usize {
        self.0.lock().len()
    }

    /// Keeps the answer to a call that rests.
    pub(in crate::hub) fn keep(&self, state: &str, frame: &str, held: Option<Held>) {
        if let Some(rested) = self.0.lock().get_mut(state) {
            rested.what = What::Answered(held.map(|held| (frame.into(), held)));
        }
    }

    /// Takes what this request may have, once.
    pub(in crate::hub) fn take(&self, state: &str, whose: &Principal, request: &str) -> Option<Suspended> {
        let mut all = self.0.lock();
        let fits = all
            .get(state)
            .is_some_and(|rested| rested.whose == *whose && rested.request.as_deref().is_none_or(|own| own == request));
        if fits { all.remove(state) } else { None }
    }
}

/// The result that tells an agent to come back with answers, and with this state.
pub(in crate::hub) fn input_required(requests: &str, state: &str) -> String {
    let state = quoted(&format!("{}{state}", own_state()));
    format!(r#"{{"resultType":"input_required","inputRequests":{requests},"requestState":{state}}}"#)
}

/// How the states of this daemon begin.
pub(in crate::hub) fn own_state() -> &'static str {
    static OWN: OnceLock<String> = OnceLock::new();
    OWN.get_or_init(|| format!("{STATE}{:016x}:", fastrand::u64(..)))
}
