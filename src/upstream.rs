//! The side of the servers: starts an instance, shakes hands through `rmcp`, and moves everything else past it.
//!
//! Two wires, `stdio` and `http`, carry the same messages under the same tap.

pub mod catalog;
mod child;
mod connection;
mod container;
mod handshake;
mod heard;
mod http;
mod http_client;
mod ids;
mod inbound;
mod instance_services;
mod ledger;
mod link;
mod quirks;
mod running;
mod salvage;
mod start_error;
pub mod state;
mod stderr;
mod stdio;
mod tap;
mod terms;

pub use connection::Connection;
pub use handshake::Handshake;
pub use http_client::HttpClient;
pub use inbound::Inbound;
pub use instance_services::InstanceServices;
pub use ledger::{Ledger, StateError};
pub use link::Link;
pub use quirks::{Quirk, Quirks};
pub use start_error::StartError;
pub use stderr::ServerLog;
pub use terms::{Speak, Terms};
