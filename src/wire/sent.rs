//! Who a message on its way to a server is of.

use crate::wire::budget::Account;

/// Who a message is weighed for until it is written.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    pub by: &'a Account,
    /// Of a request: the id that the server is given.
    pub request: Option<u64>,
}
