//! Trunkline's own subscription at a modern server.

use crate::hub::session::subscription::Filter;
use parking_lot::Mutex;

/// The subscription that is open, and those that it replaces once it is acknowledged.
#[derive(Debug, Default)]
pub(in crate::hub) struct OwnSubscription(pub Mutex<Own>);

#[derive(Debug, Default)]
pub(in crate::hub) struct Own {
    /// How often in a row the server has ended it.
    pub lost: u32,
    pub asked: Filter,
    pub open: Option<u64>,
    pub replaced: Vec<u64>,
}
