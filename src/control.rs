//! The daemon's own calls, `daemon.*`: the same socket, for scripts and for the commands.

mod api;
mod calls;
mod client;
mod long_call;
mod openrpc;
mod record;
mod refusal;
mod server;
mod shapes;
mod status;
mod subscriptions;
mod tools;
mod why;

pub use api::DaemonClient;
pub use calls::{Api, Notice, ReloadRequest};
pub use client::{Client, connect};
pub use openrpc::openrpc;
pub use server::serve;
pub use shapes::{
    Credentials, Environment, Instance, LogLine, LoginBegun, LoginStatus, Memory, Missed, Moment, OpenCall,
    RecordStatus, ServerStatus, ServerTools, SessionStatus, Started, Status, Why,
};
