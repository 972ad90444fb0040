//! Who a message on its way to a server is of.

use crate::wire::budget::Account;

/// Who a message is weighed for until it is written, and whether it may be written yet.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    pub by: &'a Account,
    /// Of a request: the id that the server is given.
    pub request: Option<u64>,
    /// It is not written before it is let go ([`Outbox::let_go`](crate::wire::Outbox::let_go)), nor is what its sender sends after it.
    pub waits: bool,
}
