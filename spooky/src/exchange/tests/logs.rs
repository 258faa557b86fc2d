//! Log messages about requests: one line for each step, with what an operator looks for.

use super::harness::{Config, Harness, PEER};
use crate::exchange::log;
use spooky_bridge::{
    h2::Code,
    message::{
        Fields, Known, Method, Protocol, RequestHead,
        check::{CheckError, InvalidReason, RejectedRequest},
    },
};
use spooky_edge::{Abort, BodyRead, EventKind};
use spooky_lb::outcome::Reason;
use spooky_testkit::log::logged;
use spooky_transport::{FailureKind, Processed, Unsent};
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Returns a harness in a second that no other test uses: the number of warnings in a second is limited for the process.
fn harness(config: &Config) -> Harness {
    static TESTS: AtomicU64 = AtomicU64::new(1);
    let mut harness = Harness::with(config);
    harness.io.now += Duration::from_secs(TESTS.fetch_add(1, Relaxed) * 1_000_000);
    harness
}

/// Checks that the lines are these; the number of suppressed lines at their end is that of other tests.
fn assert_lines(lines: &[String], expected: &[&str]) {
    let cut: Vec<_> = lines.iter().map(|line| line.split(" suppressed=").next().unwrap()).collect();
    assert_eq!(cut, expected);
}

fn fields(list: &[(Known, &[u8])]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in list {
        fields.push(*name, value);
    }
    fields
}

#[test]
fn a_request_is_followed_from_its_head_to_its_response() {
    let mut harness = harness(&Config::default());
    let lines = logged(|| {
        harness.send(b"GET", b"/a b?c", &[], true);
        harness.pass(Duration::from_millis(7));
        harness.head(0, 204, true);
    });
    assert_lines(
        &lines,
        &[
            "HTTP/3 request GET /a\\x20b?c",
            "Selected backend http://127.0.0.1:1 via round-robin route=all path_len=1 host_specific=false reason=only",
            "Upstream all status 204 latency_ms=7",
        ],
    );
    harness.check_idle();
}

#[test]
fn the_hash_of_a_key_is_logged_where_a_key_decides() {
    let upstream = "load_balancing: { type: consistent-hash, key: path }";
    let mut harness = harness(&Config { upstream, ..Config::default() });
    let lines = logged(|| _ = harness.get());
    let (text, key) = lines[1].split_once(" request_hash_key=").unwrap();
    assert!(text.contains(" via consistent-hash route=all "), "{text}");
    assert!(key.len() == 16 && u64::from_str_radix(key, 16).is_ok_and(|hash| hash != 0), "{key}");
    harness.abort(0, Abort::Lost);
    harness.check_idle();
}

#[test]
fn what_spooky_answers_is_logged_with_its_reason() {
    let mut harness = harness(&Config::default());
    let lines = logged(|| _ = harness.send(b"CONNECT", b"localhost:1", &[(Known::XRequestId, b"mine")], false));
    let answered = "Answered by Spooky: status=405 reason=\"method denied\" request_id=mine";
    assert_lines(&lines, &["HTTP/3 request CONNECT localhost:1", answered]);
    let error = CheckError::Invalid(InvalidReason::InvalidPath);
    let fields = fields(&[(Known::Method, b"GET"), (Known::Path, b"/\"")]);
    let refusal = Box::new(RejectedRequest { error, fields });
    let refused = EventKind::Refused { protocol: Protocol::Http3, refusal, peer: PEER };
    let lines = logged(|| _ = harness.receive(refused));
    assert_eq!(lines[0], "HTTP/3 request GET /\\x22");
    assert!(lines[1].starts_with("Answered by Spooky: status=400 reason=\"invalid path\" request_id="), "{lines:?}");
    harness.check_idle();
}

#[test]
fn only_a_request_without_a_route_is_logged_as_such() {
    for (authority, host) in [(&b"localhost:1"[..], "Some(\"localhost:1\")"), (b"", "None")] {
        let fields = fields(&[(Known::Authority, authority), (Known::Path, b"/x")]);
        let head = RequestHead { fields, method: Method::Get, content_length: None };
        let lines = logged(|| log::refused(&head, Reason::NoRoute));
        assert_lines(&lines, &[&format!("No route found for path: /x (host: {host})")]);
        assert!(logged(|| log::refused(&head, Reason::PathDenied)).is_empty());
    }
}

#[test]
fn failures_of_backends_are_logged_with_the_backend() {
    const NAMES: &str = "backend=http://127.0.0.1:1 upstream=all id=b1";
    let config = Config { resilience: "  retry_budget: { max_retries: 0 }", backends: 1, ..Config::default() };
    for (kind, expected) in [
        (FailureKind::Refused, format!("Transport error: send: connection refused {NAMES}")),
        (FailureKind::ConnectTimeout, format!("Backend timeout {NAMES} phase=connect")),
        (FailureKind::GoAway, format!("Transport error: send: connection is going away {NAMES}")),
    ] {
        let mut harness = harness(&config);
        harness.get();
        let lines = logged(|| harness.fail(0, kind, Processed::No));
        assert_lines(&lines[..1], &[&expected]);
    }
    let mut harness = harness(&config);
    harness.send(b"GET", b"/", &[(Known::XRequestId, b"mine")], true);
    harness.head(0, 200, false);
    let lines = logged(|| harness.fail(0, FailureKind::Reset(Code::INTERNAL_ERROR), Processed::Unknown));
    let error = "Transport error: body: stream error received: unexpected internal error encountered";
    let cut_off = "Response cut off: reason=upstream_reset request_id=mine";
    assert_lines(&lines, &[&format!("{error} {NAMES}"), cut_off]);
    harness.check_idle();
}

#[test]
fn timeouts_of_backends_are_logged_with_their_phase() {
    const NAMES: &str = "backend=http://127.0.0.1:1 upstream=all id=b1";
    let limits = |performance, upstream| Config {
        performance,
        upstream,
        resilience: "  retry_budget: { max_retries: 0 }",
        backends: 1,
    };
    for (config, has_head, has_body, phase) in [
        (limits("backend_timeout_ms: 2s", ""), false, false, "response"),
        (limits("backend_timeout_ms: 2s", "timeouts: { total_ms: 2s }"), false, false, "total"),
        (limits("backend_body_total_timeout_ms: 2s", ""), true, false, "first_byte"),
        (limits("backend_body_idle_timeout_ms: 2s", ""), true, true, "body_idle"),
    ] {
        let mut harness = harness(&config);
        harness.get();
        if has_head {
            harness.head(0, 200, false);
        }
        if has_body {
            harness.data(0, b"part", false);
        }
        let lines = logged(|| harness.sleep(Duration::from_millis(2100)));
        assert_lines(&lines[..1], &[&format!("Backend timeout {NAMES} phase={phase}")]);
        assert_eq!(harness.in_flight(), 0);
        harness.check_idle();
    }
}

#[test]
fn each_timeout_names_its_own_backend() {
    let names = |number| format!("backend=http://127.0.0.1:{number} upstream=all id=b{number}");
    let mut harness = harness(&Config {
        performance: "backend_timeout_ms: 2s\nbackend_body_idle_timeout_ms: 2s",
        resilience: "  retry_budget: { max_retries: 1 }",
        ..Config::default()
    });
    harness.get();
    let lines = logged(|| harness.sleep(Duration::from_millis(4100)));
    let late = |number| format!("Backend timeout {} phase=response", names(number));
    let warnings: Vec<_> = lines.into_iter().filter(|line| line.starts_with("Backend timeout ")).collect();
    assert_lines(&warnings, &[&late(1), &late(2)]);
    for (request, number) in [(2, 2), (3, 1)] {
        harness.get();
        harness.head(request, 200, false);
        harness.data(request, b"part", false);
        let lines = logged(|| harness.sleep(Duration::from_millis(2100)));
        assert_lines(&lines[..1], &[&format!("Backend timeout {} phase=body_idle", names(number))]);
    }
    harness.check_idle();
}

#[test]
fn what_a_client_lets_expire_is_no_timeout_of_a_backend() {
    let mut harness = harness(&Config { performance: "client_body_idle_timeout_ms: 2s", ..Config::default() });
    let client = harness.post();
    let lines = logged(|| harness.sleep(Duration::from_millis(2100)));
    assert_eq!(lines[0], "Request ended: request_body_idle backend=- upstream=all id=-");
    assert_eq!(harness.answer(client).0, 408);
    harness.check_idle();
}

#[test]
fn the_end_by_the_client_is_logged_with_its_kind() {
    for (abort, expected) in [
        (Abort::Reset(0x10c), "Request reset by the client: code=0x10c request_id=mine"),
        (Abort::Stopped(0x10c), "Response stopped by the client: code=0x10c request_id=mine"),
        (Abort::Malformed("made up"), "Request malformed: made up request_id=mine"),
        (Abort::Closed, "Request reset at the end of the drain: request_id=mine"),
        (Abort::Lost, "Request ended with the client's connection: request_id=mine"),
    ] {
        let mut harness = harness(&Config::default());
        let client = harness.send(b"GET", b"/", &[(Known::XRequestId, b"mine")], true);
        let lines = logged(|| harness.abort(client, abort));
        assert_lines(&lines, &[expected]);
        harness.check_idle();
    }
}

#[test]
fn an_upstream_without_a_healthy_backend_is_logged_and_other_refusals_are_not() {
    let config = Config {
        upstream: "passive_health: { failure_threshold: 1, max_ejected_percent: 100 }",
        resilience: "  retry_budget: { max_retries: 0 }",
        ..Config::default()
    };
    let mut harness = harness(&config);
    harness.io.unsent = Some(Unsent::QueueFull);
    let lines = logged(|| _ = harness.get());
    assert!(!lines.iter().any(|line| line.contains("no healthy backends")), "{lines:?}");
    harness.io.unsent = None;
    for request in [0, 1] {
        harness.get();
        harness.fail(request, FailureKind::Malformed("made up"), Processed::Unknown);
    }
    let lines = logged(|| _ = harness.get());
    assert_lines(&lines[1..2], &["no healthy backends available: 0/2 backends healthy upstream=all"]);
    harness.check_idle();
}

#[test]
fn begin_and_end_of_a_brownout_are_logged_once() {
    let config = Config {
        performance: "global_inflight_limit: 4\nmax_client_share_percent: 100",
        resilience: "  brownout: { trigger_inflight_percent: 75, recover_inflight_percent: 30, core_routes: [all] }",
        ..Config::default()
    };
    let mut harness = harness(&config);
    let clients: Vec<_> = (0..4).map(|_| harness.post()).collect();
    let begin = "Brownout began with 4 requests in flight: only core routes are served";
    assert_lines(&logged(|| harness.pass(Duration::ZERO)), &[begin]);
    assert!(logged(|| harness.pass(Duration::ZERO)).is_empty());
    for client in clients {
        harness.upload(client, BodyRead::End);
        harness.abort(client, Abort::Lost);
    }
    harness.get();
    assert_lines(&logged(|| harness.pass(Duration::ZERO)), &["Brownout ended: all routes are served again"]);
    harness.abort(4, Abort::Lost);
    harness.check_idle();
}
