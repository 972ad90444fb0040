//! Calls that a server of the other era makes tasks of: trunkline follows the task in the agent's place, and the call is
//! answered with what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use super::bridge::{self, AsTask, Step, Task};
use super::line::Line;
use super::table::{Across, Owner, Table};
use crate::envelope::{Envelope, text};
use crate::era::Era;
use crate::lists::ListKind;
use crate::upstream::Handshake;

impl Line {
    /// Whether the server may have to make a task of an agent's request, or does at once; `frame` is how it goes there.
    pub(super) fn task_of(&self, agent: Era, frame: &str) -> AsTask {
        let Ok(envelope) = Envelope::parse(frame.as_bytes()) else { return AsTask::Never };
        if envelope.method != "tools/call" || agent == Era::Modern && !self.makes_tasks() {
            return AsTask::Never;
        }
        let tool = envelope.params.name.and_then(text).filter(|_| agent == Era::Modern);
        let known = self.upstream.upgrade().zip(self.audience());
        let tools = known.and_then(|(upstream, audience)| upstream.recall_list(audience, ListKind::Tools));
        let tools = tools.iter().flat_map(|tools| tools.iter());
        let listed = tool.and_then(|tool| tools.into_iter().find(|item| item.key == tool));
        if listed.is_some_and(|item| bridge::is_task_only(&item.raw)) { AsTask::Allowed } else { AsTask::IfNeeded }
    }

    /// Whether a legacy server can make tasks of calls.
    pub(super) fn makes_tasks(&self) -> bool {
        *self.makes_tasks.get_or_init(|| self.handshake().is_some_and(Handshake::makes_tasks))
    }

    /// Goes on with a call that the server has made a task of, or must make one of; false if this is its answer.
    pub(super) fn follow(self: &Arc<Self>, id: u64, response: &Envelope<'_>) -> bool {
        let mut table = self.table.lock();
        let Some(pending) = table.get(id) else { return false };
        let Some(across) = &pending.across else { return false };
        let Some(step) = across.task.step(across.agent, response) else { return false };
        let over = pending.cancelled.is_some();
        let frame = match (step, over) {
            (Step::Allow, false) => self.make_again(&mut table, id),
            (Step::Begin(task, pause), false) => self.begin_task(&mut table, id, task, pause),
            (Step::Look(pause), false) => {
                self.look_later(&mut table, id, pause);
                None
            }
            (Step::Begin(task, _), true) => {
                let task = Task { id: task, progress: id, asleep: false, answered: Vec::new() };
                let params = params(across, &task, "");
                drop(table);
                self.send_own("tasks/cancel", &params, Owner::Nobody);
                return false;
            }
            (Step::Allow | Step::Look(_), true) => return false,
        };
        drop(table);
        if let Some((next, frame)) = frame {
            self.send_on(next, &frame);
        }
        true
    }

    /// The call once more, as one that may become a task.
    fn make_again(&self, table: &mut Table, id: u64) -> Option<(u64, String)> {
        let next = self.link.next_id();
        let across = table.go_on_as(id, next)?.across.as_mut()?;
        across.task = AsTask::Allowed;
        let frame = bridge::allowed(across.agent, across.frame.as_deref()?, next)?;
        across.frame = Some(frame.clone().into());
        Some((next, frame))
    }

    fn begin_task(
        self: &Arc<Self>,
        table: &mut Table,
        id: u64,
        task: Box<str>,
        pause: Duration,
    ) -> Option<(u64, String)> {
        let across = table.get_mut(id)?.across.as_mut()?;
        across.task = AsTask::Is(Task { id: task, progress: id, asleep: false, answered: Vec::new() });
        match across.agent {
            Era::Legacy => {
                self.look_later(table, id, pause);
                None
            }
            Era::Modern => {
                let next = self.link.next_id();
                let pending = table.go_on_as(id, next)?;
                let frame = request(pending.across.as_deref()?, "tasks/result", next, "")?;
                let rests = pending.rest.as_ref().map(|rest| rest.state.clone());
                if let Some(state) = rests {
                    self.rest_on(state, next);
                }
                Some((next, frame))
            }
        }
    }

    /// Looks at a task after a while. Until then the call is in flight as any other.
    fn look_later(self: &Arc<Self>, table: &mut Table, id: u64, pause: Duration) {
        let next = self.link.next_id();
        let across = table.go_on_as(id, next).and_then(|pending| pending.across.as_mut());
        let Some((AsTask::Is(task), upstream)) = across.map(|across| &mut across.task).zip(self.upstream.upgrade())
        else {
            return;
        };
        task.asleep = true;
        let (line, stop) = (self.clone(), upstream.around.stop.clone());
        upstream.around.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(pause) => line.look(next),
                () = stop.cancelled() => {}
            }
        });
    }

    fn look(self: &Arc<Self>, id: u64) {
        let mut table = self.table.lock();
        let Some(pending) = table.get_mut(id) else { return };
        if pending.cancelled.is_some() {
            drop(table);
            // Nothing was asked, so that nothing will be answered.
            return self.over(id);
        }
        let Some(across) = pending.across.as_mut() else { return };
        if let AsTask::Is(task) = &mut across.task {
            task.asleep = false;
        }
        let frame = request(across, "tasks/get", id, "");
        drop(table);
        frame.iter().for_each(|frame| self.send_on(id, frame));
    }

    /// Sends the next request of a call that goes on.
    fn send_on(&self, id: u64, frame: &str) {
        if let Err(refused) = self.link.outbox.push(frame.len(), |out| out.extend_from_slice(frame.as_bytes())) {
            let pending = self.table.lock().remove(id);
            if let Some((session, id)) = pending.as_ref().and_then(|pending| pending.owner.agent()) {
                session.reply(id, &self.not_sent(id, refused));
            }
        }
    }

    /// Cancels the task that a call has become; tells whether the server is at a request for the call besides.
    pub(super) fn cancel_task(&self, id: u64) -> bool {
        let table = self.table.lock();
        let across = table.get(id).and_then(|pending| pending.across.as_deref());
        let Some((across, AsTask::Is(task))) = across.map(|across| (across, &across.task)) else { return true };
        let (params, asleep) = (params(across, task, ""), task.asleep);
        drop(table);
        self.send_own("tasks/cancel", &params, Owner::Nobody);
        !asleep
    }
}

/// What a modern server is told that asked something for a task: the name of each question, and the answer, raw.
pub(super) fn update(across: &mut Across, id: u64, answers: &[(Box<str>, Box<str>)]) -> Option<String> {
    let members = format!(r#","inputResponses":{}"#, bridge::input_responses(answers));
    let frame = request(across, "tasks/update", id, &members);
    if let AsTask::Is(task) = &mut across.task {
        task.answered.extend(answers.iter().map(|(key, _)| key.clone()));
    }
    frame
}

fn request(across: &Across, method: &str, id: u64, members: &str) -> Option<String> {
    let AsTask::Is(task) = &across.task else { return None };
    let params = params(across, task, members);
    Some(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#))
}

fn params(across: &Across, task: &Task, members: &str) -> String {
    task.params(across.agent, across.frame.as_deref().unwrap_or_default(), members)
}
