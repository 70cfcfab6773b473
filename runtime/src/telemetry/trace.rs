//! The context of a trace that travels with calls and in jobs: W3C Trace Context, as the header `traceparent` has it
//! (<https://www.w3.org/TR/trace-context/>, version 00).

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// `traceparent` of the current span, to be handed to whoever goes on with its work; empty where nothing is traced.
#[must_use]
pub fn trace_parent() -> String {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    if !span.is_valid() {
        return String::new();
    }
    format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8())
}

/// Makes `span` go on with the trace of a `traceparent`. An empty or malformed one changes nothing. Call it before the
/// span is entered.
pub fn continue_trace(span: &Span, trace_parent: &str) {
    if let Some(parent) = parse(trace_parent) {
        // refused where nothing is traced, which is as good
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// The trace id of a `traceparent`, 32 hexadecimal digits; empty where it holds none.
#[must_use]
pub fn trace_id(trace_parent: &str) -> String {
    parse(trace_parent).map(|span| span.trace_id().to_string()).unwrap_or_default()
}

/// `00-<32 digits: trace>-<16 digits: span>-<2 digits: flags>`; a later version may have more behind it.
fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let digits = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let sound = digits(version, 2) && digits(trace, 32) && digits(span, 16) && digits(flags, 2);
    if !sound || version == "ff" || version == "00" && parts.next().is_some() {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_as_the_standard_writes_it_and_nothing_else_is() {
        assert_eq!(trace_id(PARENT), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(trace_id(&PARENT.replacen("00-", "cc-", 1).replace("-01", "-01-what-comes")), trace_id(PARENT));
        for wrong in [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e47é6-00f067aa0ba902b7-01",
        ] {
            assert_eq!(trace_id(wrong), "", "{wrong}");
        }
    }

    #[test]
    fn without_a_collector_nothing_is_traced_and_nothing_breaks() {
        // another test may have begun to trace
        tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::new(), || {
            let span = tracing::info_span!("work");
            continue_trace(&span, PARENT);
            assert_eq!(span.in_scope(trace_parent), "");
        });
    }
}
