//! Copies of what an agent says, for those who record it.

use crate::hub::session::Session;
use crate::recording::{Direction, Tee};

impl Session {
    /// Where copies of its messages come from.
    pub fn tee(&self) -> &Tee {
        &self.tee
    }

    /// Gives a copy of what the agent said to those who record it.
    pub(in crate::hub) fn hear(&self, message: &str) {
        if self.tee.is_watched() {
            self.tee.hear(Direction::FromAgent, self.id.0, message);
        }
    }
}
