//! The daemon's own calls, `daemon.*`: the same socket, for scripts and for the commands.

mod api;
mod client;
mod server;

pub use api::{DaemonClient, Instance, LogLine, Missed, ServerStatus, ServerTools, SessionStatus, Status};
pub use client::{Client, connect};
pub use server::{Api, serve};
