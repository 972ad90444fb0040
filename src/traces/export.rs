//! The way out of spans: OpenTelemetry's own batches, over OTLP (HTTP with protobuf).

use std::borrow::Cow;

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor};

use crate::method::Method;
use crate::traces::place::{Ended, Span};

/// What names a place to export to.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// Sends spans in batches, on a thread of its own.
#[derive(Debug)]
pub(super) struct Exporter {
    batches: BatchSpanProcessor,
    scope: InstrumentationScope,
}

impl Exporter {
    /// Nothing where no place is named, or the variables have it switched off.
    pub(super) fn from_environment() -> Option<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        if is_off || !ENDPOINTS.iter().any(|name| variable(name).is_some()) {
            return None;
        }
        // Its client waits in a way that no task may.
        let built = std::thread::spawn(|| {
            let exporter = SpanExporter::builder().with_http().build()?;
            let mut batches = BatchSpanProcessor::builder(exporter).build();
            let mut resource = Resource::builder();
            if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
                resource = resource.with_service_name("trunkline");
            }
            let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
            batches.set_resource(&resource.with_attribute(version).build());
            Ok::<_, opentelemetry_otlp::ExporterBuildError>(batches)
        });
        match built.join() {
            Ok(Ok(batches)) => {
                tracing::info!("calls are traced, and exported by OTLP");
                let scope = InstrumentationScope::builder("trunkline").with_version(env!("CARGO_PKG_VERSION")).build();
                Some(Self { batches, scope })
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "calls are not traced: the OTEL_* variables name a place that cannot be used");
                None
            }
            Err(_) => {
                tracing::error!("calls are not traced: the exporter failed as it began");
                None
            }
        }
    }

    pub(super) fn export(&self, span: &Span, ended: &Ended<'_>) {
        let flags = TraceFlags::new(span.own.flags);
        let own = SpanId::from(span.own.span);
        let context = SpanContext::new(TraceId::from(span.own.trace), own, flags, false, TraceState::default());
        let name = match ended.subject.filter(|_| Method::of(ended.method) != Some(Method::ReadResource)) {
            Some(subject) => format!("{} {subject}", ended.method),
            None => ended.method.to_owned(),
        };
        self.batches.on_end(SpanData {
            span_context: context,
            parent_span_id: SpanId::from(span.parent),
            parent_span_is_remote: span.parent != 0,
            span_kind: SpanKind::Server,
            name: Cow::Owned(name),
            start_time: ended.began,
            end_time: ended.began + ended.took,
            attributes: attributes(ended),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: ended.failure.map_or(Status::Unset, |failure| Status::error(failure.to_owned())),
            instrumentation_scope: self.scope.clone(),
        });
    }

    pub(super) fn close(&self) {
        if let Err(error) = self.batches.shutdown() {
            tracing::debug!(%error, "some spans were not exported");
        }
    }
}

/// As OpenTelemetry's conventions for MCP name them, where they do.
fn attributes(ended: &Ended<'_>) -> Vec<KeyValue> {
    let mut all = vec![
        KeyValue::new("mcp.method.name", ended.method.to_owned()),
        KeyValue::new("mcp.server.name", ended.server.to_owned()),
        KeyValue::new("trunkline.session", ended.session.to_string()),
    ];
    let subject = match Method::of(ended.method) {
        Some(Method::CallTool) => "gen_ai.tool.name",
        Some(Method::GetPrompt) => "gen_ai.prompt.name",
        _ => "mcp.resource.uri",
    };
    all.extend(ended.subject.map(|text| KeyValue::new(subject, text.to_owned())));
    all.extend(ended.agent.map(|name| KeyValue::new("trunkline.agent", name.to_owned())));
    all.extend(ended.failure.map(|failure| KeyValue::new("error.type", failure.to_owned())));
    all.extend(ended.code.map(|code| KeyValue::new("rpc.jsonrpc.error_code", code)));
    all
}
