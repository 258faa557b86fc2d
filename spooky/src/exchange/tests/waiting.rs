//! Requests that wait for a permit or a backend: granted, refused, queue full.

use super::harness::{Config, Harness};
use crate::{client_side::ClientSide, exchange::shares::ClientShares};
use spooky_edge::{Abort, StreamRef};
use spooky_lb::{admit::Admission, time::Nanos};
use spooky_transport::{FailureKind, Processed};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Wake, Waker},
    time::Duration,
};

/// One request in flight; others wait for at most one second.
const ONE: Config = Config {
    upstream: "",
    performance: "per_upstream_inflight_limit: 1\nmax_client_share_percent: 100",
    resilience: "  route_queue: { max_wait_ms: 1s, default_cap: 2 }",
    backends: 1,
};
/// One request per backend.
const ONE_ON_BACKEND: Config =
    Config { performance: "per_backend_inflight_limit: 1\nmax_client_share_percent: 100", ..ONE };

#[test]
fn a_request_gets_the_permit_of_one_that_has_ended() {
    let mut harness = Harness::with(&ONE);
    harness.get();
    let second = harness.get();
    assert_eq!((harness.io.requests.len(), harness.state.global_limits.in_flight()), (1, 1));
    harness.head(0, 200, true);
    harness.pass(Duration::ZERO);
    assert_eq!(harness.requests_of(second), [1]);
    harness.head(1, 200, true);
    assert_eq!(harness.ended(), (2, 0, 0));
    harness.check_idle();
}

#[test]
fn permits_are_given_in_the_order_of_the_requests() {
    let mut harness = Harness::with(&ONE);
    let clients = [harness.get(), harness.get(), harness.get()];
    for (request, client) in clients.into_iter().enumerate() {
        assert_eq!(harness.requests_of(client), [request]);
        harness.head(request, 200, true);
        harness.pass(Duration::ZERO);
    }
    assert_eq!(harness.ended(), (3, 0, 0));
    harness.check_idle();
}

#[test]
fn a_request_that_has_waited_too_long_is_refused() {
    for (config, text) in
        [(ONE, "upstream overloaded, retry later"), (ONE_ON_BACKEND, "backend overloaded, retry later")]
    {
        let mut harness = Harness::with(&config);
        let first = harness.get();
        let second = harness.get();
        harness.sleep(Duration::from_millis(900));
        assert_eq!(harness.in_flight(), 2);
        harness.sleep(Duration::from_millis(200));
        assert_eq!(harness.answer(second), (503, text));
        assert_eq!((harness.ended(), harness.io.requests.len()), ((0, 1, 0), 1));
        harness.abort(first, Abort::Lost);
        harness.check_idle();
    }
}

#[test]
fn a_full_queue_refuses_at_once() {
    for config in [ONE, ONE_ON_BACKEND] {
        let mut harness = Harness::with(&config);
        let clients = [harness.get(), harness.get(), harness.get()];
        let refused = harness.get();
        assert_eq!(harness.answer(refused), (503, "route queue cap exceeded"));
        for client in clients {
            harness.abort(client, Abort::Lost);
        }
        harness.pass(Duration::ZERO);
        harness.check_idle();
    }
}

#[test]
fn a_request_with_a_permit_waits_for_a_backend_with_room() {
    let mut harness = Harness::with(&ONE_ON_BACKEND);
    harness.get();
    let second = harness.get();
    assert_eq!((harness.io.requests.len(), harness.state.global_limits.in_flight()), (1, 2), "both have their permit");
    harness.head(0, 200, false);
    harness.pass(Duration::ZERO);
    assert_eq!(harness.io.requests.len(), 1);
    harness.data(0, b"", true);
    harness.pass(Duration::ZERO);
    assert_eq!(harness.requests_of(second), [1]);
    harness.head(1, 200, true);
    assert_eq!(harness.ended(), (2, 0, 0));
    harness.check_idle();
}

#[test]
fn a_new_request_does_not_overtake_those_that_wait_for_a_backend() {
    let mut harness = Harness::with(&ONE_ON_BACKEND);
    harness.get();
    let second = harness.get();
    harness.head(0, 200, true);
    let third = harness.get();
    assert!(harness.requests_of(third).is_empty(), "the second has not had its turn yet");
    harness.pass(Duration::ZERO);
    assert_eq!((harness.requests_of(second), harness.requests_of(third)), (vec![1], vec![]));
    harness.head(1, 200, true);
    harness.pass(Duration::ZERO);
    harness.head(2, 200, true);
    assert_eq!(harness.ended(), (3, 0, 0));
    harness.check_idle();
}

#[test]
fn the_wait_for_the_permit_counts_towards_the_wait_for_the_backend() {
    let config = Config {
        performance: "per_upstream_inflight_limit: 2\nper_backend_inflight_limit: 1\nmax_client_share_percent: 100",
        ..ONE
    };
    let mut harness = Harness::with(&config);
    let first = harness.get();
    let second = harness.get();
    let third = harness.get();
    harness.sleep(Duration::from_millis(600));
    harness.abort(second, Abort::Lost);
    harness.pass(Duration::ZERO);
    assert_eq!((harness.state.global_limits.in_flight(), harness.requests_of(third).len()), (2, 0));
    harness.sleep(Duration::from_millis(500));
    assert_eq!(harness.answer(third), (503, "backend overloaded, retry later"));
    harness.abort(first, Abort::Lost);
    harness.check_idle();
}

#[test]
fn a_request_that_goes_away_lets_the_next_go() {
    for config in [ONE, ONE_ON_BACKEND] {
        let mut harness = Harness::with(&config);
        let first = harness.get();
        let second = harness.get();
        let third = harness.get();
        harness.abort(second, Abort::Lost);
        harness.abort(first, Abort::Lost);
        harness.pass(Duration::ZERO);
        assert_eq!((harness.requests_of(second).len(), harness.requests_of(third).len()), (0, 1));
        harness.abort(third, Abort::Lost);
        harness.check_idle();
    }
}

#[test]
fn what_a_waiting_request_uploads_is_sent_once_it_may_go() {
    for config in [ONE, ONE_ON_BACKEND] {
        let mut harness = Harness::with(&config);
        harness.get();
        let second = harness.post();
        harness.upload_data(second, b"early");
        assert_eq!(harness.state.bodies.used(), 5);
        harness.head(0, 200, true);
        harness.pass(Duration::ZERO);
        assert_eq!(harness.io.requests[1].body, b"early");
        harness.head(1, 200, true);
        harness.check_idle();
    }
}

#[test]
fn a_waiting_request_that_fails_later_is_tried_as_any_other() {
    let mut harness = Harness::with(&ONE_ON_BACKEND);
    harness.get();
    let second = harness.get();
    harness.head(0, 200, true);
    harness.pass(Duration::ZERO);
    harness.fail(1, FailureKind::GoAway, Processed::No);
    assert_eq!(harness.requests_of(second), [1, 2]);
    harness.head(2, 200, true);
    assert_eq!(harness.ended(), (2, 0, 0));
    harness.check_idle();
}

#[test]
fn the_worker_is_asked_to_come_back_for_those_that_wait() {
    let mut harness = Harness::with(&ONE);
    let first = harness.get();
    let second = harness.get();
    let due = harness.exchanges.deadline().unwrap();
    assert!(due <= harness.io.now + Duration::from_secs(1));
    harness.abort(first, Abort::Lost);
    harness.abort(second, Abort::Lost);
    harness.pass(Duration::ZERO);
    harness.check_idle();
}

struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_worker_that_sleeps_is_woken_when_a_permit_is_free() {
    let mut harness = Harness::with(&ONE);
    let count = Arc::new(Count(AtomicU32::new(0)));
    harness.exchanges.register_waker(&Waker::from(count.clone()));
    let first = harness.get();
    let second = harness.get();
    harness.pass(Duration::ZERO);
    let before = count.0.load(Relaxed);
    harness.abort(first, Abort::Lost);
    assert!(count.0.load(Relaxed) > before);
    let next = Arc::new(Count(AtomicU32::new(0)));
    harness.exchanges.register_waker(&Waker::from(next.clone()));
    harness.pass(Duration::ZERO);
    let third = harness.get();
    harness.pass(Duration::ZERO);
    let before = next.0.load(Relaxed);
    harness.abort(second, Abort::Lost);
    assert!(next.0.load(Relaxed) > before, "the latest waker counts");
    harness.abort(third, Abort::Lost);
    harness.pass(Duration::ZERO);
    harness.check_idle();
}

#[test]
fn streams_of_one_connection_have_one_share() {
    let mut harness = Harness::new();
    let client = |listener| ClientSide::Quic { listener, stream: StreamRef::default() };
    let (mut shares, queue) = (ClientShares::default(), &mut harness.exchanges.waiting.queue);
    let share = shares.of(client(1), queue);
    let limits = &harness.snapshot.upstreams[0].route_limits;
    let granted = queue.admit(limits, Some(&share), Nanos::NEVER, Nanos::ZERO);
    assert!(matches!(granted, Admission::Granted(_)));
    assert_eq!((shares.of(client(1), queue).held(), shares.of(client(0), queue).held()), (1, 0));
    drop(granted);
    assert_eq!(shares.of(client(1), queue).held(), 0);
}

#[test]
fn memory_is_given_back_without_losing_those_that_wait() {
    let mut harness = Harness::with(&ONE);
    for _ in 0..3 {
        harness.get();
    }
    harness.exchanges.free_unused();
    assert_eq!(harness.in_flight(), 3);
    for request in 0..3 {
        harness.head(request, 200, true);
        harness.pass(Duration::ZERO);
        harness.exchanges.free_unused();
    }
    assert_eq!(harness.exchanges.waiting.capacity(), 0);
    assert_eq!(harness.ended(), (3, 0, 0));
    harness.check_idle();
}
