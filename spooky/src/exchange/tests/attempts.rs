//! Retries and hedges: to which backend requests are sent, which are reset, and which response the client gets.

use super::{
    fake::Ended,
    harness::{Config, Harness},
};
use spooky_bridge::{
    h2::Code,
    message::{Known, ResetReason},
};
use spooky_edge::BodyRead;
use spooky_transport::{FailureKind, Processed};
use std::time::Duration;

const HEDGED: &str = "  hedging: { enabled: true, delay_ms: 100 }";

#[test]
fn a_refused_connection_is_tried_on_another_backend() {
    let mut harness = Harness::new();
    let client = harness.get();
    harness.fail(0, FailureKind::Refused, Processed::No);
    assert_eq!(harness.requests_of(client), [0, 1]);
    assert_ne!(harness.io.requests[0].backend, harness.io.requests[1].backend);
    harness.head(1, 200, true);
    assert_eq!((harness.client(client).status(), harness.ended()), (Some(200), (1, 0, 0)));
    harness.check_idle();
}

#[test]
fn the_only_backend_is_tried_again_after_a_rest() {
    let mut harness = Harness::with(&Config { backends: 1, ..Config::default() });
    let client = harness.get();
    harness.fail(0, FailureKind::Reset(Code::REFUSED_STREAM), Processed::No);
    assert_eq!(harness.io.requests.len(), 1);
    harness.sleep(Duration::from_millis(35));
    assert_eq!(harness.requests_of(client), [0, 1]);
    harness.head(1, 200, true);
    assert_eq!(harness.ended(), (1, 0, 0));
    harness.check_idle();
}

#[test]
fn after_the_last_attempt_the_failure_is_answered() {
    for (kind, status, text) in [
        (FailureKind::Refused, 502, "upstream error"),
        (FailureKind::Dns, 502, "upstream error"),
        (FailureKind::Unreachable, 502, "upstream error"),
        (FailureKind::ConnectTimeout, 502, "upstream error"),
        (FailureKind::TlsCertificate, 502, "upstream error"),
        (FailureKind::NoCommonProtocol, 502, "upstream error"),
        (FailureKind::Malformed("made up"), 502, "upstream protocol error"),
        (FailureKind::ResponseHeadersTooLarge, 502, "upstream protocol error"),
        (FailureKind::NoExtendedConnect, 502, "upstream error"),
        (FailureKind::RequestHeadersTooLarge, 431, "request headers exceed size limit"),
    ] {
        let mut harness =
            Harness::with(&Config { resilience: "  retry_budget: { max_retries: 0 }", ..Config::default() });
        let client = harness.get();
        harness.fail(0, kind, Processed::No);
        assert_eq!(harness.answer(client), (status, text), "{kind:?}");
        assert_eq!((harness.ended(), harness.io.requests.len()), ((0, 1, 0), 1));
        harness.check_idle();
    }
}

#[test]
fn after_goaway_the_request_moves_to_another_connection_of_the_same_backend() {
    let mut harness = Harness::with(&Config { resilience: "  retry_budget: { max_retries: 0 }", ..Config::default() });
    let client = harness.post();
    harness.upload_data(client, b"body");
    harness.fail(0, FailureKind::GoAway, Processed::No);
    assert_eq!(harness.requests_of(client), [0, 1], "it is no retry");
    assert_eq!(harness.io.requests[0].backend, harness.io.requests[1].backend);
    assert_eq!(harness.io.requests[1].body, b"body");
    harness.upload(client, BodyRead::End);
    harness.head(1, 200, true);
    assert_eq!(harness.ended(), (1, 0, 0));
    harness.check_idle();
}

#[test]
fn a_body_is_sent_again_from_its_beginning() {
    let mut harness = Harness::new();
    let client = harness.send(b"PUT", b"/", &[], false);
    harness.upload_data(client, b"some ");
    harness.upload_data(client, b"bytes");
    harness.fail(0, FailureKind::ConnectionLost(std::io::ErrorKind::ConnectionReset), Processed::Unknown);
    assert_eq!(harness.io.requests[1].body, b"some bytes");
    harness.upload_data(client, b" more");
    harness.upload(client, BodyRead::End);
    let request = &harness.io.requests[1];
    assert_eq!((request.body.as_slice(), request.sent_all), (&b"some bytes more"[..], true));
    harness.head(1, 200, true);
    assert_eq!(harness.ended(), (1, 0, 0));
    harness.check_idle();
}

#[test]
fn a_body_that_came_in_several_pieces_is_sent_again_as_a_whole() {
    let mut harness = Harness::with(&Config { backends: 3, ..Config::default() });
    let client = harness.send(b"PUT", b"/", &[], false);
    let lost = FailureKind::ConnectionLost(std::io::ErrorKind::ConnectionReset);
    harness.upload_data(client, b"some ");
    harness.fail(0, lost, Processed::Unknown);
    harness.upload_data(client, b"bytes");
    harness.upload(client, BodyRead::End);
    assert_eq!(harness.io.requests[1].parts, [(5, false), (5, false), (0, true)]);
    harness.fail(1, lost, Processed::Unknown);
    assert_eq!(harness.io.requests[2].parts, [(5, false), (5, true)], "the end comes with the last bytes");
    assert_eq!(harness.io.requests[2].body, b"some bytes");
    harness.head(2, 200, true);
    assert_eq!(harness.ended(), (1, 0, 0));
    harness.check_idle();
}

#[test]
fn a_post_that_may_have_been_processed_is_not_sent_twice() {
    let mut harness = Harness::new();
    let client = harness.post();
    harness.upload_data(client, b"body");
    harness.fail(0, FailureKind::ConnectionLost(std::io::ErrorKind::ConnectionReset), Processed::Unknown);
    assert_eq!((harness.answer(client).0, harness.io.requests.len()), (502, 1));
    harness.check_idle();
}

#[test]
fn a_body_that_is_no_longer_kept_ends_the_attempts() {
    let mut harness = Harness::new();
    let client = harness.send(b"PUT", b"/", &[], false);
    harness.upload_data(client, &vec![b'.'; 65 * 1024]);
    harness.fail(0, FailureKind::Reset(Code::REFUSED_STREAM), Processed::No);
    assert_eq!((harness.answer(client).0, harness.io.requests.len()), (502, 1));
    harness.check_idle();
}

#[test]
fn a_backend_that_is_late_is_reset_and_another_is_tried() {
    let mut harness = Harness::with(&Config { upstream: "timeouts: { response_ms: 200 }", ..Config::default() });
    let client = harness.get();
    harness.sleep(Duration::from_millis(190));
    assert_eq!((harness.io.requests.len(), harness.io.requests[0].reset), (1, None));
    harness.sleep(Duration::from_millis(20));
    assert_eq!((harness.requests_of(client).len(), harness.io.requests[0].reset), (2, Some(ResetReason::Cancelled)));
    harness.head(1, 200, true);
    assert_eq!(harness.ended(), (1, 0, 0));
    harness.check_idle();
}

#[test]
fn the_hedge_wins_and_the_first_attempt_is_reset() {
    let mut harness = Harness::with(&Config { resilience: HEDGED, ..Config::default() });
    let client = harness.get();
    harness.sleep(Duration::from_millis(90));
    assert_eq!(harness.io.requests.len(), 1);
    harness.sleep(Duration::from_millis(20));
    assert_eq!(harness.requests_of(client), [0, 1]);
    assert_ne!(harness.io.requests[0].tag, harness.io.requests[1].tag);
    harness.head(1, 201, false);
    assert_eq!((harness.io.requests[0].reset, harness.io.requests[1].reset), (Some(ResetReason::Cancelled), None));
    harness.data(1, b"body", true);
    assert_eq!((harness.client(client).status(), harness.client(client).text()), (Some(201), "body"));
    assert_eq!(harness.ended(), (1, 0, 0));
    harness.check_idle();
}

#[test]
fn the_first_attempt_wins_and_the_hedge_is_reset() {
    let mut harness = Harness::with(&Config { resilience: HEDGED, ..Config::default() });
    let client = harness.get();
    harness.sleep(Duration::from_millis(110));
    harness.interim(1, 103);
    harness.head(0, 200, false);
    assert_eq!((harness.io.requests[0].reset, harness.io.requests[1].reset), (None, Some(ResetReason::Cancelled)));
    assert_eq!(harness.leases().iter().sum::<u32>(), 1, "the loser's lease is back");
    harness.data(0, b"body", true);
    assert_eq!((harness.client(client).text(), harness.ended()), ("body", (1, 0, 0)));
    harness.check_idle();
}

#[test]
fn one_attempt_of_a_hedged_request_may_fail() {
    for (failing, winning) in [(0, 1), (1, 0)] {
        let mut harness = Harness::with(&Config { resilience: HEDGED, ..Config::default() });
        let client = harness.get();
        harness.sleep(Duration::from_millis(110));
        harness.fail(failing, FailureKind::Reset(Code::INTERNAL_ERROR), Processed::Unknown);
        assert_eq!((harness.in_flight(), harness.client(client).status()), (1, None));
        harness.head(winning, 200, true);
        assert_eq!((harness.client(client).ended, harness.ended()), (Some(Ended::Plain), (1, 0, 0)));
        harness.check_idle();
    }
}

#[test]
fn a_hedged_request_whose_attempts_both_fail_is_answered_once() {
    let config = "  hedging: { enabled: true, delay_ms: 100 }\n  retry_budget: { max_retries: 1 }";
    let mut harness = Harness::with(&Config { resilience: config, ..Config::default() });
    let client = harness.get();
    harness.sleep(Duration::from_millis(110));
    for request in [0, 1] {
        harness.fail(request, FailureKind::Reset(Code::INTERNAL_ERROR), Processed::Unknown);
    }
    assert_eq!((harness.answer(client).0, harness.ended()), (502, (0, 1, 0)));
    harness.check_idle();
}

#[test]
fn a_request_that_turns_out_to_have_no_body_may_be_hedged() {
    let mut harness = Harness::with(&Config { resilience: HEDGED, ..Config::default() });
    let client = harness.send(b"GET", b"/", &[], false);
    harness.upload(client, BodyRead::End);
    assert!(harness.io.requests[0].sent_all);
    harness.sleep(Duration::from_millis(110));
    assert!(harness.io.requests[1].sent_all, "the second attempt ends with its head");
    harness.head(1, 200, true);
    assert_eq!(harness.ended(), (1, 0, 0));
    harness.check_idle();
}

#[test]
fn a_request_with_a_body_is_not_hedged() {
    let mut harness = Harness::with(&Config { resilience: HEDGED, ..Config::default() });
    let client = harness.send(b"GET", b"/", &[(Known::ContentLength, b"4")], false);
    harness.upload_data(client, b"body");
    harness.upload(client, BodyRead::End);
    harness.sleep(Duration::from_secs(1));
    assert_eq!(harness.requests_of(client), [0]);
    harness.head(0, 200, true);
    harness.check_idle();
}

#[test]
fn without_a_healthy_backend_the_request_is_answered() {
    let config = Config {
        upstream: "passive_health: { failure_threshold: 1, max_ejected_percent: 100 }",
        resilience: "  retry_budget: { max_retries: 0 }",
        ..Config::default()
    };
    let mut harness = Harness::with(&config);
    for request in [0, 1] {
        harness.get();
        harness.fail(request, FailureKind::Malformed("made up"), Processed::Unknown);
    }
    let client = harness.get();
    assert_eq!((harness.answer(client), harness.io.requests.len()), ((503, "no healthy servers"), 2));
    assert_eq!(harness.ended(), (0, 3, 0));
    harness.check_idle();
}

#[test]
fn the_connection_of_the_client_keeps_the_backend_that_answers() {
    let config = Config { upstream: "load_balancing: { type: sticky-cid }", backends: 3, ..Config::default() };
    let mut harness = Harness::with(&config);
    harness.get();
    harness.fail(0, FailureKind::Refused, Processed::No);
    harness.head(1, 200, true);
    let kept = harness.io.sticky.clone();
    assert_eq!(kept.len(), 1);
    harness.get();
    assert_eq!(harness.io.requests[2].backend, harness.io.requests[1].backend);
    harness.head(2, 200, true);
    assert_eq!(harness.io.sticky, kept);
    harness.check_idle();
}
