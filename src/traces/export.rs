//! Sending traces to an OpenTelemetry collector, by OTLP over HTTP with protobuf.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use url::Url;

use super::{Stage, Trace};

/// How long the collector may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why traces could not be sent. The address is in none of it.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// There can be no client.
    #[error("no exporter of traces can be made")]
    Build(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The collector did not take them.
    #[error("the collector does not take traces")]
    Send(#[from] opentelemetry_sdk::error::OTelSdkError),
}

/// Sends traces to one collector.
#[derive(Debug)]
pub struct Exporter(SpanExporter);

impl Exporter {
    /// Sends to the collector at `url`, which is used as it stands.
    ///
    /// # Errors
    /// [`ExporterError::Build`].
    pub fn new(url: &Url) -> Result<Self, ExporterError> {
        let builder = SpanExporter::builder().with_http().with_endpoint(url.as_str()).with_timeout(TIMEOUT);
        let mut exporter = builder.with_protocol(Protocol::HttpBinary).build()?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        exporter.set_resource(&Resource::builder_empty().with_service_name("stanch").with_attribute(version).build());
        Ok(Self(exporter))
    }

    /// Sends them all in one request.
    ///
    /// # Errors
    /// [`ExporterError::Send`]: none of them may have arrived.
    pub async fn send(&self, traces: &[Trace]) -> Result<(), ExporterError> {
        let spans = traces.iter().flat_map(spans).collect();
        Ok(self.0.export(spans).await?)
    }
}

fn spans(trace: &Trace) -> Vec<SpanData> {
    let whole = span(trace, &trace.whole, 0);
    let status = match &trace.failed {
        Some(why) => Status::error(why.clone()),
        None => Status::Ok,
    };
    let root = whole.span_context.span_id();
    let mut spans = vec![SpanData { status, ..whole }];
    for (part, number) in trace.parts.iter().zip(1..) {
        spans.push(SpanData { parent_span_id: root, ..span(trace, part, number) });
    }
    spans
}

/// The id of a span comes of the trace's, so that a trace that is sent twice is the same one.
fn span(trace: &Trace, stage: &Stage, number: u64) -> SpanData {
    #[allow(clippy::cast_possible_truncation)] // the random half of the id
    let id = SpanId::from((trace.id as u64).wrapping_add(number).max(1));
    let context = SpanContext::new(TraceId::from(trace.id), id, TraceFlags::SAMPLED, false, TraceState::default());
    SpanData {
        span_context: context,
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: Cow::Borrowed(stage.name),
        start_time: system_time(stage.from),
        end_time: system_time(stage.to),
        attributes: stage.attributes.iter().map(|(name, value)| KeyValue::new(*name, value.clone())).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("stanch").build(),
    }
}

fn system_time(time: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(time.as_millisecond().try_into().unwrap_or(0))
}
