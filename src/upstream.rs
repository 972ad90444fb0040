//! The side of the servers: starts an instance, shakes hands through `rmcp`, and moves everything else past it.

pub mod catalog;
mod child;
mod handshake;
mod instance;
mod ledger;
mod processes;
pub mod state;
mod stderr;
mod tap;

pub use handshake::Handshake;
pub use instance::{Inbound, Instance, Link, Speak, StartError, Surroundings, Terms};
pub use ledger::{Ledger, StateError};
pub use processes::group_memory;
pub use stderr::ServerLog;
