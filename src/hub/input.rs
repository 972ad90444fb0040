//! What servers ask of agents across the eras: the call waits, and goes on with the answers.

pub(in crate::hub) mod ask_and_retry;
pub(in crate::hub) mod input_round;
pub(in crate::hub) mod suspend_and_resume;
pub(in crate::hub) mod suspended_call;
