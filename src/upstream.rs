//! The side of the servers: starts an instance, shakes hands through `rmcp`, and moves everything else past it.
//!
//! Two wires, `stdio` and `http`, carry the same messages under the same tap.

pub mod catalog;
mod child;
mod container;
mod handshake;
mod heard;
mod http;
mod ids;
mod instance;
mod ledger;
pub mod mirror;
mod quirks;
mod salvage;
pub mod state;
mod stderr;
mod stdio;
mod tap;

pub use handshake::Handshake;
pub use http::HttpClient;
pub use instance::{Inbound, Instance, Link, Speak, StartError, Surroundings, Terms};
pub use ledger::{Ledger, MARK, StateError};
pub use quirks::{Quirk, Quirks};
pub use stderr::ServerLog;
