//! The side of the servers: starts an instance, shakes hands through `rmcp`, and moves everything else past it.

mod child;
mod handshake;
mod instance;
mod tap;

pub use handshake::Handshake;
pub use instance::{Inbound, Instance, Link, Speak, StartError, Surroundings};
