//! What servers ask of agents across the eras: the call waits, and goes on with the answers.

pub(in crate::hub) mod ask;
pub(in crate::hub) mod rounds;
pub(in crate::hub) mod suspend;
pub(in crate::hub) mod suspended;
