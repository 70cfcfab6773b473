//! Log lines, to standard error: text for people, JSON for programs. Both carry the fields of the spans they stand in
//! (job, assignment, table, epoch).
//!
//! Two filters: what is logged follows the level; what is traced does not, so that a trace is whole also where nothing is
//! logged.

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, FilterFn, filter_fn},
    fmt,
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use super::TelemetryError;

/// Our crates' names as they begin log targets.
const OURS: &str = "ringvault";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged.
pub(super) struct Filter(EnvFilter);

impl Filter {
    /// Of our own words at this level, of others' only warnings.
    pub(super) fn of(level: &str) -> Result<Self, TelemetryError> {
        let known = match level.to_ascii_lowercase().as_str() {
            "critical" | "error" => "error",
            "warn" | "warning" => "warn",
            "info" => "info",
            "debug" => "debug",
            "trace" => "trace",
            _ => return Err(TelemetryError::UnknownLevel(level.to_owned())),
        };
        let driver = if matches!(known, "debug" | "trace") { "warn" } else { "off" };
        // a directive counts for every target that begins with it
        Ok(Self(EnvFilter::new(format!("warn,scylla={driver},opentelemetry=off,{OURS}={known}"))))
    }
}

/// Spans of ours, whatever the level of the logs is.
fn spans() -> FilterFn {
    filter_fn(|metadata| metadata.is_span() && is_ours(metadata))
}

/// What goes to a collector: our spans, and what is wrong within them.
fn traced() -> FilterFn {
    filter_fn(|metadata| is_ours(metadata) && (metadata.is_span() || *metadata.level() <= Level::WARN))
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with(OURS) && *metadata.level() <= Level::INFO
}

/// Logs from now on, and hands spans to `tracer`. Later calls change nothing.
pub(super) fn start(filter: Filter, format: LogFormat, tracer: Option<&SdkTracerProvider>) {
    let mut layers = vec![lines(filter, format)];
    layers.extend(tracer.map(|tracer| traces(tracer).boxed()));
    if tracing_subscriber::registry().with(layers).try_init().is_err() {
        tracing::debug!("logging was started before");
    }
}

fn lines<S>(filter: Filter, format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let filter = filter.0.or(spans());
    match format {
        LogFormat::Text => {
            let ansi = std::io::stderr().is_terminal();
            fmt::layer().with_writer(std::io::stderr).with_ansi(ansi).with_filter(filter).boxed()
        }
        LogFormat::Json => {
            // `spans` holds all of them; `span` would repeat the innermost
            fmt::layer().json().with_current_span(false).with_writer(std::io::stderr).with_filter(filter).boxed()
        }
    }
}

/// Our spans as OpenTelemetry's.
pub(super) fn traces<S>(tracer: &SdkTracerProvider) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracer.tracer(OURS))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        // nobody of us asks OpenTelemetry for its current span
        .with_context_activation(false)
        .with_filter(traced())
}
