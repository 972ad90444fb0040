//! The local endpoint: one Unix socket or named pipe for each user, safe from other users, owned by one daemon.

#[cfg(unix)]
mod activation;
mod errors;
mod peer;
mod signpost;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use activation::activated;
pub use errors::{AcceptError, ListenError};
pub use peer::Peer;
pub use signpost::Signpost;
#[cfg(unix)]
pub use unix::{
    Claim, ClientStream, Listener, ReadHalf, Reader, WriteHalf, connect, connect_blocking, holder, hung_up, is_claimed,
    start_lock,
};
#[cfg(windows)]
pub use windows::{
    Claim, ClientStream, Listener, ReadHalf, Reader, WriteHalf, connect, connect_blocking, holder, hung_up, is_claimed,
    start_lock,
};
