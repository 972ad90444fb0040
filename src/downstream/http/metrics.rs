//! `/metrics`: what the daemon counts, for Prometheus (OpenMetrics text).

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::downstream::http::endpoint::Shared;
use crate::downstream::http::requests::{Counters, Labels};
use crate::era::Era;
use crate::hub::{Hub, Server};

type Gauges = Family<Labels, Gauge>;

pub(super) async fn show(State(face): Shared) -> Response {
    let mut registry = Registry::with_prefix("trunkline");
    registry.register("http_requests", "HTTP requests that were answered", face.requests.0.clone());
    register(&mut registry, &face.hub);
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// What holds at this moment.
fn register(registry: &mut Registry, hub: &Hub) {
    let (states, instances, calls, starts) =
        (Gauges::default(), Gauges::default(), Gauges::default(), Counters::default());
    for upstream in hub.servers().iter() {
        let server = || ("server", upstream.name.to_string());
        let lines = upstream.all_instances();
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let now = upstream.condition();
        for state in Server::CONDITIONS {
            states.get_or_create(&vec![server(), ("state", state.to_owned())]).set(i64::from(state == now));
        }
        instances.get_or_create(&vec![server()]).set(count(lines.len()));
        calls.get_or_create(&vec![server()]).set(count(lines.iter().map(|line| line.in_flight()).sum()));
        starts.get_or_create(&vec![server()]).inc_by(upstream.known().starts);
    }
    let sessions = Gauges::default();
    for session in hub.sessions() {
        let era = match session.era() {
            Some(Era::Legacy) => "legacy",
            Some(Era::Modern) => "modern",
            None => "none",
        };
        let face = if session.is_over_http() { "http" } else { "socket" };
        sessions.get_or_create(&vec![("face", face.to_owned()), ("era", era.to_owned())]).inc();
    }
    let waiting = Gauge::<i64>::default();
    waiting.set(i64::try_from(hub.budget().used()).unwrap_or(i64::MAX));
    registry.register("waiting_bytes", "Bytes that wait for agents and servers, with what servers offer", waiting);
    registry.register("server_state", "1 for the state that a server is in, 0 for the others", states);
    registry.register("server_instances", "Processes and connections of a server", instances);
    registry.register("server_calls", "Requests that a server has not answered", calls);
    registry.register("server_starts", "How often a server was started", starts);
    registry.register("sessions", "Attached agents", sessions);
}
