//! The side of the agents: what a connection's first message makes of it, and the frames from then on.

mod connection;
mod http;
mod intake;

pub use connection::{Connection, Opened, Shutdown, open, refuse, serve};
pub use http::serve_http;
