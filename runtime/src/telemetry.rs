//! Telling: logs to standard error, traces and metrics over OTLP, metrics to Prometheus. Never a secret, never a cell
//! value: the driver's own spans hold partition keys, so it is kept at `warn` at most. What it says of broken connections
//! is said by our own errors, so it is silent by default.
//!
//! - [`metrics`]: what is counted, as plain functions and figures; `trace`: the context that travels with a call
//!
//! Telling never blocks or fails work: what can't be told is dropped, with one warning. No OpenTelemetry type leaves here.

pub mod metrics;
mod trace;

pub use trace::{continue_trace, trace_id, trace_parent};

use std::{io::IsTerminal, net::SocketAddr};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

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
}

/// Tells while it lives. Dropping it, or [`Guard::stop`], sends what is left, at most 2 s.
#[derive(Debug)]
#[must_use = "telling ends when it is dropped"]
pub struct Guard {}

impl Guard {
    /// Sends what is left, at most 2 s; blocks meanwhile.
    pub fn stop(self) {}
}

/// Starts telling for this process; call it once, outside of an async runtime or within.
///
/// # Errors
/// Where the level is unknown, the endpoint is no URL, or the address can't be listened on.
pub fn start(telemetry: Telemetry) -> Result<Guard, TelemetryError> {
    let Telemetry { level, format, .. } = telemetry;
    let level = match level.to_ascii_lowercase().as_str() {
        "critical" | "error" => "error",
        "warn" | "warning" => "warn",
        "info" => "info",
        "debug" => "debug",
        "trace" => "trace",
        _ => return Err(TelemetryError::UnknownLevel(level)),
    };
    let driver = if matches!(level, "debug" | "trace") { "warn" } else { "off" };
    let filter = EnvFilter::new(format!("warn,scylla={driver},ringvault={level}"))
        .add_directive(format!("ringvault_coordinator={level}").parse().expect("a directive"))
        .add_directive(format!("ringvault_worker={level}").parse().expect("a directive"))
        .add_directive(format!("ringvault_archive={level}").parse().expect("a directive"))
        .add_directive(format!("ringvault_runtime={level}").parse().expect("a directive"))
        .add_directive(format!("ringvault_client={level}").parse().expect("a directive"));
    let registry = tracing_subscriber::registry().with(filter);
    let ansi = std::io::stderr().is_terminal();
    let started = match format {
        LogFormat::Text => registry.with(fmt::layer().with_writer(std::io::stderr).with_ansi(ansi)).try_init(),
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
    Ok(Guard {})
}
