//! Requests that wait for a permit or a backend: granted, refused, queue full.

use super::world::{Config, World};
use crate::exchange::{io::ClientSide, shares::ClientShares};
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
    let mut world = World::with(&ONE);
    world.get();
    let second = world.get();
    assert_eq!((world.io.requests.len(), world.state.global_limits.in_flight()), (1, 1));
    world.head(0, 200, true);
    world.pass(Duration::ZERO);
    assert_eq!(world.requests_of(second), [1]);
    world.head(1, 200, true);
    assert_eq!(world.ended(), (2, 0, 0));
    world.check_idle();
}

#[test]
fn permits_are_given_in_the_order_of_the_requests() {
    let mut world = World::with(&ONE);
    let clients = [world.get(), world.get(), world.get()];
    for (request, client) in clients.into_iter().enumerate() {
        assert_eq!(world.requests_of(client), [request]);
        world.head(request, 200, true);
        world.pass(Duration::ZERO);
    }
    assert_eq!(world.ended(), (3, 0, 0));
    world.check_idle();
}

#[test]
fn a_request_that_has_waited_too_long_is_refused() {
    for (config, text) in
        [(ONE, "upstream overloaded, retry later"), (ONE_ON_BACKEND, "backend overloaded, retry later")]
    {
        let mut world = World::with(&config);
        let first = world.get();
        let second = world.get();
        world.sleep(Duration::from_millis(900));
        assert_eq!(world.in_flight(), 2);
        world.sleep(Duration::from_millis(200));
        assert_eq!(world.answer(second), (503, text));
        assert_eq!((world.ended(), world.io.requests.len()), ((0, 1, 0), 1));
        world.abort(first, Abort::Lost);
        world.check_idle();
    }
}

#[test]
fn a_full_queue_refuses_at_once() {
    for config in [ONE, ONE_ON_BACKEND] {
        let mut world = World::with(&config);
        let clients = [world.get(), world.get(), world.get()];
        let refused = world.get();
        assert_eq!(world.answer(refused), (503, "route queue cap exceeded"));
        for client in clients {
            world.abort(client, Abort::Lost);
        }
        world.pass(Duration::ZERO);
        world.check_idle();
    }
}

#[test]
fn a_request_with_a_permit_waits_for_a_backend_with_room() {
    let mut world = World::with(&ONE_ON_BACKEND);
    world.get();
    let second = world.get();
    assert_eq!((world.io.requests.len(), world.state.global_limits.in_flight()), (1, 2), "both have their permit");
    world.head(0, 200, false);
    world.pass(Duration::ZERO);
    assert_eq!(world.io.requests.len(), 1);
    world.data(0, b"", true);
    world.pass(Duration::ZERO);
    assert_eq!(world.requests_of(second), [1]);
    world.head(1, 200, true);
    assert_eq!(world.ended(), (2, 0, 0));
    world.check_idle();
}

#[test]
fn the_wait_for_the_permit_counts_towards_the_wait_for_the_backend() {
    let config = Config {
        performance: "per_upstream_inflight_limit: 2\nper_backend_inflight_limit: 1\nmax_client_share_percent: 100",
        ..ONE
    };
    let mut world = World::with(&config);
    let first = world.get();
    let second = world.get();
    let third = world.get();
    world.sleep(Duration::from_millis(600));
    world.abort(second, Abort::Lost);
    world.pass(Duration::ZERO);
    assert_eq!((world.state.global_limits.in_flight(), world.requests_of(third).len()), (2, 0));
    world.sleep(Duration::from_millis(500));
    assert_eq!(world.answer(third), (503, "backend overloaded, retry later"));
    world.abort(first, Abort::Lost);
    world.check_idle();
}

#[test]
fn a_request_that_goes_away_lets_the_next_go() {
    for config in [ONE, ONE_ON_BACKEND] {
        let mut world = World::with(&config);
        let first = world.get();
        let second = world.get();
        let third = world.get();
        world.abort(second, Abort::Lost);
        world.abort(first, Abort::Lost);
        world.pass(Duration::ZERO);
        assert_eq!((world.requests_of(second).len(), world.requests_of(third).len()), (0, 1));
        world.abort(third, Abort::Lost);
        world.check_idle();
    }
}

#[test]
fn what_a_waiting_request_uploads_is_sent_once_it_may_go() {
    for config in [ONE, ONE_ON_BACKEND] {
        let mut world = World::with(&config);
        world.get();
        let second = world.post();
        world.upload_data(second, b"early");
        assert_eq!(world.state.bodies.used(), 5);
        world.head(0, 200, true);
        world.pass(Duration::ZERO);
        assert_eq!(world.io.requests[1].body, b"early");
        world.head(1, 200, true);
        world.check_idle();
    }
}

#[test]
fn a_waiting_request_that_fails_later_is_tried_as_any_other() {
    let mut world = World::with(&ONE_ON_BACKEND);
    world.get();
    let second = world.get();
    world.head(0, 200, true);
    world.pass(Duration::ZERO);
    world.fail(1, FailureKind::GoAway, Processed::No);
    assert_eq!(world.requests_of(second), [1, 2]);
    world.head(2, 200, true);
    assert_eq!(world.ended(), (2, 0, 0));
    world.check_idle();
}

#[test]
fn the_worker_is_asked_to_come_back_for_those_that_wait() {
    let mut world = World::with(&ONE);
    let first = world.get();
    let second = world.get();
    let due = world.exchanges.deadline().unwrap();
    assert!(due <= world.io.now + Duration::from_secs(1));
    world.abort(first, Abort::Lost);
    world.abort(second, Abort::Lost);
    world.pass(Duration::ZERO);
    world.check_idle();
}

struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_worker_that_sleeps_is_woken_when_a_permit_is_free() {
    let mut world = World::with(&ONE);
    let count = Arc::new(Count(AtomicU32::new(0)));
    world.exchanges.register_waker(&Waker::from(count.clone()));
    let first = world.get();
    let second = world.get();
    world.pass(Duration::ZERO);
    let before = count.0.load(Relaxed);
    world.abort(first, Abort::Lost);
    assert!(count.0.load(Relaxed) > before);
    let next = Arc::new(Count(AtomicU32::new(0)));
    world.exchanges.register_waker(&Waker::from(next.clone()));
    world.pass(Duration::ZERO);
    let third = world.get();
    world.pass(Duration::ZERO);
    let before = next.0.load(Relaxed);
    world.abort(second, Abort::Lost);
    assert!(next.0.load(Relaxed) > before, "the latest waker counts");
    world.abort(third, Abort::Lost);
    world.pass(Duration::ZERO);
    world.check_idle();
}

#[test]
fn streams_of_one_connection_have_one_share() {
    let mut world = World::new();
    let client = |listener| ClientSide::Quic { listener, stream: StreamRef::default() };
    let (mut shares, queue) = (ClientShares::default(), &mut world.exchanges.waiting.queue);
    let share = shares.of(client(1), queue);
    let limits = &world.snapshot.upstreams[0].route_limits;
    let granted = queue.admit(limits, Some(&share), Nanos::NEVER, Nanos::ZERO);
    assert!(matches!(granted, Admission::Granted(_)));
    assert_eq!((shares.of(client(1), queue).held(), shares.of(client(0), queue).held()), (1, 0));
    drop(granted);
    assert_eq!(shares.of(client(1), queue).held(), 0);
}

#[test]
fn memory_is_given_back_without_losing_those_that_wait() {
    let mut world = World::with(&ONE);
    let clients = [world.get(), world.get(), world.get()];
    world.exchanges.free_unused();
    assert_eq!(world.in_flight(), 3);
    for (request, _) in clients.into_iter().enumerate() {
        world.head(request, 200, true);
        world.pass(Duration::ZERO);
        world.exchanges.free_unused();
    }
    assert_eq!(world.ended(), (3, 0, 0));
    world.check_idle();
}
