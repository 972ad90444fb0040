//! What all requests over HTTP need.

use std::sync::Arc;

use axum::extract::State;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use crate::downstream::connection::Shutdown;
use crate::downstream::http::guard::Guard;
use crate::downstream::http::records::Records;
use crate::downstream::http::requests::Requests;
use crate::downstream::http::sessions::Sessions;
use crate::hub::Hub;

/// What all requests need.
pub(in crate::downstream) struct HttpEndpoint {
    pub hub: Arc<Hub>,
    pub guard: Guard,
    pub sessions: Sessions,
    pub records: Arc<Records>,
    /// Held while sessions and records change together.
    pub turn: Mutex<()>,
    pub requests: Requests,
    pub tasks: TaskTracker,
    pub ends: Shutdown,
}

pub(super) type Shared = State<Arc<HttpEndpoint>>;
