//! Telling: logs to standard error, traces and metrics over OTLP, metrics to Prometheus. Never a secret, never a cell
//! value: the driver's own spans hold partition keys, so it is kept at `warn` at most. What it says of broken connections
//! is said by our own errors, so it is silent by default.
//!
//! - [`metrics`]: what is counted, as plain functions and figures; `trace`: the context that travels with a call
//! - `logs`: lines for people and programs; `otlp`: sending to a collector; `instruments`: what metrics are called
//!
//! Telling never blocks or fails work: what can't be told is dropped, with one warning. No OpenTelemetry type leaves here.

mod instruments;
mod logs;
pub mod metrics;
mod otlp;
mod trace;

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;
use opentelemetry_sdk::{Resource, metrics::SdkMeterProvider, trace::SdkTracerProvider};
use prometheus::{Registry, TextEncoder};
use tokio::runtime::Runtime;

pub use instruments::NAMES;
pub use logs::LogFormat;
pub use trace::{continue_trace, trace_id, trace_parent};

use crate::net::pages::{Page, Pages};
use otlp::Collector;

/// How long sending what is left may take at the end of a process.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// What a process tells, and where.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// Of the logs: one of error, warn, info, debug, trace (any case; `warning` and `critical` are taken too).
    pub level: String,
    /// Of the logs.
    pub format: LogFormat,
    /// URL of an OTLP collector (gRPC), as `http://127.0.0.1:4317`, for traces and metrics.
    pub otlp_endpoint: Option<String>,
    /// Where `GET /metrics` and `GET /health` are served.
    pub prometheus: Option<SocketAddr>,
    /// `ringvault-coordinator`, `ringvault-worker` or `ringvault-client`.
    pub service_name: &'static str,
    /// Which of them: a worker's name, a coordinator's address; may be empty.
    pub instance: String,
}

/// Why telling can't start; for a person.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A log level that nobody knows.
    #[error("log level {0:?} is none of error, warn, info, debug, trace")]
    UnknownLevel(String),
    /// An endpoint that can't be a collector's.
    #[error("OTLP endpoint {endpoint:?}: {cause}; write it as http://HOST:PORT, or https://HOST:PORT")]
    Endpoint {
        /// Without credentials.
        endpoint: String,
        /// What is wrong with it.
        cause: String,
    },
    /// An address that can't be listened on.
    #[error("metrics can't be served at {address}: {cause}; choose another address")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The system's error.
        cause: io::Error,
    },
    /// The threads that send could not be started.
    #[error("telling can't start: {0}")]
    Start(String),
}

/// Tells while it lives. Dropping it, or [`Guard::stop`], sends what is left, at most 2 s.
#[must_use = "telling ends when it is dropped"]
pub struct Guard {
    tracer: Option<SdkTracerProvider>,
    meter: Option<SdkMeterProvider>,
    runtime: Option<Runtime>,
    prometheus: Option<SocketAddr>,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("prometheus", &self.prometheus).finish_non_exhaustive()
    }
}

impl Guard {
    /// Where metrics are served, with the port that the system chose if 0 was asked for.
    #[must_use]
    pub fn prometheus(&self) -> Option<SocketAddr> {
        self.prometheus
    }

    /// Sends what is left, at most 2 s; blocks meanwhile.
    pub fn stop(self) {}
}

impl Drop for Guard {
    fn drop(&mut self) {
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        // side by side, so that a collector that hangs costs the time once
        let meter = self.meter.take();
        let metrics = std::thread::spawn(move || meter.map(|meter| meter.shutdown_with_timeout(FLUSH_TIMEOUT)));
        if let Some(tracer) = self.tracer.take() {
            let _ = tracer.shutdown_with_timeout(FLUSH_TIMEOUT);
        }
        while !metrics.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if let Some(runtime) = self.runtime.take() {
            // does not wait, so that it may be dropped anywhere
            runtime.shutdown_background();
        }
    }
}

/// Starts telling for this process. Call it once, outside of an async runtime or within; a later call in the same process
/// starts no second log.
///
/// # Errors
/// Where the level is unknown, the endpoint is no URL, or the address can't be listened on.
pub fn start(telemetry: Telemetry) -> Result<Guard, TelemetryError> {
    let Telemetry { level, format, otlp_endpoint, prometheus, service_name, instance } = telemetry;
    let filter = logs::Filter::of(&level)?;
    let collector = otlp_endpoint.as_deref().map(Collector::at).transpose()?;
    if collector.is_none() && prometheus.is_none() {
        logs::start(filter, format, None);
        return Ok(Guard { tracer: None, meter: None, runtime: None, prometheus: None });
    }
    // of its own: it sends also when the process's runtime is busy or has ended
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("telemetry")
        .enable_all()
        .build()
        .map_err(|e| TelemetryError::Start(e.to_string()))?;
    let entered = runtime.enter();
    let resource = resource(service_name, instance);
    let mut meters = SdkMeterProvider::builder().with_resource(resource.clone());
    let mut tracer = None;
    if let Some(collector) = &collector {
        meters = meters.with_reader(collector.metrics()?);
        tracer = Some(collector.spans(resource)?);
    }
    let mut served = None;
    if let Some(address) = prometheus {
        let refused = |cause| TelemetryError::Listen { address, cause };
        let (pages, registry) = (Pages::bind(address).map_err(refused)?, Registry::new());
        served = Some(pages.address().map_err(refused)?);
        meters = meters.with_reader(exporter(&registry)?);
        runtime.spawn(pages.serve(move |path| page(path, &registry)));
    }
    let meter = meters.build();
    instruments::start(&meter);
    drop(entered);
    logs::start(filter, format, tracer.as_ref());
    if let Some(address) = served {
        tracing::info!("metrics are served at http://{address}/metrics");
    }
    Ok(Guard { tracer, meter: Some(meter), runtime: Some(runtime), prometheus: served })
}

fn resource(service_name: &'static str, instance: String) -> Resource {
    let mut resource = Resource::builder().with_service_name(service_name);
    resource = resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if !instance.is_empty() {
        resource = resource.with_attribute(KeyValue::new("service.instance.id", instance));
    }
    resource.build()
}

/// Metrics are called the same everywhere: nothing is added to their names.
fn exporter(registry: &Registry) -> Result<opentelemetry_prometheus::PrometheusExporter, TelemetryError> {
    opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .without_units()
        .without_counter_suffixes()
        .scope_info_enabled(false)
        .build()
        .map_err(|e| TelemetryError::Start(e.to_string()))
}

fn page(path: &str, registry: &Registry) -> Option<Page> {
    match path {
        "/metrics" => {
            let text = TextEncoder::new().encode_to_string(&registry.gather()).ok()?;
            Some(Page { content_type: "text/plain; version=0.0.4; charset=utf-8", text })
        }
        "/health" => Some(Page { content_type: "text/plain; charset=utf-8", text: "ok\n".to_owned() }),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
