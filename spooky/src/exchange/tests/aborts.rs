//! The client aborts in each phase: the backend's stream is reset at once, and all limits are released.

use super::{
    fake::Ended,
    harness::{Config, Harness},
};
use spooky_bridge::message::ResetReason;
use spooky_edge::{Abort, BodyRead, EventKind};
use spooky_lb::attempt::SlotId;
use spooky_transport::{FailureKind, Processed};
use std::time::Duration;

/// One request in flight, one in the queue.
const NARROW: Config = Config {
    upstream: "",
    performance: "per_upstream_inflight_limit: 1",
    resilience: "  route_queue: { max_wait_ms: 1s }",
    backends: 1,
};

const ABORTS: [Abort; 3] = [Abort::Reset(0x10c), Abort::Stopped(0x10c), Abort::Lost];

/// Returns the phases in which a client can abort: the client, and the request that must be reset.
fn phases() -> Vec<(&'static str, Harness, usize, Option<usize>)> {
    let mut phases = Vec::new();
    let mut enter = |name, config: &Config, begin: fn(&mut Harness) -> (usize, Option<usize>)| {
        let mut harness = Harness::with(config);
        let (client, request) = begin(&mut harness);
        phases.push((name, harness, client, request));
    };
    let normal = Config::default();
    enter("in the queue for a permit", &NARROW, |harness| {
        let first = harness.get();
        let second = harness.get();
        harness.head(0, 200, true);
        assert_eq!(harness.client(first).ended, Some(Ended::Plain));
        assert_eq!(harness.io.requests.len(), 1, "the queue is asked once a turn");
        (second, None)
    });
    let full = Config { performance: "per_backend_inflight_limit: 1", ..NARROW };
    enter("in the queue for a backend", &full, |harness| {
        let first = harness.get();
        let second = harness.get();
        harness.abort(first, Abort::Lost);
        (second, None)
    });
    enter("while a connection is made", &normal, |harness| {
        harness.io.is_connected = false;
        (harness.get(), Some(0))
    });
    enter("while it uploads", &normal, |harness| {
        let client = harness.post();
        harness.upload_data(client, b"part");
        (client, Some(0))
    });
    enter("while the response is awaited", &normal, |harness| (harness.get(), Some(0)));
    enter("while it rests before a retry", &Config { backends: 1, ..Config::default() }, |harness| {
        let client = harness.get();
        harness.fail(0, FailureKind::Refused, Processed::No);
        (client, None)
    });
    enter("while the response streams", &normal, |harness| {
        let client = harness.get();
        harness.head(0, 200, false);
        harness.data(0, b"part", false);
        (client, Some(0))
    });
    enter("while the end waits for it", &normal, |harness| {
        let client = harness.get();
        harness.io.clients[client].is_slow = true;
        harness.head(0, 200, false);
        harness.data(0, b"all", true);
        (client, None)
    });
    enter("after an early response", &normal, |harness| {
        let client = harness.post();
        harness.io.clients[client].is_slow = true;
        harness.head(0, 200, false);
        harness.data(0, b"all", true);
        assert_eq!(harness.io.requests[0].reset, Some(ResetReason::NoError));
        (client, None)
    });
    phases
}

#[test]
fn a_client_that_goes_away_cancels_the_request_in_every_phase() {
    for abort in ABORTS {
        for (name, mut harness, client, request) in phases() {
            let (success, failure, cancelled) = harness.ended();
            harness.abort(client, abort);
            assert_eq!(harness.ended(), (success, failure, cancelled + 1), "{name}");
            if let Some(request) = request {
                assert_eq!(harness.io.requests[request].reset, Some(ResetReason::Cancelled), "{name}");
            }
            harness.pass(Duration::from_secs(1));
            harness.check_idle();
        }
    }
}

#[test]
fn what_the_client_did_is_no_fault_of_the_backend() {
    let config = Config { upstream: "passive_health: { failure_threshold: 1 }", ..Config::default() };
    let mut harness = Harness::with(&config);
    for _ in 0..10 {
        let client = harness.get();
        harness.abort(client, Abort::Stopped(0));
    }
    assert_eq!((harness.ended(), harness.snapshot.upstreams[0].pool.healthy()), ((0, 0, 10), 2));
    harness.check_idle();
}

#[test]
fn a_client_that_breaks_the_protocol_or_is_cut_off_is_a_failure() {
    for abort in [Abort::Malformed("too short"), Abort::Closed] {
        for (name, mut harness, client, request) in phases() {
            let (success, failure, cancelled) = harness.ended();
            harness.abort(client, abort);
            assert_eq!(harness.ended(), (success, failure + 1, cancelled), "{name}");
            if let Some(request) = request {
                assert_eq!(harness.io.requests[request].reset, Some(ResetReason::Cancelled), "{name}");
            }
            harness.pass(Duration::from_secs(1));
            harness.check_idle();
        }
    }
}

#[test]
fn a_body_that_fails_while_it_is_read_cancels_the_request() {
    for (abort, ended) in [(Abort::Malformed("too short"), (0, 1, 0)), (Abort::Reset(0x10c), (0, 0, 1))] {
        let mut harness = Harness::new();
        let client = harness.post();
        harness.upload_data(client, b"part");
        harness.upload(client, BodyRead::Aborted(abort));
        assert_eq!((harness.ended(), harness.client(client).ended), (ended, None));
        let request = &harness.io.requests[0];
        assert_eq!((request.reset, request.sent_all), (Some(ResetReason::Cancelled), false));
        harness.check_idle();
    }
}

#[test]
fn both_attempts_are_reset_when_the_client_of_a_hedged_request_goes_away() {
    let config = Config { resilience: "  hedging: { enabled: true, delay_ms: 100 }", ..Config::default() };
    let mut harness = Harness::with(&config);
    let client = harness.get();
    harness.sleep(Duration::from_millis(110));
    assert_eq!(harness.requests_of(client).len(), SlotId::ALL.len());
    harness.client_event(client, EventKind::Aborted(Abort::Lost));
    let resets: Vec<_> = harness.io.requests.iter().map(|request| request.reset).collect();
    assert_eq!(resets, [Some(ResetReason::Cancelled); 2]);
    harness.check_idle();
}
