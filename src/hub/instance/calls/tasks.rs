//! Which agent's a server's task is: another agent must not see it (MCP 2025-11-25 `basic/utilities/tasks`, and the tasks
//! extension of the modern era).

use crate::hub::agent::Principal;
use crate::hub::ids::SessionId;
use crate::hub::instance::calls::remembered::Remembered;
use crate::hub::session::Session;

/// The tasks that an instance has begun.
#[derive(Debug, Default)]
pub(in crate::hub) struct Tasks {
    known: Remembered<Task>,
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
    pub(in crate::hub) fn note(&mut self, id: &str, session: &Session, progress: Option<(u64, Box<str>)>) {
        self.known.insert(id, Task { whose: session.principal(), session: session.id, progress });
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
        self.known.inherit(&mut other.known);
    }
}
