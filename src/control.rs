//! The daemon's own calls, `daemon.*`: the same socket, for scripts and for the commands.

mod api;
mod calls;
mod client;
mod server;
mod status;

pub use api::{DaemonClient, Instance, LogLine, Memory, Missed, ServerStatus, ServerTools, SessionStatus, Status};
pub use calls::{Api, ReloadRequest};
pub use client::{Client, connect};
pub use server::serve;
