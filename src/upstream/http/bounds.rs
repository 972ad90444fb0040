//! How much is taken of a response, and who it is weighed for.

use crate::wire::Account;

/// How much is taken of a response, and who it is weighed for.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    pub max_frame: usize,
    pub account: Account,
}

impl Bounds {
    /// The same for something that is no message.
    pub(super) fn of(&self, most: usize) -> Self {
        Self { max_frame: most, account: self.account.clone() }
    }
}
