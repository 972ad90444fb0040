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
}

impl Calls {
    /// Whose the task is in whose name the server says something (`_meta`, `io.modelcontextprotocol/related-task`); `None`
    /// of what names none, or one that is only being begun.
    pub(in crate::hub) fn task_of(&self, envelope: &Envelope<'_>) -> Option<TaskOf> {
        let named = envelope.params.meta.related_task.and_then(task_id)?;
        let begun = self.tasks.session(&named).map(TaskOf::Agent);
        begun.or_else(|| self.followed(|task| *task.id == *named).map(TaskOf::Call))
    }
}
