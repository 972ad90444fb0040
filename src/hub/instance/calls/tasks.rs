//! Which agent's a server's task is: another agent must not see it (MCP 2025-11-25 `basic/utilities/tasks`, and the tasks
//! extension of the modern era).

use std::time::{Duration, Instant};

use crate::hub::agent::Principal;
use crate::hub::ids::SessionId;
use crate::hub::instance::calls::remembered::Remembered;
use crate::hub::session::Session;

/// How long a task counts of which nothing is heard.
const SILENT: Duration = Duration::from_secs(3600);

/// The tasks that an instance has begun.
#[derive(Debug, Default, Clone)]
pub(in crate::hub) struct Tasks {
    known: Remembered<Task>,
}

#[derive(Debug, Clone)]
struct Task {
    whose: Principal,
    session: SessionId,
    /// Another instance of the server has begun it, and may still be at it.
    inherited: bool,
    /// When it was begun, or spoken of last; nothing once it has ended.
    runs: Option<Instant>,
    /// Under which of our ids its progress is told, and the agent's own token.
    progress: Option<(u64, Box<str>)>,
}

impl Tasks {
    /// Notes a task that was begun for an agent.
    pub(in crate::hub) fn note(&mut self, id: &str, session: &Session, progress: Option<(u64, Box<str>)>) {
        self.known.insert(
            id,
            Task {
                whose: session.principal(),
                session: session.id,
                inherited: false,
                runs: Some(Instant::now()),
                progress,
            },
        );
    }

    /// Notes a task that was begun for an agent that does not wait for it any more: it is nobody else's.
    pub(in crate::hub) fn note_left(&mut self, id: &str, session: SessionId) {
        if self.known.get(id).is_none_or(|task| task.inherited) {
            self.known.insert(
                id,
                Task { whose: Principal::Session(session), session, inherited: false, runs: None, progress: None },
            );
        }
    }

    /// Whether a task was begun for this agent.
    pub(in crate::hub) fn is_of(&self, id: &str, session: &Session) -> bool {
        self.known.get(id).is_some_and(|task| task.whose == session.principal())
    }

    /// Notes that the server has said something of a task.
    pub(in crate::hub) fn note_heard(&mut self, id: &str) {
        if let Some(task) = self.known.get_mut(id).filter(|task| !task.inherited) {
            task.runs = Some(Instant::now());
        }
    }

    pub(in crate::hub) fn note_ended(&mut self, id: &str) {
        if let Some(task) = self.known.get_mut(id) {
            task.runs = None;
        }
    }

    /// Notes that an agent has left, which nobody comes back for.
    pub(in crate::hub) fn note_gone(&mut self, session: SessionId) {
        let its = self.known.values_mut().filter(|task| task.whose == Principal::Session(session));
        its.for_each(|task| task.runs = None);
    }

    /// Whether the server is at a task of somebody who may wait for it.
    pub(in crate::hub) fn are_running(&self) -> bool {
        self.known.values().filter_map(|task| task.runs).any(|runs| runs.elapsed() < SILENT)
    }

    /// Whether a task was begun here for this agent.
    pub(in crate::hub) fn began(&self, id: &str, session: &Session) -> bool {
        self.known.get(id).is_some_and(|task| !task.inherited && task.whose == session.principal())
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

    /// Notes what another instance of the same server has begun, which may still be at it.
    pub(in crate::hub) fn inherit(&mut self, other: &Self) {
        self.known.inherit(&other.known, |task| Task { inherited: true, runs: None, ..task.clone() });
    }
}
