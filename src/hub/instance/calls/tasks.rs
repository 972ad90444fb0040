//! Which agent's a server's task is: another agent must not see it (MCP 2025-11-25 `basic/utilities/tasks`, and the tasks
//! extension of the modern era).

use crate::hub::agent::Principal;
use crate::hub::ids::SessionId;
use crate::hub::session::Session;
use std::collections::{HashMap, VecDeque};

/// How many tasks of one instance are remembered.
const MOST: usize = 4096;

/// The tasks that an instance has begun.
#[derive(Debug, Default)]
pub(in crate::hub) struct Tasks {
    known: HashMap<Box<str>, Task>,
    oldest: VecDeque<Box<str>>,
}

#[derive(Debug)]
struct Task {
    whose: Principal,
    session: SessionId,
    /// Under which of our ids its progress is told, and the agent's own token.
    progress: Option<(u64, Box<str>)>,
}

impl Tasks {
    /// Notes a task that was begun for an agent.
    pub(in crate::hub) fn note(&mut self, id: Box<str>, session: &Session, progress: Option<(u64, Box<str>)>) {
        let task = Task { whose: session.principal(), session: session.id, progress };
        if self.known.insert(id.clone(), task).is_none() {
            self.oldest.push_back(id);
        }
        while self.oldest.len() > MOST {
            let oldest = self.oldest.pop_front();
            oldest.map(|oldest| self.known.remove(&oldest));
        }
    }

    /// Whether a task was begun for this agent.
    pub(in crate::hub) fn is_of(&self, id: &str, session: &Session) -> bool {
        self.known.get(id).is_some_and(|task| task.whose == session.principal())
    }

    /// The agent that a task was begun for, which may have left.
    pub(in crate::hub) fn session(&self, id: &str) -> Option<SessionId> {
        self.known.get(id).map(|task| task.session)
    }

    /// Whose progress is told under this id of ours, and the agent's own token.
    pub(in crate::hub) fn progress(&self, ours: u64) -> Option<(SessionId, &str)> {
        self.known.values().find_map(|task| match &task.progress {
            Some((id, token)) if *id == ours => Some((task.session, &**token)),
            Some(_) | None => None,
        })
    }

    /// Takes over what another instance of the same server has begun.
    pub(in crate::hub) fn inherit(&mut self, other: &mut Self) {
        for id in std::mem::take(&mut other.oldest) {
            if let Some(task) = other.known.remove(&id) {
                self.known.insert(id.clone(), task);
                self.oldest.push_back(id);
            }
        }
    }
}
