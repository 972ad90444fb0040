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
    Left,
}

impl AgentsTasks {
    /// Notes a task of an agent.
    pub(in crate::hub) fn note(&mut self, id: &str, session: SessionId) {
        let maker = match self.0.get(id) {
            Some(Maker::One(known)) if *known != session => Maker::Several,
            Some(Maker::Several) => Maker::Several,
            Some(Maker::One(_) | Maker::Left) | None => Maker::One(session),
        };
        self.0.insert(id, maker);
    }

    /// Notes that an agent has left: its ids are free again.
    pub(in crate::hub) fn note_gone(&mut self, session: SessionId) {
        let its = self.0.values_mut().filter(|maker| matches!(maker, Maker::One(known) if *known == session));
        its.for_each(|maker| *maker = Maker::Left);
    }

    /// The agent that has a task, if it is one.
    pub(in crate::hub) fn of(&self, id: &str) -> Option<SessionId> {
        match self.0.get(id)? {
            Maker::One(session) => Some(*session),
            Maker::Several | Maker::Left => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_agents_or_nobodys() {
        let (one, other, mut tasks) = (SessionId(1), SessionId(2), AgentsTasks::default());
        tasks.note("a", one);
        tasks.note("a", one);
        assert_eq!((tasks.of("a"), tasks.of("b")), (Some(one), None));
        tasks.note("a", other);
        assert_eq!(tasks.of("a"), None, "two have it");
        tasks.note("b", one);
        tasks.note_gone(one);
        assert_eq!(tasks.of("b"), None);
        tasks.note("b", other);
        assert_eq!(tasks.of("b"), Some(other));
    }
}
