//! Where a call stands in a trace: what agents say of it in `_meta` (SEP-414: `traceparent`, `tracestate`, `baggage`, as W3C Trace
//! Context writes them), and the spans of trunkline's own, which are exported where the `OTEL_*` variables name a place.

#[cfg(feature = "otlp")]
mod export;
mod place;

#[cfg(feature = "otlp")]
use export::Exporter;

pub use place::{Ended, Place, Span, TraceMeta};

/// Begins and ends spans. Clones share the way out.
#[derive(Debug, Clone, Default)]
pub struct Tracer {
    #[cfg(feature = "otlp")]
    exporter: Option<std::sync::Arc<Exporter>>,
}

#[cfg(feature = "otlp")]
impl Tracer {
    /// Exports to where the `OTEL_*` variables say, if they do.
    pub fn from_environment() -> Self {
        Self { exporter: Exporter::from_environment().map(std::sync::Arc::new) }
    }

    /// The span of a call that begins, where the trace that its agent names is one that is recorded.
    pub fn begin(&self, meta: Option<&str>) -> Option<Span> {
        self.exporter.as_ref()?;
        let parent = TraceMeta::read(meta).traceparent.as_deref().and_then(Place::parse);
        let span = fastrand::u64(1..);
        match parent {
            Some(parent) if !parent.is_sampled() => None,
            Some(parent) => Some(Span { own: Place { span, ..parent }, parent: parent.span }),
            None => Some(Span { own: Place { trace: fastrand::u128(1..), span, flags: 1 }, parent: 0 }),
        }
    }

    pub fn end(&self, span: &Span, ended: &Ended<'_>) {
        self.exporter.iter().for_each(|exporter| exporter.export(span, ended));
    }

    /// Sends what waits. Blocks.
    pub fn close(&self) {
        self.exporter.iter().for_each(|exporter| exporter.close());
    }
}

#[cfg(not(feature = "otlp"))]
impl Tracer {
    /// This build exports nothing.
    pub fn from_environment() -> Self {
        Self::default()
    }

    pub fn begin(&self, _meta: Option<&str>) -> Option<Span> {
        None
    }

    pub fn end(&self, _span: &Span, _ended: &Ended<'_>) {}

    pub fn close(&self) {}
}
