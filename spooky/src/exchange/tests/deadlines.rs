//! Each timeout: what the client gets, how the backend's stream is reset, and whether that counts against the backend.

use super::{
    fake::Ended,
    harness::{Config, Harness, response},
};
use spooky_bridge::message::{Known, ResetReason};
use spooky_edge::{Abort, BodyRead, EventKind};
use spooky_transport::{FailureKind, Processed};
use std::time::Duration;

const RESET: Option<Ended> = Some(Ended::Reset(ResetReason::Internal));
/// One failure makes a backend unhealthy.
const STRICT: &str = "passive_health: { failure_threshold: 1, max_ejected_percent: 100 }";

fn with(performance: &'static str) -> Harness {
    Harness::with(&Config { performance, ..Config::default() })
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_silent_upload_is_answered_or_cut_off() {
    for has_begun in [false, true] {
        let mut harness = with("client_body_idle_timeout_ms: 2s");
        let client = harness.post();
        harness.upload_data(client, b"part");
        if has_begun {
            harness.head(0, 200, false);
        }
        harness.sleep(Duration::from_millis(1900));
        assert_eq!(harness.in_flight(), 1);
        harness.sleep(Duration::from_millis(200));
        if has_begun {
            assert_eq!(harness.client(client).ended, RESET);
        } else {
            assert_eq!(harness.answer(client), (408, "request body idle timeout"));
        }
        assert_eq!((harness.io.requests[0].reset, harness.ended()), (Some(ResetReason::Cancelled), (0, 1, 0)));
        harness.check_idle();
    }
}

#[test]
fn only_bytes_of_the_body_are_progress() {
    let mut harness = with("client_body_idle_timeout_ms: 2s");
    let client = harness.post();
    harness.upload_data(client, b"part");
    for _ in 0..3 {
        harness.sleep(Duration::from_millis(600));
        harness.client_event(client, EventKind::Readable);
    }
    assert_eq!(harness.in_flight(), 1);
    harness.sleep(Duration::from_millis(300));
    assert_eq!(harness.answer(client), (408, "request body idle timeout"));
    harness.check_idle();
}

/// The timer was set for an earlier deadline, and finds that the deadline is now.
#[test]
fn a_deadline_that_was_moved_is_kept_to_the_millisecond() {
    let mut harness = with("client_body_idle_timeout_ms: 2s");
    let client = harness.post();
    harness.pass(seconds(1));
    harness.upload_data(client, b"part");
    harness.pass(Duration::from_millis(1999));
    assert_eq!(harness.in_flight(), 1);
    harness.pass(Duration::from_millis(1));
    assert_eq!(harness.answer(client), (408, "request body idle timeout"));
    harness.check_idle();
}

#[test]
fn the_time_of_a_turn_and_other_times_are_converted_alike() {
    let mut harness = Harness::new();
    harness.pass(seconds(1));
    let now = harness.io.now;
    let nanos = [now, now + seconds(2)].map(|time| harness.exchanges.nanos(time).get());
    assert_eq!(nanos, [1_000_000_000, 3_000_000_000]);
}

#[test]
fn a_backend_that_sends_empty_parts_is_as_silent_as_any_other() {
    let mut harness = with("backend_body_idle_timeout_ms: 2s");
    let client = harness.get();
    harness.head(0, 200, false);
    harness.data(0, b"part", false);
    harness.sleep(Duration::from_millis(1500));
    harness.data(0, b"", false);
    harness.sleep(Duration::from_millis(600));
    assert_eq!((harness.client(client).ended, harness.ended()), (RESET, (0, 1, 0)));
    harness.check_idle();
}

#[test]
fn the_client_is_not_waited_for_while_the_backend_takes_nothing() {
    let mut harness = with("client_body_idle_timeout_ms: 2s");
    harness.io.window = 0;
    let client = harness.post();
    harness.upload_data(client, b"part");
    harness.sleep(seconds(10));
    assert_eq!(harness.in_flight(), 1);
    harness.grant_window(0, 100);
    harness.sleep(seconds(3));
    assert_eq!(harness.answer(client).0, 408);
    harness.check_idle();
}

#[test]
fn nor_while_there_is_no_connection() {
    let mut harness = with("client_body_idle_timeout_ms: 2s");
    harness.io.is_connected = false;
    let client = harness.post();
    harness.sleep(seconds(10));
    assert_eq!(harness.in_flight(), 1);
    harness.connect(0);
    harness.sleep(seconds(3));
    assert_eq!(harness.answer(client).0, 408);
    harness.check_idle();
}

#[test]
fn nor_while_another_backend_is_tried() {
    let mut harness = with("client_body_idle_timeout_ms: 2s");
    let client = harness.send(b"PUT", b"/", &[], false);
    harness.upload_data(client, b"part");
    harness.sleep(seconds(1));
    harness.io.is_connected = false;
    harness.fail(0, FailureKind::Refused, Processed::No);
    assert_eq!(harness.requests_of(client), [0, 1]);
    harness.sleep(seconds(10));
    assert_eq!(harness.in_flight(), 1, "the second backend is not reached yet");
    harness.connect(1);
    harness.sleep(Duration::from_millis(1900));
    assert_eq!(harness.in_flight(), 1);
    harness.sleep(Duration::from_millis(200));
    assert_eq!(harness.answer(client).0, 408);
    harness.check_idle();
}

#[test]
fn an_upload_that_trickles_is_answered() {
    let mut harness = with("client_min_rate_bytes_per_sec: 100");
    let client = harness.post();
    for _ in 0..30 {
        if harness.in_flight() == 1 {
            harness.upload_data(client, b".");
            harness.sleep(seconds(1));
        }
    }
    assert_eq!(harness.answer(client), (408, "request body idle timeout"));
    harness.check_idle();
}

#[test]
fn tunnels_and_grpc_streams_may_trickle() {
    let mut harness = Harness::with(&Config {
        performance: "client_min_rate_bytes_per_sec: 100",
        resilience: "  protocol: { allow_connect: true }",
        ..Config::default()
    });
    let stream = harness.send(b"POST", b"/", &[(Known::ContentType, b"application/grpc")], false);
    let tunnel = harness.send(b"CONNECT", b"localhost:1", &[], false);
    for request in [0, 1] {
        harness.head(request, 200, false);
    }
    for _ in 0..30 {
        harness.upload_data(stream, b".");
        harness.upload_data(tunnel, b".");
        harness.sleep(seconds(1));
    }
    assert_eq!(harness.in_flight(), 2);
    harness.abort(stream, Abort::Lost);
    harness.abort(tunnel, Abort::Lost);
    harness.check_idle();
}

#[test]
fn a_backend_that_does_not_answer_is_given_up_after_all_attempts() {
    let mut harness = with("backend_timeout_ms: 2s");
    let client = harness.get();
    harness.sleep(seconds(5));
    assert_eq!(harness.answer(client), (503, "upstream timeout"));
    let resets: Vec<_> = harness.io.requests.iter().map(|request| request.reset).collect();
    assert_eq!(resets, [Some(ResetReason::Cancelled); 2], "each backend once");
    assert_eq!(harness.ended(), (0, 1, 0));
    harness.check_idle();
}

#[test]
fn the_response_timeout_begins_anew_with_every_byte_that_the_backend_takes() {
    let config = Config {
        performance: "backend_timeout_ms: 2s",
        resilience: "  retry_budget: { max_retries: 0 }",
        ..Config::default()
    };
    let mut harness = Harness::with(&config);
    harness.io.window = 1;
    let client = harness.post();
    harness.io.clients[client].body.push_back(BodyRead::End);
    harness.io.clients[client].body.push_front(BodyRead::Data(bytes::Bytes::from_static(b"012345")));
    harness.client_event(client, EventKind::Readable);
    for _ in 0..3 {
        harness.sleep(Duration::from_millis(1900));
        harness.grant_window(0, 2);
    }
    assert!(harness.in_flight() == 1 && harness.io.requests[0].sent_all);
    harness.sleep(Duration::from_millis(2100));
    assert_eq!(harness.answer(client), (503, "upstream timeout"));
    harness.check_idle();
}

#[test]
fn the_response_timeout_goes_on_while_the_backend_takes_nothing() {
    let config = Config {
        performance: "backend_timeout_ms: 2s",
        resilience: "  retry_budget: { max_retries: 0 }",
        ..Config::default()
    };
    let mut harness = Harness::with(&config);
    harness.io.window = 4;
    let client = harness.post();
    harness.upload_data(client, b"some bytes");
    for _ in 0..3 {
        harness.sleep(Duration::from_millis(600));
        harness.client_event(client, EventKind::Readable);
    }
    assert_eq!((harness.in_flight(), harness.io.requests[0].body.len()), (1, 4));
    harness.sleep(Duration::from_millis(300));
    assert_eq!(harness.answer(client), (503, "upstream timeout"));
    harness.check_idle();
}

#[test]
fn the_total_time_bounds_all_attempts() {
    let config = Config {
        performance: "backend_timeout_ms: 3s\nbackend_total_request_timeout_ms: 3s\nbackend_body_total_timeout_ms: 2s\n\
                      backend_body_idle_timeout_ms: 2s",
        ..Config::default()
    };
    let mut harness = Harness::with(&config);
    harness.io.is_connected = false;
    let client = harness.get();
    harness.sleep(Duration::from_millis(2900));
    assert_eq!(harness.in_flight(), 1);
    harness.sleep(Duration::from_millis(200));
    assert_eq!((harness.answer(client), harness.io.requests.len()), ((503, "upstream timeout"), 1));
    harness.check_idle();
}

#[test]
fn the_client_may_shorten_the_total_time_by_grpc_timeout() {
    let mut harness = Harness::new();
    let fields: [(Known, &[u8]); 2] = [(Known::ContentType, b"application/grpc"), (Known::GrpcTimeout, b"500m")];
    let client = harness.send(b"POST", b"/", &fields, true);
    harness.sleep(Duration::from_millis(600));
    assert_eq!(harness.client(client).status(), Some(200), "an answer in the form of gRPC");
    assert_eq!((harness.io.requests[0].reset, harness.ended()), (Some(ResetReason::Cancelled), (0, 1, 0)));
    harness.check_idle();
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
        let mut harness = Harness::with(&config);
        let client = harness.get();
        harness.head(0, 200, false);
        if has_sent {
            harness.data(0, b"part", false);
            harness.sleep(Duration::from_millis(2100));
        } else {
            harness.sleep(Duration::from_millis(2900));
            assert_eq!(harness.in_flight(), 1);
            harness.sleep(Duration::from_millis(200));
        }
        assert_eq!((harness.client(client).ended, harness.io.requests[0].reset), (RESET, Some(ResetReason::Cancelled)));
        assert_eq!((harness.ended(), harness.snapshot.upstreams[0].pool.healthy()), ((0, 1, 0), 1));
        harness.check_idle();
    }
}

#[test]
fn a_backend_is_not_blamed_for_a_client_that_takes_nothing() {
    let config = Config {
        upstream: STRICT,
        performance: "backend_body_idle_timeout_ms: 2s\nclient_stall_timeout_ms: 5s",
        ..Config::default()
    };
    let mut harness = Harness::with(&config);
    let client = harness.get();
    harness.io.clients[client].is_slow = true;
    harness.head(0, 200, false);
    harness.data(0, b"some bytes", false);
    harness.sleep(Duration::from_millis(4900));
    assert_eq!(harness.in_flight(), 1);
    harness.sleep(Duration::from_millis(200));
    assert_eq!((harness.client(client).ended, harness.ended()), (RESET, (0, 1, 0)));
    assert_eq!(harness.snapshot.upstreams[0].pool.healthy(), 2);
    harness.check_idle();
}

#[test]
fn a_client_that_takes_a_part_of_what_waits_is_not_stalled() {
    let mut harness = with("client_stall_timeout_ms: 5s\nclient_min_rate_bytes_per_sec: 0");
    let client = harness.get();
    (harness.io.clients[client].is_slow, harness.io.clients[client].takes) = (true, 1);
    harness.head(0, 200, false);
    for _ in 0..4 {
        harness.data(0, b"some bytes", false);
        harness.sleep(seconds(3));
    }
    assert_eq!((harness.in_flight(), harness.client(client).pending), (1, 36));
    harness.io.clients[client].takes = 0;
    harness.data(0, b"some bytes", false);
    harness.sleep(seconds(3));
    assert_eq!(harness.client(client).ended, RESET);
    harness.check_idle();
}

#[test]
fn a_client_for_which_nothing_waits_is_not_stalled() {
    let mut harness = with("client_stall_timeout_ms: 5s\nclient_min_rate_bytes_per_sec: 0");
    let client = harness.get();
    harness.io.clients[client].is_slow = true;
    harness.head(0, 200, false);
    harness.data(0, b"some bytes", false);
    // The connection has taken them; its event follows later.
    harness.io.clients[client].pending = 0;
    harness.sleep(seconds(6));
    assert_eq!(harness.in_flight(), 1);
    harness.client_event(client, EventKind::Accepted(10));
    harness.data(0, b"", true);
    harness.accept_all(client);
    assert_eq!(harness.ended(), (1, 0, 0));
    harness.check_idle();
}

#[test]
fn a_client_that_trickles_is_cut_off() {
    let mut harness = with("client_min_rate_bytes_per_sec: 100");
    let client = harness.get();
    harness.io.clients[client].is_slow = true;
    harness.head(0, 200, false);
    harness.data(0, &[b'.'; 10_000], false);
    for _ in 0..30 {
        if harness.in_flight() == 1 {
            harness.accept(client, 1);
            harness.sleep(seconds(1));
        }
    }
    assert_eq!((harness.client(client).ended, harness.ended()), (RESET, (0, 1, 0)));
    harness.check_idle();
}

#[test]
fn an_event_stream_may_be_silent_for_as_long_as_a_tunnel() {
    let mut harness = with("backend_body_idle_timeout_ms: 2s\ntunnel_idle_timeout_ms: 20s");
    let client = harness.get();
    harness.head_with(0, response(200, &[(Known::ContentType, b"text/event-stream")]), false);
    harness.data(0, b"event", false);
    harness.sleep(Duration::from_millis(19_900));
    assert_eq!(harness.in_flight(), 1);
    harness.sleep(Duration::from_millis(200));
    assert_eq!(harness.client(client).ended, RESET);
    harness.check_idle();
}

#[test]
fn the_lifetime_ends_an_exchange_in_every_phase() {
    let phases: [fn(&mut Harness) -> usize; 4] = [
        |harness| {
            harness.io.is_connected = false;
            harness.get()
        },
        |harness| harness.post(),
        |harness| {
            let client = harness.get();
            harness.head(0, 200, false);
            client
        },
        |harness| {
            let client = harness.get();
            harness.io.clients[client].is_slow = true;
            harness.head(0, 200, false);
            harness.data(0, b"all", true);
            client
        },
    ];
    for (phase, begin) in phases.into_iter().enumerate() {
        let mut harness = with("max_stream_lifetime_ms: 1s");
        let client = begin(&mut harness);
        harness.sleep(Duration::from_millis(900));
        assert_eq!(harness.in_flight(), 1, "{phase}");
        harness.sleep(Duration::from_millis(200));
        if phase < 2 {
            assert_eq!(harness.answer(client), (503, "upstream timeout"), "{phase}");
        } else {
            assert_eq!(harness.client(client).ended, RESET, "{phase}");
        }
        assert_eq!(harness.ended(), (0, 1, 0), "{phase}");
        harness.check_idle();
    }
}

#[test]
fn nothing_is_due_once_everything_has_ended() {
    let mut harness = Harness::new();
    let client = harness.get();
    harness.abort(client, Abort::Lost);
    harness.sleep(seconds(200));
    assert_eq!(harness.exchanges.deadline(), None);
    harness.check_idle();
}
