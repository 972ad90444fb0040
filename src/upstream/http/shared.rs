//! What all exchanges of a connection need.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::mcp_headers::Annotated;
use crate::names::ServerName;
use crate::upstream::http::bounds::Bounds;
use crate::upstream::http::client::Endpoint;
use crate::upstream::inbound::Inbound;
use crate::upstream::tap::Tap;

/// What all exchanges of a connection need.
pub(super) struct Shared {
    pub name: ServerName,
    pub endpoint: Endpoint,
    pub tap: Arc<Tap>,
    pub inbound: Box<dyn Fn(Inbound<'_>) + Send + Sync>,
    pub bounds: Bounds,
    /// How long what comes first may take, each time.
    pub patience: Duration,
    /// Which parameters the modern era repeats in headers.
    pub tools: Mutex<Annotated>,
    /// Whether the stream of what belongs to no request is open.
    pub listens: AtomicBool,
    /// Requests whose answers may come there, and what ends the wait for each.
    pub elsewhere: Mutex<Elsewhere>,
}

/// What is waited for on another stream, and what came there before it was waited for.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    pub waiting: HashMap<u64, CancellationToken>,
    pub early: VecDeque<u64>,
}
