//! Sending traces and metrics to an OTLP collector by gRPC: in batches, from threads of their own, out of a bounded queue.
//! A collector that can't be reached costs what would have been told, and one warning.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use opentelemetry_otlp::{
    MetricExporter, RetryPolicy, SpanExporter, WithExportConfig, WithTonicConfig,
    tonic_types::transport::ClientTlsConfig,
};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    metrics::{PeriodicReader, Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData},
};
use url::Url;

use super::TelemetryError;

/// How long one request may take; below the time that a process has for its last one.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long spans wait to be sent together.
const SPANS_EVERY: Duration = Duration::from_secs(1);
/// How often metrics are sent.
const METRICS_EVERY: Duration = Duration::from_secs(10);
/// Spans that wait; those beyond are dropped. A few megabytes.
const SPANS_QUEUED_MAX: usize = 8_192;

/// Where traces and metrics go.
#[derive(Debug)]
pub(super) struct Collector {
    url: Url,
    complaint: Complaint,
}

impl Collector {
    /// The collector of an endpoint.
    pub(super) fn at(endpoint: &str) -> Result<Self, TelemetryError> {
        let bad = |endpoint: &str, cause: &str| TelemetryError::Endpoint {
            endpoint: endpoint.to_owned(),
            cause: cause.to_owned(),
        };
        // what is no URL might hold anything, so it is not repeated
        let url = Url::parse(endpoint).map_err(|e| bad("(not a URL)", &e.to_string()))?;
        let shown = shown(&url);
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad(&shown, "only http:// and https:// are understood"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(bad(&shown, "it has no host"));
        }
        Ok(Self { url, complaint: Complaint { endpoint: shown, made: Arc::default() } })
    }

    /// Metrics to be read and sent every few seconds. Call it within the runtime that sends.
    pub(super) fn metrics(&self) -> Result<PeriodicReader<Reported<MetricExporter>>, TelemetryError> {
        let exporter = self.configured(MetricExporter::builder().with_tonic());
        let exporter = exporter.build().map_err(|e| TelemetryError::Start(e.to_string()))?;
        let exporter = Reported { exporter, complaint: self.complaint.clone() };
        Ok(PeriodicReader::builder(exporter).with_interval(METRICS_EVERY).build())
    }

    /// What takes spans. Call it within the runtime that sends.
    pub(super) fn spans(&self, resource: Resource) -> Result<SdkTracerProvider, TelemetryError> {
        let exporter = self.configured(SpanExporter::builder().with_tonic());
        let exporter = exporter.build().map_err(|e| TelemetryError::Start(e.to_string()))?;
        let exporter = Reported { exporter, complaint: self.complaint.clone() };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(SPANS_QUEUED_MAX)
            .with_scheduled_delay(SPANS_EVERY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        Ok(SdkTracerProvider::builder().with_resource(resource).with_span_processor(processor).build())
    }

    fn configured<B: WithExportConfig + WithTonicConfig>(&self, builder: B) -> B {
        let builder = builder
            .with_endpoint(self.url.as_str())
            .with_timeout(REQUEST_TIMEOUT)
            // the next batch is the next attempt; a queue of attempts would only delay the end of a process
            .with_retry_policy(RetryPolicy::disabled());
        if self.url.scheme() == "https" {
            return builder.with_tls_config(ClientTlsConfig::new().with_enabled_roots());
        }
        builder
    }
}

/// Without credentials and path.
fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// Warns once a process, however often and whatever can't be sent.
#[derive(Clone, Debug)]
struct Complaint {
    endpoint: String,
    made: Arc<AtomicBool>,
}

impl Complaint {
    fn hear(&self, result: &OTelSdkResult) {
        let error = match result {
            Ok(()) | Err(OTelSdkError::AlreadyShutdown) => return,
            Err(error) => error,
        };
        if !self.made.swap(true, Ordering::Relaxed) {
            let endpoint = &self.endpoint;
            tracing::warn!(
                %error,
                "traces and metrics can't be sent to {endpoint}; they are dropped until it answers, work goes on. \
                 Check --otlp-endpoint and the collector. This is said once"
            );
        }
    }
}

/// An exporter whose first failure is told.
#[derive(Debug)]
pub(super) struct Reported<E> {
    exporter: E,
    complaint: Complaint,
}

impl opentelemetry_sdk::trace::SpanExporter for Reported<SpanExporter> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        self.complaint.hear(&result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl PushMetricExporter for Reported<MetricExporter> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.exporter.export(metrics).await;
        self.complaint.hear(&result);
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
