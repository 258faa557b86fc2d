//! The trace context of each attempt.

use super::harness::{Config, Harness};
use spooky_bridge::message::{Known, trace::TraceContext};
use spooky_transport::{FailureKind, Processed};
use std::time::Duration;

const CLIENT: TraceContext = TraceContext { trace_id: 7, span_id: 8, flags: 1 };
/// Enables tracing; belongs after the lines of `resilience`.
const TRACING: &str = "observability:\n  tracing: { enabled: true, sample_ratio: 1.0 }\n";

/// Returns the trace contexts of all attempts.
fn contexts(harness: &Harness) -> Vec<TraceContext> {
    let parse = |values: &Vec<Vec<u8>>| {
        let [value] = values.as_slice() else { panic!("{values:?}") };
        TraceContext::parse(value).unwrap()
    };
    harness.io.requests.iter().map(|request| parse(&request.traceparent)).collect()
}

fn traced_get(harness: &mut Harness) {
    harness.send(b"GET", b"/", &[(Known::Traceparent, &CLIENT.to_bytes())], true);
}

#[test]
fn each_attempt_sends_a_span_of_its_own_in_the_trace_of_the_client() {
    for resilience in ["", TRACING] {
        let mut harness = Harness::with(&Config { resilience, ..Config::default() });
        traced_get(&mut harness);
        harness.fail(0, FailureKind::Refused, Processed::No);
        let contexts = contexts(&harness);
        let [first, second] = contexts.as_slice() else { panic!("{contexts:?}") };
        assert!(contexts.iter().all(|context| (context.trace_id, context.flags) == (7, 1)));
        assert!(first.span_id != 8 && second.span_id != 8 && first.span_id != second.span_id);
    }
}

#[test]
fn a_hedge_sends_a_span_of_its_own() {
    let resilience = "  hedging: { enabled: true, delay_ms: 50 }\n  retry_budget: { enabled: false }\n";
    let mut harness = Harness::with(&Config { resilience, ..Config::default() });
    traced_get(&mut harness);
    harness.sleep(Duration::from_millis(60));
    let contexts = contexts(&harness);
    assert_eq!((contexts.len(), contexts[0].trace_id, contexts[1].trace_id), (2, 7, 7));
    assert_ne!(contexts[0].span_id, contexts[1].span_id);
}

#[test]
fn a_trace_begins_only_if_tracing_is_enabled() {
    let mut harness = Harness::new();
    harness.get();
    assert!(harness.io.requests[0].traceparent.is_empty());
    let mut harness = Harness::with(&Config { resilience: TRACING, ..Config::default() });
    harness.get();
    harness.get();
    let contexts = contexts(&harness);
    assert_ne!(contexts[0].trace_id, contexts[1].trace_id);
    assert_eq!(contexts[0].flags, 1);
}

#[test]
fn a_trace_that_is_not_sampled_is_queued_for_no_exporter() {
    let mut harness = Harness::with(&Config { resilience: TRACING, ..Config::default() });
    let unsampled = TraceContext { flags: 0, ..CLIENT };
    harness.send(b"GET", b"/", &[(Known::Traceparent, &unsampled.to_bytes())], true);
    harness.head(0, 200, true);
    assert!(harness.state.spans.is_empty());
    traced_get(&mut harness);
    harness.head(1, 200, true);
    assert!(!harness.state.spans.is_empty());
}
