//! The side of the agents: what a connection's first message makes of it, and the frames from then on.

mod connection;

pub use connection::{Connection, Opened, open, refuse, serve};
