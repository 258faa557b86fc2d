//! A reload while requests are in flight: each keeps the snapshot with which it started.

use super::{
    fake::Ended,
    world::{Config, World},
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
    let mut world = World::with(&OLD);
    let long = world.get();
    let late = world.get();
    world.reload(&NEW);
    let next = world.get();
    world.head(0, 200, false);
    world.data(0, &[b'.'; 11], false);
    assert!(matches!(world.client(long).ended, Some(Ended::Reset(_))));
    world.head(2, 200, false);
    world.data(2, &[b'.'; 11], true);
    assert_eq!(world.client(next).ended, Some(Ended::Plain));
    world.sleep(Duration::from_millis(2100));
    assert_eq!(world.answer(late), (504, "upstream timeout"), "the status too");
    world.check_idle();
}

#[test]
fn the_old_snapshot_lives_as_long_as_its_last_exchange() {
    let mut world = World::with(&OLD);
    let first = world.get();
    let second = world.get();
    world.reload(&NEW);
    let third = world.get();
    world.exchanges.release_snapshots(&mut world.transport);
    assert_eq!(world.exchanges.retired.len(), 1);
    world.abort(first, Abort::Lost);
    world.exchanges.release_snapshots(&mut world.transport);
    assert_eq!(world.exchanges.retired.len(), 1);
    let (backend, now) = (world.io.requests[0].backend, world.io.now);
    let head = RequestHead { fields: Fields::new(), method: Method::Get, content_length: None };
    let request = world.transport.request(backend, &head, true, 0, now).expect("the backend is still there");
    world.transport.reset(request, ResetReason::Cancelled);
    world.abort(second, Abort::Lost);
    world.exchanges.release_snapshots(&mut world.transport);
    assert!(world.exchanges.retired.is_empty());
    assert_eq!(world.transport.request(backend, &head, true, 0, now), Err(Unsent::UnknownBackend));
    world.abort(third, Abort::Lost);
    world.check_idle();
}

#[test]
fn a_retry_stays_with_the_backends_of_the_beginning() {
    let mut world = World::with(&Config { resilience: "", ..OLD });
    let client = world.get();
    world.reload(&NEW);
    world.fail(0, FailureKind::Refused, Processed::No);
    world.sleep(Duration::from_millis(50));
    assert_eq!(world.requests_of(client), [0, 1]);
    assert_eq!(world.io.requests[0].backend, world.io.requests[1].backend, "there was only one");
    world.head(1, 200, true);
    assert_eq!(world.ended(), (1, 0, 0));
    world.check_idle();
}

#[test]
fn a_request_that_waits_for_a_permit_goes_to_the_backends_of_its_beginning() {
    let one = "per_upstream_inflight_limit: 1\nmax_client_share_percent: 100";
    let wait = "  route_queue: { max_wait_ms: 1s }";
    let mut world = World::with(&Config { performance: one, resilience: wait, ..OLD });
    world.get();
    let waiting = world.get();
    world.reload(&Config { performance: one, resilience: wait, ..NEW });
    world.head(0, 200, true);
    world.pass(Duration::ZERO);
    assert_eq!(world.requests_of(waiting), [1]);
    assert_eq!(world.io.requests[0].backend, world.io.requests[1].backend);
    world.head(1, 200, true);
    world.check_idle();
}

#[test]
fn a_request_that_waits_for_a_backend_of_the_old_snapshot_does_not_hold_up_others() {
    let one = "per_backend_inflight_limit: 1\nmax_client_share_percent: 100";
    let wait = "  route_queue: { max_wait_ms: 1s }";
    let mut world = World::with(&Config { performance: one, resilience: wait, ..OLD });
    let first = world.get();
    let waiting = world.get();
    world.reload(&Config { performance: one, resilience: wait, ..NEW });
    let next = world.get();
    world.pass(Duration::ZERO);
    assert_eq!(world.requests_of(next).len(), 1, "the second backend has room");
    assert_eq!(world.requests_of(waiting).len(), 0);
    world.abort(first, Abort::Lost);
    world.pass(Duration::ZERO);
    assert_eq!(world.requests_of(waiting).len(), 1);
    world.abort(next, Abort::Lost);
    world.abort(waiting, Abort::Lost);
    world.check_idle();
}

#[test]
fn nor_does_one_that_comes_to_wait_after_the_reload() {
    let limits = "per_upstream_inflight_limit: 3\nper_backend_inflight_limit: 1\nmax_client_share_percent: 100";
    let wait = "  route_queue: { max_wait_ms: 1s }";
    let mut world = World::with(&Config { performance: limits, resilience: wait, ..OLD });
    let clients = [world.get(), world.get(), world.get()];
    let waiting = world.get();
    world.reload(&Config { performance: limits, resilience: wait, ..NEW });
    for client in [clients[1], clients[2]] {
        world.abort(client, Abort::Lost);
    }
    world.pass(Duration::ZERO);
    assert_eq!(
        (world.state.global_limits.in_flight(), world.requests_of(waiting).len()),
        (2, 0),
        "its backend is full"
    );
    let next = world.get();
    world.pass(Duration::ZERO);
    assert_eq!(world.requests_of(next).len(), 1, "the second backend has room");
    for client in [clients[0], waiting, next] {
        world.abort(client, Abort::Lost);
    }
    world.pass(Duration::ZERO);
    world.check_idle();
}
