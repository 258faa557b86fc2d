//! Each timeout: what the client gets, how the backend's stream is reset, and whether that counts against the backend.

use super::{
    fake::Ended,
    world::{Config, World, response},
};
use spooky_bridge::message::{Known, ResetReason};
use spooky_edge::{Abort, BodyRead, EventKind};
use spooky_transport::{FailureKind, Processed};
use std::time::Duration;

const RESET: Option<Ended> = Some(Ended::Reset(ResetReason::Internal));
/// One failure makes a backend unhealthy.
const STRICT: &str = "passive_health: { failure_threshold: 1, max_ejected_percent: 100 }";

fn with(performance: &'static str) -> World {
    World::with(&Config { performance, ..Config::default() })
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_silent_upload_is_answered_or_cut_off() {
    for has_begun in [false, true] {
        let mut world = with("client_body_idle_timeout_ms: 2s");
        let client = world.post();
        world.upload_data(client, b"part");
        if has_begun {
            world.head(0, 200, false);
        }
        world.sleep(Duration::from_millis(1900));
        assert_eq!(world.in_flight(), 1);
        world.sleep(Duration::from_millis(200));
        if has_begun {
            assert_eq!(world.client(client).ended, RESET);
        } else {
            assert_eq!(world.answer(client), (408, "request body idle timeout"));
        }
        assert_eq!((world.io.requests[0].reset, world.ended()), (Some(ResetReason::Cancelled), (0, 1, 0)));
        world.check_idle();
    }
}

#[test]
fn only_bytes_of_the_body_are_progress() {
    let mut world = with("client_body_idle_timeout_ms: 2s");
    let client = world.post();
    world.upload_data(client, b"part");
    for _ in 0..3 {
        world.sleep(Duration::from_millis(600));
        world.client_event(client, EventKind::Readable);
    }
    assert_eq!(world.in_flight(), 1);
    world.sleep(Duration::from_millis(300));
    assert_eq!(world.answer(client), (408, "request body idle timeout"));
    world.check_idle();
}

#[test]
fn the_client_is_not_waited_for_while_the_backend_takes_nothing() {
    let mut world = with("client_body_idle_timeout_ms: 2s");
    world.io.window = 0;
    let client = world.post();
    world.upload_data(client, b"part");
    world.sleep(seconds(10));
    assert_eq!(world.in_flight(), 1);
    world.widen(0, 100);
    world.sleep(seconds(3));
    assert_eq!(world.answer(client).0, 408);
    world.check_idle();
}

#[test]
fn nor_while_there_is_no_connection() {
    let mut world = with("client_body_idle_timeout_ms: 2s");
    world.io.is_connected = false;
    let client = world.post();
    world.sleep(seconds(10));
    assert_eq!(world.in_flight(), 1);
    world.connect(0);
    world.sleep(seconds(3));
    assert_eq!(world.answer(client).0, 408);
    world.check_idle();
}

#[test]
fn nor_while_another_backend_is_tried() {
    let mut world = with("client_body_idle_timeout_ms: 2s");
    let client = world.send(b"PUT", b"/", &[], false);
    world.upload_data(client, b"part");
    world.sleep(seconds(1));
    world.io.is_connected = false;
    world.fail(0, FailureKind::Refused, Processed::No);
    assert_eq!(world.requests_of(client), [0, 1]);
    world.sleep(seconds(10));
    assert_eq!(world.in_flight(), 1, "the second backend is not reached yet");
    world.connect(1);
    world.sleep(Duration::from_millis(1900));
    assert_eq!(world.in_flight(), 1);
    world.sleep(Duration::from_millis(200));
    assert_eq!(world.answer(client).0, 408);
    world.check_idle();
}

#[test]
fn an_upload_that_trickles_is_answered() {
    let mut world = with("client_min_rate_bytes_per_sec: 100");
    let client = world.post();
    for _ in 0..30 {
        if world.in_flight() == 1 {
            world.upload_data(client, b".");
            world.sleep(seconds(1));
        }
    }
    assert_eq!(world.answer(client), (408, "request body idle timeout"));
    world.check_idle();
}

#[test]
fn a_backend_that_does_not_answer_is_given_up_after_all_attempts() {
    let mut world = with("backend_timeout_ms: 2s");
    let client = world.get();
    world.sleep(seconds(5));
    assert_eq!(world.answer(client), (503, "upstream timeout"));
    let resets: Vec<_> = world.io.requests.iter().map(|request| request.reset).collect();
    assert_eq!(resets, [Some(ResetReason::Cancelled); 2], "each backend once");
    assert_eq!(world.ended(), (0, 1, 0));
    world.check_idle();
}

#[test]
fn the_response_timeout_begins_anew_with_every_byte_that_the_backend_takes() {
    let config = Config {
        performance: "backend_timeout_ms: 2s",
        resilience: "  retry_budget: { max_retries: 0 }",
        ..Config::default()
    };
    let mut world = World::with(&config);
    world.io.window = 1;
    let client = world.post();
    world.io.clients[client].body.push_back(BodyRead::End);
    world.io.clients[client].body.push_front(BodyRead::Data(bytes::Bytes::from_static(b"012345")));
    world.client_event(client, EventKind::Readable);
    for _ in 0..3 {
        world.sleep(Duration::from_millis(1900));
        world.widen(0, 2);
    }
    assert!(world.in_flight() == 1 && world.io.requests[0].sent_all);
    world.sleep(Duration::from_millis(2100));
    assert_eq!(world.answer(client), (503, "upstream timeout"));
    world.check_idle();
}

#[test]
fn the_response_timeout_goes_on_while_the_backend_takes_nothing() {
    let config = Config {
        performance: "backend_timeout_ms: 2s",
        resilience: "  retry_budget: { max_retries: 0 }",
        ..Config::default()
    };
    let mut world = World::with(&config);
    world.io.window = 4;
    let client = world.post();
    world.upload_data(client, b"some bytes");
    for _ in 0..3 {
        world.sleep(Duration::from_millis(600));
        world.client_event(client, EventKind::Readable);
    }
    assert_eq!((world.in_flight(), world.io.requests[0].body.len()), (1, 4));
    world.sleep(Duration::from_millis(300));
    assert_eq!(world.answer(client), (503, "upstream timeout"));
    world.check_idle();
}

#[test]
fn the_total_time_bounds_all_attempts() {
    let config = Config {
        performance: "backend_timeout_ms: 3s\nbackend_total_request_timeout_ms: 3s\nbackend_body_total_timeout_ms: 2s\n\
                      backend_body_idle_timeout_ms: 2s",
        ..Config::default()
    };
    let mut world = World::with(&config);
    world.io.is_connected = false;
    let client = world.get();
    world.sleep(Duration::from_millis(2900));
    assert_eq!(world.in_flight(), 1);
    world.sleep(Duration::from_millis(200));
    assert_eq!((world.answer(client), world.io.requests.len()), ((503, "upstream timeout"), 1));
    world.check_idle();
}

#[test]
fn the_client_may_shorten_the_total_time_by_grpc_timeout() {
    let mut world = World::new();
    let fields: [(Known, &[u8]); 2] = [(Known::ContentType, b"application/grpc"), (Known::GrpcTimeout, b"500m")];
    let client = world.send(b"POST", b"/", &fields, true);
    world.sleep(Duration::from_millis(600));
    assert_eq!(world.client(client).status(), Some(200), "an answer in the form of gRPC");
    assert_eq!((world.io.requests[0].reset, world.ended()), (Some(ResetReason::Cancelled), (0, 1, 0)));
    world.check_idle();
}

#[test]
fn a_backend_that_is_silent_after_its_head_is_cut_off_and_blamed() {
    // The first byte, and those between.
    for has_sent in [false, true] {
        let config = Config {
            upstream: STRICT,
            performance: "backend_body_total_timeout_ms: 3s\nbackend_body_idle_timeout_ms: 2s",
            ..Config::default()
        };
        let mut world = World::with(&config);
        let client = world.get();
        world.head(0, 200, false);
        if has_sent {
            world.data(0, b"part", false);
            world.sleep(Duration::from_millis(2100));
        } else {
            world.sleep(Duration::from_millis(2900));
            assert_eq!(world.in_flight(), 1);
            world.sleep(Duration::from_millis(200));
        }
        assert_eq!((world.client(client).ended, world.io.requests[0].reset), (RESET, Some(ResetReason::Cancelled)));
        assert_eq!((world.ended(), world.snapshot.upstreams[0].pool.healthy()), ((0, 1, 0), 1));
        world.check_idle();
    }
}

#[test]
fn a_backend_is_not_blamed_for_a_client_that_takes_nothing() {
    let config = Config {
        upstream: STRICT,
        performance: "backend_body_idle_timeout_ms: 2s\nclient_stall_timeout_ms: 5s",
        ..Config::default()
    };
    let mut world = World::with(&config);
    let client = world.get();
    world.io.clients[client].is_slow = true;
    world.head(0, 200, false);
    world.data(0, b"some bytes", false);
    world.sleep(Duration::from_millis(4900));
    assert_eq!(world.in_flight(), 1);
    world.sleep(Duration::from_millis(200));
    assert_eq!((world.client(client).ended, world.ended()), (RESET, (0, 1, 0)));
    assert_eq!(world.snapshot.upstreams[0].pool.healthy(), 2);
    world.check_idle();
}

#[test]
fn a_client_that_takes_a_part_of_what_waits_is_not_stalled() {
    let mut world = with("client_stall_timeout_ms: 5s\nclient_min_rate_bytes_per_sec: 0");
    let client = world.get();
    (world.io.clients[client].is_slow, world.io.clients[client].takes) = (true, 1);
    world.head(0, 200, false);
    for _ in 0..4 {
        world.data(0, b"some bytes", false);
        world.sleep(seconds(3));
    }
    assert_eq!((world.in_flight(), world.client(client).pending), (1, 36));
    world.io.clients[client].takes = 0;
    world.data(0, b"some bytes", false);
    world.sleep(seconds(3));
    assert_eq!(world.client(client).ended, RESET);
    world.check_idle();
}

#[test]
fn a_client_for_which_nothing_waits_is_not_stalled() {
    let mut world = with("client_stall_timeout_ms: 5s\nclient_min_rate_bytes_per_sec: 0");
    let client = world.get();
    world.io.clients[client].is_slow = true;
    world.head(0, 200, false);
    world.data(0, b"some bytes", false);
    // The connection has taken them; its event follows later.
    world.io.clients[client].pending = 0;
    world.sleep(seconds(6));
    assert_eq!(world.in_flight(), 1);
    world.client_event(client, EventKind::Accepted(10));
    world.data(0, b"", true);
    world.accept_all(client);
    assert_eq!(world.ended(), (1, 0, 0));
    world.check_idle();
}

#[test]
fn a_client_that_trickles_is_cut_off() {
    let mut world = with("client_min_rate_bytes_per_sec: 100");
    let client = world.get();
    world.io.clients[client].is_slow = true;
    world.head(0, 200, false);
    world.data(0, &[b'.'; 10_000], false);
    for _ in 0..30 {
        if world.in_flight() == 1 {
            world.accept(client, 1);
            world.sleep(seconds(1));
        }
    }
    assert_eq!((world.client(client).ended, world.ended()), (RESET, (0, 1, 0)));
    world.check_idle();
}

#[test]
fn an_event_stream_may_be_silent_for_as_long_as_a_tunnel() {
    let mut world = with("backend_body_idle_timeout_ms: 2s\ntunnel_idle_timeout_ms: 20s");
    let client = world.get();
    world.head_with(0, response(200, &[(Known::ContentType, b"text/event-stream")]), false);
    world.data(0, b"event", false);
    world.sleep(Duration::from_millis(19_900));
    assert_eq!(world.in_flight(), 1);
    world.sleep(Duration::from_millis(200));
    assert_eq!(world.client(client).ended, RESET);
    world.check_idle();
}

#[test]
fn the_lifetime_ends_an_exchange_in_every_phase() {
    let phases: [fn(&mut World) -> usize; 4] = [
        |world| {
            world.io.is_connected = false;
            world.get()
        },
        |world| world.post(),
        |world| {
            let client = world.get();
            world.head(0, 200, false);
            client
        },
        |world| {
            let client = world.get();
            world.io.clients[client].is_slow = true;
            world.head(0, 200, false);
            world.data(0, b"all", true);
            client
        },
    ];
    for (phase, begin) in phases.into_iter().enumerate() {
        let mut world = with("max_stream_lifetime_ms: 1s");
        let client = begin(&mut world);
        world.sleep(Duration::from_millis(900));
        assert_eq!(world.in_flight(), 1, "{phase}");
        world.sleep(Duration::from_millis(200));
        if phase < 2 {
            assert_eq!(world.answer(client), (503, "upstream timeout"), "{phase}");
        } else {
            assert_eq!(world.client(client).ended, RESET, "{phase}");
        }
        assert_eq!(world.ended(), (0, 1, 0), "{phase}");
        world.check_idle();
    }
}

#[test]
fn nothing_is_due_once_everything_has_ended() {
    let mut world = World::new();
    let client = world.get();
    world.abort(client, Abort::Lost);
    world.sleep(seconds(200));
    assert_eq!(world.exchanges.deadline(), None);
    world.check_idle();
}
