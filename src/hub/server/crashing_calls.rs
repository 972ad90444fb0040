//! Calls at which a server ended: one that does so again and again is not made again for the agent that makes it. Pure.

use crate::hub::agent::Principal;

/// So often a call may end the server.
const MOST_CRASHES: u32 = 3;
/// How many are remembered; the oldest makes place.
const MOST: usize = 256;

/// Who called what when a server ended, and how often.
#[derive(Debug, Default)]
pub(in crate::hub) struct Crashes(Vec<(Principal, Box<str>, u32)>);

impl Crashes {
    /// Notes that a server ended while it was at this call of an agent's, and at no other agent's.
    pub(in crate::hub) fn note(&mut self, whose: &Principal, tool: &str) {
        match self.find(whose, tool) {
            Some(at) => self.0[at].2 += 1,
            None => {
                if self.0.len() == MOST {
                    self.0.remove(0);
                }
                self.0.push((whose.clone(), tool.into(), 1));
            }
        }
    }

    /// How often it did, if that is too often.
    pub(in crate::hub) fn too_often(&self, whose: &Principal, tool: &str) -> Option<u32> {
        self.find(whose, tool).map(|at| self.0[at].2).filter(|times| *times >= MOST_CRASHES)
    }

    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The agent has left.
    pub(in crate::hub) fn forget(&mut self, whose: &Principal) {
        self.0.retain(|(known, _, _)| known != whose);
    }

    fn find(&self, whose: &Principal, tool: &str) -> Option<usize> {
        self.0.iter().position(|(known, name, _)| known == whose && **name == *tool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::ids::SessionId;

    #[test]
    fn the_third_time_is_the_last() {
        let mut crashes = Crashes::default();
        let (one, other) = (Principal::Session(SessionId(1)), Principal::Session(SessionId(2)));
        for expected in [None, None, Some(3), Some(4)] {
            crashes.note(&one, "exit");
            assert_eq!(crashes.too_often(&one, "exit"), expected);
        }
        assert_eq!((crashes.too_often(&one, "echo"), crashes.too_often(&other, "exit")), (None, None));
        crashes.forget(&one);
        assert_eq!(crashes.too_often(&one, "exit"), None);
    }
}
