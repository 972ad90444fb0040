//! Which agents were asked to have a page opened, by the `elicitationId` of its server: that it is done is told to them, and to
//! nobody else (MCP 2025-11-25 `client/elicitation`).

use crate::hub::ids::SessionId;
use crate::hub::instance::calls::remembered::Remembered;

/// How many agents may be asked for one page.
const MOST: usize = 256;

#[derive(Debug, Default, Clone)]
pub(in crate::hub) struct Pages(Remembered<Vec<SessionId>>);

impl Pages {
    /// Notes that a page was asked for: of an agent that is to be told, or of one that is told otherwise. A server may ask
    /// several for the same one.
    pub(in crate::hub) fn note(&mut self, id: &str, session: Option<SessionId>) {
        match self.0.get_mut(id) {
            Some(asked) if asked.len() >= MOST => {}
            Some(asked) => asked.extend(session.filter(|session| !asked.contains(session))),
            None => self.0.insert(id, session.into_iter().collect()),
        }
    }

    /// Who was asked for a page that is done; nobody, if it is not known here.
    pub(in crate::hub) fn done(&mut self, id: &str) -> Option<Vec<SessionId>> {
        self.0.remove(id)
    }

    /// Notes whom another instance of the same server has asked.
    pub(in crate::hub) fn inherit(&mut self, other: &Self) {
        self.0.inherit(&other.0, Vec::clone);
    }
}
