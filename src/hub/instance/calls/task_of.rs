//! Whose the task is in whose name a server says or asks something.

use crate::envelope::{Envelope, task_id};
use crate::hub::ids::SessionId;
use crate::hub::instance::calls::Calls;

/// Whose the task is that a message of the server names.
#[derive(Debug)]
pub(in crate::hub) enum TaskOf {
    /// The agent that began it, which may have left.
    Agent(SessionId),
    /// A call that trunkline polls as this task.
    Call(u64),
    /// It is not known: it is being begun, or of an agent that is forgotten.
    Unknown,
}

impl Calls {
    /// Whose the task is in whose name the server says something (`_meta`, `io.modelcontextprotocol/related-task`); `None`
    /// of what names none.
    pub(in crate::hub) fn task_of(&self, envelope: &Envelope<'_>) -> Option<TaskOf> {
        let Some(named) = task_id(envelope.params.meta.related_task?) else { return Some(TaskOf::Unknown) };
        let begun = self.tasks.session(&named).map(TaskOf::Agent);
        let followed = || self.followed(|task| *task.id == *named).map(TaskOf::Call);
        Some(begun.or_else(followed).unwrap_or(TaskOf::Unknown))
    }
}
