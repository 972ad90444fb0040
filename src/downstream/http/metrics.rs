//! `/metrics`: what the daemon counts, for Prometheus (OpenMetrics text).

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::downstream::http::endpoint::Shared;
use crate::downstream::http::requests::{Counters, Labels};
use crate::era::Era;
use crate::hub::{Hub, Server};
use crate::record::{CLASSES, MethodTally};

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
    registry.register_collector(Box::new(Calls::of(hub)));
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

/// The calls of every server, by method, as they were when somebody looked.
#[derive(Debug)]
struct Calls(Vec<(String, MethodTally)>);

impl Calls {
    fn of(hub: &Hub) -> Self {
        let servers = hub.servers();
        let of_server = |server: &Arc<Server>| {
            let name = server.name.to_string();
            server.tally().methods().into_iter().map(move |tally| (name.clone(), tally))
        };
        Self(servers.iter().flat_map(of_server).collect())
    }
}

impl Collector for Calls {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut calls = encoder.encode_descriptor(
            "calls",
            "Calls of agents that have ended, by how they ended",
            None,
            MetricType::Counter,
        )?;
        for (server, tally) in &self.0 {
            for (outcome, count) in &tally.outcomes {
                let labels = [("server", server.as_str()), ("method", &tally.method), ("outcome", outcome)];
                calls.encode_family(&labels)?.encode_counter::<[(&str, &str); 1], _, f64>(count, None)?;
            }
        }
        let mut durations = encoder.encode_descriptor(
            "call_duration",
            "How long calls of agents took",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for (server, tally) in &self.0 {
            let bounds = CLASSES.into_iter().chain([f64::MAX]);
            let buckets: Vec<_> = bounds.zip(tally.classes).collect();
            let labels = [("server", server.as_str()), ("method", &tally.method)];
            durations.encode_family(&labels)?.encode_histogram::<[(&str, &str); 1]>(
                tally.seconds,
                tally.calls,
                &buckets,
                None,
            )?;
        }
        Ok(())
    }
}
