//! The daemon's own calls, `daemon.*`: the same socket, for scripts and for the commands.

mod api;
mod calls;
mod client;
mod server;
mod status;

pub use api::{
    Credentials, DaemonClient, Environment, Instance, LogLine, LoginBegun, LoginStatus, Memory, Missed, ServerStatus,
    ServerTools, SessionStatus, Status,
};
pub use calls::{Api, Notice, ReloadRequest};
pub use client::{Client, connect};
pub use server::serve;
