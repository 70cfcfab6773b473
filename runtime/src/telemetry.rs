//! Logs, to standard error. Never a secret, never a cell value: the driver's own spans hold partition keys, so it is
//! kept at `warn` at most. What it says of broken connections is said by our own errors, so it is silent by default.

use std::io::IsTerminal;

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

/// A log level that nobody knows.
#[derive(Debug, thiserror::Error)]
#[error("log level {0:?} is none of error, warn, info, debug, trace")]
pub struct UnknownLevel(String);

/// Starts logging for this process; later calls change nothing.
///
/// # Errors
/// Where `level` is not one of error, warn, info, debug, trace (any case; `warning` and `critical` are taken too).
pub fn init(level: &str, format: LogFormat) -> Result<(), UnknownLevel> {
    let level = match level.to_ascii_lowercase().as_str() {
        "critical" | "error" => "error",
        "warn" | "warning" => "warn",
        "info" => "info",
        "debug" => "debug",
        "trace" => "trace",
        _ => return Err(UnknownLevel(level.to_owned())),
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
    Ok(())
}
