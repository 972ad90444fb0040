//! Which agent made a task of a request of the server, by the id that the agent gave it (MCP 2025-11-25
//! `basic/utilities/tasks`, where clients may have tasks, too): what the server asks about it is for that agent.

use crate::hub::ids::SessionId;
use crate::hub::instance::calls::remembered::Remembered;

#[derive(Debug, Default)]
pub(in crate::hub) struct AgentsTasks(Remembered<Maker>);

#[derive(Debug)]
enum Maker {
    One(SessionId),
    /// Several agents chose the same id, so that it names nobody's.
    Several,
}

impl AgentsTasks {
    pub(in crate::hub) fn note(&mut self, id: &str, session: SessionId) {
        match self.0.get_mut(id) {
            Some(Maker::One(known)) if *known == session => {}
            Some(maker) => *maker = Maker::Several,
            None => self.0.insert(id, Maker::One(session)),
        }
    }

    /// The agent that has a task, if it is one.
    pub(in crate::hub) fn of(&self, id: &str) -> Option<SessionId> {
        match self.0.get(id)? {
            Maker::One(session) => Some(*session),
            Maker::Several => None,
        }
    }
}
