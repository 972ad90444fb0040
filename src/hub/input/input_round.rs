//! Questions that a modern server asked in place of an answer, and that were put to a legacy agent.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::hub::eras::InputRequired;
use crate::hub::ids::{InstanceId, SessionId};
use crate::hub::instance::calls::pending_call::{Asker, Opened, Translation};
use crate::names::ServerName;
use crate::wire::Held;

/// Questions that were put to an agent, and the call that waits for all the answers.
#[derive(Debug)]
pub(in crate::hub) struct InputRound {
    pub number: u64,
    pub server: ServerName,
    pub instance: InstanceId,
    pub asker: Asker,
    pub translation: Translation,
    /// The call whose task asks, under our id.
    pub call: Option<u64>,
    pub required: InputRequired,
    pub answers: Mutex<Vec<Option<Box<str>>>>,
    /// Pages that the person has opened.
    pub opened: Mutex<Vec<Opened>>,
    /// What the questions weigh.
    pub _held: Held,
}

impl InputRound {
    /// The name of each question, and its answer, raw.
    pub(in crate::hub) fn answers(&self) -> Vec<(Box<str>, Box<str>)> {
        let keys = self.required.asked.iter().map(|asked| asked.key.clone());
        keys.zip(self.answers.lock().iter().map(|answer| answer.clone().unwrap_or_default())).collect()
    }
}

/// An agent, and its own id of a request, raw.
type RequestOf = (SessionId, Box<str>);

/// The calls of legacy agents that wait for answers to such questions, by the agent and its own id, raw.
#[derive(Debug, Default)]
pub(in crate::hub) struct InputRounds {
    open: Mutex<HashMap<RequestOf, Arc<InputRound>>>,
    last: AtomicU64,
}

impl InputRounds {
    pub(in crate::hub) fn next_number(&self) -> u64 {
        1 + self.last.fetch_add(1, Ordering::Relaxed)
    }

    pub(in crate::hub) fn add(&self, round: &Arc<InputRound>) {
        self.open.lock().insert((round.asker.session.id, round.asker.id.clone()), round.clone());
    }

    /// What the request `id`, raw, waits for.
    pub(in crate::hub) fn get(&self, session: SessionId, id: &str) -> Option<Arc<InputRound>> {
        self.open.lock().get(&(session, id.into())).cloned()
    }

    /// Forgets what a request waits for, if it still waits for this.
    pub(in crate::hub) fn remove(&self, round: &InputRound) -> bool {
        let mut open = self.open.lock();
        let key = (round.asker.session.id, round.asker.id.clone());
        open.get(&key).is_some_and(|own| own.number == round.number) && open.remove(&key).is_some()
    }

    /// Those of one agent.
    pub(in crate::hub) fn of(&self, session: SessionId) -> Vec<Arc<InputRound>> {
        self.open.lock().values().filter(|round| round.asker.session.id == session).cloned().collect()
    }
}
