//! Which agents were asked to have a page opened, by the `elicitationId` of its server: that it is done is told to them, and to
//! nobody else (MCP 2025-11-25 `client/elicitation`).

use crate::hub::ids::SessionId;
use crate::hub::instance::calls::remembered::Remembered;

#[derive(Debug, Default)]
pub(in crate::hub) struct Pages(Remembered<Vec<SessionId>>);

impl Pages {
    /// Notes that an agent was asked for a page. A server may ask several for the same one.
    pub(in crate::hub) fn note(&mut self, id: &str, session: SessionId) {
        match self.0.get_mut(id) {
            Some(asked) if asked.contains(&session) => {}
            Some(asked) => asked.push(session),
            None => self.0.insert(id, vec![session]),
        }
    }

    /// Who was asked for a page that is done; nobody, if it is not known here.
    pub(in crate::hub) fn done(&mut self, id: &str) -> Option<Vec<SessionId>> {
        self.0.remove(id)
    }

    /// Takes over whom another instance of the same server has asked.
    pub(in crate::hub) fn inherit(&mut self, other: &mut Self) {
        self.0.inherit(&mut other.0);
    }
}
