//! Retries and hedges: to which backend requests are sent, which are reset, and which response the client gets.

use super::{
    fake::Ended,
    world::{Config, World},
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
    let mut world = World::new();
    let client = world.get();
    world.fail(0, FailureKind::Refused, Processed::No);
    assert_eq!(world.requests_of(client), [0, 1]);
    assert_ne!(world.io.requests[0].backend, world.io.requests[1].backend);
    world.head(1, 200, true);
    assert_eq!((world.client(client).status(), world.ended()), (Some(200), (1, 0, 0)));
    world.check_idle();
}

#[test]
fn the_only_backend_is_tried_again_after_a_rest() {
    let mut world = World::with(&Config { backends: 1, ..Config::default() });
    let client = world.get();
    world.fail(0, FailureKind::Reset(Code::REFUSED_STREAM), Processed::No);
    assert_eq!(world.io.requests.len(), 1);
    world.sleep(Duration::from_millis(35));
    assert_eq!(world.requests_of(client), [0, 1]);
    world.head(1, 200, true);
    assert_eq!(world.ended(), (1, 0, 0));
    world.check_idle();
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
        (FailureKind::RequestHeadersTooLarge, 431, "request headers exceed size limit"),
    ] {
        let mut world = World::with(&Config { resilience: "  retry_budget: { max_retries: 0 }", ..Config::default() });
        let client = world.get();
        world.fail(0, kind, Processed::No);
        assert_eq!(world.answer(client), (status, text), "{kind:?}");
        assert_eq!((world.ended(), world.io.requests.len()), ((0, 1, 0), 1));
        world.check_idle();
    }
}

#[test]
fn after_goaway_the_request_moves_to_another_connection_of_the_same_backend() {
    let mut world = World::with(&Config { resilience: "  retry_budget: { max_retries: 0 }", ..Config::default() });
    let client = world.post();
    world.upload_data(client, b"body");
    world.fail(0, FailureKind::GoAway, Processed::No);
    assert_eq!(world.requests_of(client), [0, 1], "it is no retry");
    assert_eq!(world.io.requests[0].backend, world.io.requests[1].backend);
    assert_eq!(world.io.requests[1].body, b"body");
    world.upload(client, BodyRead::End);
    world.head(1, 200, true);
    assert_eq!(world.ended(), (1, 0, 0));
    world.check_idle();
}

#[test]
fn a_body_is_sent_again_from_its_beginning() {
    let mut world = World::new();
    let client = world.send(b"PUT", b"/", &[], false);
    world.upload_data(client, b"some ");
    world.upload_data(client, b"bytes");
    world.fail(0, FailureKind::ConnectionLost(std::io::ErrorKind::ConnectionReset), Processed::Unknown);
    assert_eq!(world.io.requests[1].body, b"some bytes");
    world.upload_data(client, b" more");
    world.upload(client, BodyRead::End);
    let request = &world.io.requests[1];
    assert_eq!((request.body.as_slice(), request.sent_all), (&b"some bytes more"[..], true));
    world.head(1, 200, true);
    assert_eq!(world.ended(), (1, 0, 0));
    world.check_idle();
}

#[test]
fn a_post_that_may_have_been_processed_is_not_sent_twice() {
    let mut world = World::new();
    let client = world.post();
    world.upload_data(client, b"body");
    world.fail(0, FailureKind::ConnectionLost(std::io::ErrorKind::ConnectionReset), Processed::Unknown);
    assert_eq!((world.answer(client).0, world.io.requests.len()), (502, 1));
    world.check_idle();
}

#[test]
fn a_body_that_is_no_longer_kept_ends_the_attempts() {
    let mut world = World::new();
    let client = world.send(b"PUT", b"/", &[], false);
    world.upload_data(client, &vec![b'.'; 65 * 1024]);
    world.fail(0, FailureKind::Reset(Code::REFUSED_STREAM), Processed::No);
    assert_eq!((world.answer(client).0, world.io.requests.len()), (502, 1));
    world.check_idle();
}

#[test]
fn a_backend_that_is_late_is_reset_and_another_is_tried() {
    let mut world = World::with(&Config { upstream: "timeouts: { response_ms: 200 }", ..Config::default() });
    let client = world.get();
    world.sleep(Duration::from_millis(190));
    assert_eq!((world.io.requests.len(), world.io.requests[0].reset), (1, None));
    world.sleep(Duration::from_millis(20));
    assert_eq!((world.requests_of(client).len(), world.io.requests[0].reset), (2, Some(ResetReason::Cancelled)));
    world.head(1, 200, true);
    assert_eq!(world.ended(), (1, 0, 0));
    world.check_idle();
}

#[test]
fn the_hedge_wins_and_the_first_attempt_is_reset() {
    let mut world = World::with(&Config { resilience: HEDGED, ..Config::default() });
    let client = world.get();
    world.sleep(Duration::from_millis(90));
    assert_eq!(world.io.requests.len(), 1);
    world.sleep(Duration::from_millis(20));
    assert_eq!(world.requests_of(client), [0, 1]);
    assert_ne!(world.io.requests[0].tag, world.io.requests[1].tag);
    world.head(1, 201, false);
    assert_eq!((world.io.requests[0].reset, world.io.requests[1].reset), (Some(ResetReason::Cancelled), None));
    world.data(1, b"body", true);
    assert_eq!((world.client(client).status(), world.client(client).text()), (Some(201), "body"));
    assert_eq!(world.ended(), (1, 0, 0));
    world.check_idle();
}

#[test]
fn the_first_attempt_wins_and_the_hedge_is_reset() {
    let mut world = World::with(&Config { resilience: HEDGED, ..Config::default() });
    let client = world.get();
    world.sleep(Duration::from_millis(110));
    world.interim(1, 103);
    world.head(0, 200, false);
    assert_eq!((world.io.requests[0].reset, world.io.requests[1].reset), (None, Some(ResetReason::Cancelled)));
    assert_eq!(world.leases().iter().sum::<u32>(), 1, "the loser's lease is back");
    world.data(0, b"body", true);
    assert_eq!((world.client(client).text(), world.ended()), ("body", (1, 0, 0)));
    world.check_idle();
}

#[test]
fn one_attempt_of_a_hedged_request_may_fail() {
    for (failing, winning) in [(0, 1), (1, 0)] {
        let mut world = World::with(&Config { resilience: HEDGED, ..Config::default() });
        let client = world.get();
        world.sleep(Duration::from_millis(110));
        world.fail(failing, FailureKind::Reset(Code::INTERNAL_ERROR), Processed::Unknown);
        assert_eq!((world.in_flight(), world.client(client).status()), (1, None));
        world.head(winning, 200, true);
        assert_eq!((world.client(client).ended, world.ended()), (Some(Ended::Plain), (1, 0, 0)));
        world.check_idle();
    }
}

#[test]
fn a_hedged_request_whose_attempts_both_fail_is_answered_once() {
    let config = "  hedging: { enabled: true, delay_ms: 100 }\n  retry_budget: { max_retries: 1 }";
    let mut world = World::with(&Config { resilience: config, ..Config::default() });
    let client = world.get();
    world.sleep(Duration::from_millis(110));
    for request in [0, 1] {
        world.fail(request, FailureKind::Reset(Code::INTERNAL_ERROR), Processed::Unknown);
    }
    assert_eq!((world.answer(client).0, world.ended()), (502, (0, 1, 0)));
    world.check_idle();
}

#[test]
fn a_request_that_turns_out_to_have_no_body_may_be_hedged() {
    let mut world = World::with(&Config { resilience: HEDGED, ..Config::default() });
    let client = world.send(b"GET", b"/", &[], false);
    world.upload(client, BodyRead::End);
    assert!(world.io.requests[0].sent_all);
    world.sleep(Duration::from_millis(110));
    assert!(world.io.requests[1].sent_all, "the second attempt ends with its head");
    world.head(1, 200, true);
    assert_eq!(world.ended(), (1, 0, 0));
    world.check_idle();
}

#[test]
fn a_request_with_a_body_is_not_hedged() {
    let mut world = World::with(&Config { resilience: HEDGED, ..Config::default() });
    let client = world.send(b"GET", b"/", &[(Known::ContentLength, b"4")], false);
    world.upload_data(client, b"body");
    world.upload(client, BodyRead::End);
    world.sleep(Duration::from_secs(1));
    assert_eq!(world.requests_of(client), [0]);
    world.head(0, 200, true);
    world.check_idle();
}

#[test]
fn without_a_healthy_backend_the_request_is_answered() {
    let config = Config {
        upstream: "passive_health: { failure_threshold: 1, max_ejected_percent: 100 }",
        resilience: "  retry_budget: { max_retries: 0 }",
        ..Config::default()
    };
    let mut world = World::with(&config);
    for request in [0, 1] {
        world.get();
        world.fail(request, FailureKind::Malformed("made up"), Processed::Unknown);
    }
    let client = world.get();
    assert_eq!((world.answer(client), world.io.requests.len()), ((503, "no healthy servers"), 2));
    assert_eq!(world.ended(), (0, 3, 0));
    world.check_idle();
}

#[test]
fn the_connection_of_the_client_keeps_the_backend_that_answers() {
    let config = Config { upstream: "load_balancing: { type: sticky-cid }", backends: 3, ..Config::default() };
    let mut world = World::with(&config);
    world.get();
    world.fail(0, FailureKind::Refused, Processed::No);
    world.head(1, 200, true);
    let kept = world.io.sticky.clone();
    assert_eq!(kept.len(), 1);
    world.get();
    assert_eq!(world.io.requests[2].backend, world.io.requests[1].backend);
    world.head(2, 200, true);
    assert_eq!(world.io.sticky, kept);
    world.check_idle();
}
