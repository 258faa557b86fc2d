//! A reload while requests are in flight: each keeps the snapshot with which it started.

use super::{
    fake::Ended,
    harness::{Config, Harness},
};
use spooky_bridge::message::{Fields, Method, RequestHead, ResetReason};
use spooky_edge::Abort;
use spooky_transport::{FailureKind, Processed, Unsent};
use std::time::Duration;

const OLD: Config = Config {
    upstream: "",
    performance: "backend_timeout_ms: 2s\nmax_response_body_bytes: 10",
    resilience: "  retry_budget: { max_retries: 0 }\n  protocol: { timeout_status: 504 }",
    backends: 1,
};
const NEW: Config = Config {
    upstream: "",
    performance: "backend_timeout_ms: 10s\nmax_response_body_bytes: 100",
    resilience: "  retry_budget: { max_retries: 0 }",
    backends: 2,
};

#[test]
fn limits_and_timeouts_are_those_of_the_beginning() {
    let mut harness = Harness::with(&OLD);
    let long = harness.get();
    let late = harness.get();
    harness.reload(&NEW);
    let next = harness.get();
    harness.head(0, 200, false);
    harness.data(0, &[b'.'; 11], false);
    assert!(matches!(harness.client(long).ended, Some(Ended::Reset(_))));
    harness.head(2, 200, false);
    harness.data(2, &[b'.'; 11], true);
    assert_eq!(harness.client(next).ended, Some(Ended::Plain));
    harness.sleep(Duration::from_millis(2100));
    assert_eq!(harness.answer(late), (504, "upstream timeout"), "the status too");
    harness.check_idle();
}

#[test]
fn the_old_snapshot_lives_as_long_as_its_last_exchange() {
    let mut harness = Harness::with(&OLD);
    let first = harness.get();
    let second = harness.get();
    harness.reload(&NEW);
    let third = harness.get();
    harness.exchanges.release_snapshots(&mut harness.transport);
    assert_eq!(harness.exchanges.retired.len(), 1);
    harness.abort(first, Abort::Lost);
    harness.exchanges.release_snapshots(&mut harness.transport);
    assert_eq!(harness.exchanges.retired.len(), 1);
    let (backend, now) = (harness.io.requests[0].backend, harness.io.now);
    let head = RequestHead { fields: Fields::new(), method: Method::Get, content_length: None };
    let request = harness.transport.request(backend, &head, true, 0, now).expect("the backend is still there");
    harness.transport.reset(request, ResetReason::Cancelled);
    harness.abort(second, Abort::Lost);
    harness.exchanges.release_snapshots(&mut harness.transport);
    assert!(harness.exchanges.retired.is_empty());
    assert_eq!(harness.transport.request(backend, &head, true, 0, now), Err(Unsent::UnknownBackend));
    harness.abort(third, Abort::Lost);
    harness.check_idle();
}

#[test]
fn a_retry_stays_with_the_backends_of_the_beginning() {
    let mut harness = Harness::with(&Config { resilience: "", ..OLD });
    let client = harness.get();
    harness.reload(&NEW);
    harness.fail(0, FailureKind::Refused, Processed::No);
    harness.sleep(Duration::from_millis(50));
    assert_eq!(harness.requests_of(client), [0, 1]);
    assert_eq!(harness.io.requests[0].backend, harness.io.requests[1].backend, "there was only one");
    harness.head(1, 200, true);
    assert_eq!(harness.ended(), (1, 0, 0));
    harness.check_idle();
}

#[test]
fn a_request_that_waits_for_a_permit_goes_to_the_backends_of_its_beginning() {
    let one = "per_upstream_inflight_limit: 1\nmax_client_share_percent: 100";
    let wait = "  route_queue: { max_wait_ms: 1s }";
    let mut harness = Harness::with(&Config { performance: one, resilience: wait, ..OLD });
    harness.get();
    let waiting = harness.get();
    harness.reload(&Config { performance: one, resilience: wait, ..NEW });
    harness.head(0, 200, true);
    harness.pass(Duration::ZERO);
    assert_eq!(harness.requests_of(waiting), [1]);
    assert_eq!(harness.io.requests[0].backend, harness.io.requests[1].backend);
    harness.head(1, 200, true);
    harness.check_idle();
}

#[test]
fn a_request_that_waits_for_a_backend_of_the_old_snapshot_does_not_hold_up_others() {
    let one = "per_backend_inflight_limit: 1\nmax_client_share_percent: 100";
    let wait = "  route_queue: { max_wait_ms: 1s }";
    let mut harness = Harness::with(&Config { performance: one, resilience: wait, ..OLD });
    let first = harness.get();
    let waiting = harness.get();
    harness.reload(&Config { performance: one, resilience: wait, ..NEW });
    let next = harness.get();
    harness.pass(Duration::ZERO);
    assert_eq!(harness.requests_of(next).len(), 1, "the second backend has room");
    assert_eq!(harness.requests_of(waiting).len(), 0);
    harness.abort(first, Abort::Lost);
    harness.pass(Duration::ZERO);
    assert_eq!(harness.requests_of(waiting).len(), 1);
    harness.abort(next, Abort::Lost);
    harness.abort(waiting, Abort::Lost);
    harness.check_idle();
}

#[test]
fn nor_does_one_that_comes_to_wait_after_the_reload() {
    let limits = "per_upstream_inflight_limit: 3\nper_backend_inflight_limit: 1\nmax_client_share_percent: 100";
    let wait = "  route_queue: { max_wait_ms: 1s }";
    let mut harness = Harness::with(&Config { performance: limits, resilience: wait, ..OLD });
    let clients = [harness.get(), harness.get(), harness.get()];
    let waiting = harness.get();
    harness.reload(&Config { performance: limits, resilience: wait, ..NEW });
    for client in [clients[1], clients[2]] {
        harness.abort(client, Abort::Lost);
    }
    harness.pass(Duration::ZERO);
    assert_eq!(
        (harness.state.global_limits.in_flight(), harness.requests_of(waiting).len()),
        (2, 0),
        "its backend is full"
    );
    let next = harness.get();
    harness.pass(Duration::ZERO);
    assert_eq!(harness.requests_of(next).len(), 1, "the second backend has room");
    for client in [clients[0], waiting, next] {
        harness.abort(client, Abort::Lost);
    }
    harness.pass(Duration::ZERO);
    harness.check_idle();
}
