//! Requests over HTTP, counted by method and status.

use std::sync::atomic::AtomicU64;

use axum::http::{Method, StatusCode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

pub(super) type Labels = Vec<(&'static str, String)>;
pub(super) type Counters = Family<Labels, Counter<u64, AtomicU64>>;

/// Requests by method and status.
#[derive(Default)]
pub(super) struct Requests(pub Counters);

impl Requests {
    pub(super) fn count(&self, method: &Method, status: StatusCode) {
        // A method is whatever a client writes; only the known ones are told apart.
        let known = [Method::GET, Method::POST, Method::DELETE].contains(method);
        let method = if known { method.as_str() } else { "other" };
        let labels = vec![("method", method.to_owned()), ("status", status.as_u16().to_string())];
        self.0.get_or_create(&labels).inc();
    }
}
