//! Each outcome: what the client gets, how the request is counted, and that all limits are released.

use super::{
    fake::Ended,
    harness::{Config, Harness, PEER, response},
};
use crate::exchange::RequestCounts;
use spooky_bridge::{
    h2::Code,
    message::{
        Fields, Known, Protocol, ResetReason,
        check::{CheckError, InvalidReason, RejectedRequest},
    },
};
use spooky_edge::{Abort, BodyRead, EventKind};
use spooky_transport::{FailureKind, Processed, Unsent};

#[test]
fn a_response_that_is_delivered_completely_is_a_success() {
    let mut harness = Harness::new();
    let client = harness.get();
    harness.head(0, 200, false);
    assert_eq!((harness.client(client).status(), harness.client(client).ended), (Some(200), None));
    harness.data(0, b"some ", false);
    harness.data(0, b"bytes", true);
    assert_eq!(
        (harness.client(client).received.as_slice(), harness.client(client).ended),
        (&b"some bytes"[..], Some(Ended::Plain))
    );
    assert_eq!(harness.ended(), (1, 0, 0));
    harness.check_idle();
}

#[test]
fn a_response_without_body_ends_with_its_head() {
    let mut harness = Harness::new();
    let client = harness.send(b"HEAD", b"/", &[], true);
    harness.head_with(0, response(204, &[]), true);
    assert_eq!((harness.client(client).status(), harness.client(client).ended), (Some(204), Some(Ended::Plain)));
    assert_eq!(harness.ended(), (1, 0, 0));
    harness.check_idle();
}

#[test]
fn the_request_goes_on_until_the_client_has_taken_all_of_the_response() {
    let mut harness = Harness::new();
    let client = harness.get();
    harness.io.clients[client].is_slow = true;
    harness.head(0, 200, false);
    harness.data(0, b"some bytes", true);
    assert_eq!((harness.ended(), harness.leases()), ((0, 0, 0), vec![0, 0]), "the backend is free, the permit is held");
    assert_eq!(harness.state.global_limits.in_flight(), 1);
    harness.accept(client, 10);
    assert_eq!(harness.ended(), (0, 0, 0));
    harness.client_event(client, EventKind::Sent);
    assert_eq!(harness.ended(), (1, 0, 0));
    harness.check_idle();
}

#[test]
fn an_error_of_the_backend_is_passed_on_and_counts_as_a_failure() {
    let mut harness = Harness::new();
    let client = harness.get();
    harness.head(0, 503, true);
    assert_eq!(harness.client(client).status(), Some(503));
    assert_eq!(harness.ended(), (0, 1, 0));
    harness.check_idle();
}

#[test]
fn requests_that_never_have_an_exchange_are_counted_and_answered() {
    let mut harness = Harness::with(&Config { performance: "max_request_body_bytes: 10", ..Config::default() });
    let denied = harness.send(b"CONNECT", b"localhost:1", &[], false);
    assert_eq!(harness.answer(denied).0, 405);
    let allow = |harness: &Harness, client| {
        let head = harness.client(client).head.as_ref().unwrap();
        head.fields.first(Known::Allow).map(<[u8]>::to_vec)
    };
    assert!(allow(&harness, denied).is_some_and(|methods| methods.starts_with(b"GET, HEAD")));
    let too_large = harness.send(b"POST", b"/", &[(Known::ContentLength, b"11")], false);
    assert_eq!((harness.answer(too_large), allow(&harness, too_large)), ((413, "request body too large"), None));
    let misdirected = harness.receive(EventKind::Request {
        protocol: Protocol::Http3,
        head: {
            let mut fields = Fields::new();
            for (name, value) in [
                (Known::Method, &b"GET"[..]),
                (Known::Scheme, b"https"),
                (Known::Authority, b"misdirected.example"),
                (Known::Path, b"/"),
            ] {
                fields.push(name, value);
            }
            spooky_bridge::message::RequestHead {
                fields,
                method: spooky_bridge::message::Method::Get,
                content_length: None,
            }
        },
        end: true,
        peer: ([127, 0, 0, 1], 9).into(),
    });
    assert_eq!(harness.answer(misdirected), (421, "misdirected request"));
    assert!(harness.io.requests.is_empty());
    assert_eq!(harness.ended(), (0, 3, 0));
    harness.check_idle();
}

#[test]
fn early_data_is_marked_for_backends_and_only_safe_methods_are_accepted() {
    let mut harness =
        Harness::with(&Config { resilience: "  protocol: { allow_connect: true }\n", ..Config::default() });
    harness.io.is_early = true;
    let own = (Known::EarlyData, &b"1"[..]);
    harness.send(b"GET", b"/", &[own], true);
    harness.send(b"HEAD", b"/", &[], true);
    for (method, target) in [(&b"POST"[..], &b"/"[..]), (b"BREW", b"/"), (b"CONNECT", b"localhost:1")] {
        let refused = harness.send(method, target, &[own], false);
        assert_eq!(harness.answer(refused), (425, "request blocked by early-data policy"));
    }
    harness.io.is_early = false;
    harness.send(b"POST", b"/", &[own], true);
    let marks: Vec<_> = harness.io.requests.iter().map(|request| request.early_data.clone()).collect();
    assert_eq!(marks, [vec![b"1".to_vec()], vec![b"1".to_vec()], vec![]]);
    // A backend that does not want the risk says so, and the client repeats the request.
    harness.head(0, 425, true);
    assert_eq!(harness.client(0).status(), Some(425));
    harness.head(1, 200, true);
    harness.head(2, 200, true);
    harness.check_idle();
}

#[test]
fn a_head_that_breaks_a_rule_is_answered_or_was_reset() {
    let mut harness = Harness::new();
    let refused = |error| EventKind::Refused {
        protocol: Protocol::Http3,
        refusal: Box::new(RejectedRequest { error, fields: Fields::new() }),
        peer: PEER,
    };
    for (error, status) in [
        (CheckError::TooManyFields, 431),
        (CheckError::TooLarge, 431),
        (CheckError::Invalid(InvalidReason::InvalidPath), 400),
        (CheckError::Invalid(InvalidReason::AuthorityHostMismatch), 400),
        (CheckError::Invalid(InvalidReason::InvalidAuthority), 400),
        (CheckError::Invalid(InvalidReason::InvalidScheme), 400),
        (CheckError::Invalid(InvalidReason::AmbiguousPath), 400),
        (CheckError::Invalid(InvalidReason::InvalidConnectTarget), 400),
        (CheckError::Invalid(InvalidReason::ConflictingFraming), 400),
    ] {
        let client = harness.receive(refused(error));
        assert_eq!(harness.answer(client).0, status, "{error:?}");
    }
    let late = harness.receive(EventKind::TimedOut { protocol: Protocol::Http1, peer: PEER });
    assert_eq!(harness.answer(late), (408, "request head timeout"));
    let fields = Box::new(Fields::new());
    let client =
        harness.receive(EventKind::Malformed { protocol: Protocol::Http3, fields, reason: "made up", peer: PEER });
    assert_eq!((harness.client(client).status(), harness.client(client).ended), (None, None), "it is reset already");
    assert_eq!(harness.exchanges.counts(), RequestCounts { total: 11, failure: 11, ..RequestCounts::default() });
    harness.check_idle();
}

#[test]
fn a_request_that_cannot_be_sent_is_answered() {
    for (unsent, status, text) in [
        (Unsent::UnknownBackend, 503, "invalid server"),
        (Unsent::QueueFull, 503, "backend overloaded, retry later"),
        (Unsent::NoExtendedConnect, 502, "upstream error"),
        (Unsent::HeadersTooLarge, 431, "request headers exceed size limit"),
    ] {
        let mut harness = Harness::new();
        harness.io.unsent = Some(unsent);
        let client = harness.get();
        assert_eq!(harness.answer(client), (status, text), "{unsent:?}");
        assert_eq!(harness.ended(), (0, 1, 0));
        harness.check_idle();
    }
}

#[test]
fn a_backend_that_fails_after_its_head_resets_the_client() {
    for (kind, reason) in [
        (FailureKind::Reset(Code::CANCEL), ResetReason::Cancelled),
        (FailureKind::Reset(Code::ENHANCE_YOUR_CALM), ResetReason::ExcessiveLoad),
        (FailureKind::Reset(Code::HTTP_1_1_REQUIRED), ResetReason::VersionFallback),
        (FailureKind::Reset(Code::INTERNAL_ERROR), ResetReason::Internal),
        (FailureKind::Reset(Code::NO_ERROR), ResetReason::Internal),
        (FailureKind::ConnectionLost(std::io::ErrorKind::UnexpectedEof), ResetReason::Internal),
        (FailureKind::Malformed("made up"), ResetReason::Internal),
        (FailureKind::ResponseHeadersTooLarge, ResetReason::Internal),
        (FailureKind::GoAway, ResetReason::Internal),
    ] {
        let mut harness = Harness::new();
        let client = harness.get();
        harness.head(0, 200, false);
        harness.data(0, b"part", false);
        harness.fail(0, kind, Processed::Unknown);
        assert_eq!(harness.client(client).ended, Some(Ended::Reset(reason)), "{kind:?}");
        assert_eq!((harness.ended(), harness.io.requests.len()), ((0, 1, 0), 1));
        harness.check_idle();
    }
}

#[test]
fn events_of_a_request_that_has_ended_find_nothing() {
    let mut harness = Harness::new();
    let client = harness.get();
    harness.head(0, 200, true);
    for kind in [EventKind::Readable, EventKind::Accepted(3), EventKind::Sent, EventKind::Aborted(Abort::Lost)] {
        harness.client_event(client, kind);
    }
    harness.data(0, b"late", true);
    harness.fail(0, FailureKind::GoAway, Processed::No);
    assert_eq!(harness.ended(), (1, 0, 0));
    // They do not reach the next exchange at the same index either.
    let next = harness.get();
    harness.client_event(client, EventKind::Aborted(Abort::Lost));
    assert_eq!((harness.in_flight(), harness.ended()), (1, (1, 0, 0)));
    harness.abort(next, Abort::Lost);
    harness.check_idle();
}

#[test]
fn an_answer_has_the_form_that_the_request_asks_for() {
    let mut harness = Harness::with(&Config { performance: "max_request_body_bytes: 10", ..Config::default() });
    let grpc =
        harness.send(b"POST", b"/", &[(Known::ContentType, b"application/grpc"), (Known::ContentLength, b"11")], false);
    let head = harness.client(grpc).head.as_ref().unwrap();
    assert_eq!((head.status, head.fields.first(Known::ContentType)), (200, Some(&b"application/grpc"[..])));
    assert!(head.fields.first(Known::Date).is_some_and(|date| date.ends_with(b" GMT")));
    let id = harness.send(b"POST", b"/", &[(Known::XRequestId, b"mine"), (Known::ContentLength, b"11")], false);
    assert_eq!(harness.client(id).head.as_ref().unwrap().fields.first(Known::XRequestId), Some(&b"mine"[..]));
    harness.io.unsent = Some(Unsent::UnknownBackend);
    let head = harness.send(b"HEAD", b"/", &[], true);
    assert_eq!((harness.client(head).status(), harness.client(head).text()), (Some(503), ""));
    harness.check_idle();
}

#[test]
fn a_malformed_body_is_answered_unless_the_response_has_begun() {
    let mut harness = Harness::new();
    let client = harness.post();
    harness.upload_data(client, b"some");
    harness.upload(client, BodyRead::Malformed("invalid chunk"));
    assert_eq!(harness.answer(client), (400, "invalid request"));
    assert_eq!(harness.io.requests[0].reset, Some(ResetReason::Cancelled));
    let client = harness.post();
    harness.head(1, 200, false);
    harness.upload(client, BodyRead::Malformed("invalid chunk"));
    assert_eq!(harness.client(client).ended, Some(Ended::Reset(ResetReason::Internal)));
    assert_eq!(harness.ended(), (0, 2, 0));
    harness.check_idle();
}

#[test]
fn a_head_that_is_late_is_answered_and_counted() {
    let mut harness = Harness::new();
    let client = harness.receive(EventKind::TimedOut { protocol: Protocol::Http1, peer: PEER });
    assert_eq!(harness.answer(client), (408, "request head timeout"));
    assert_eq!(harness.ended(), (0, 1, 0));
    harness.check_idle();
}

#[test]
fn every_final_response_has_the_own_alt_svc_if_it_is_due() {
    let mut harness = Harness::new();
    harness.io.alt_svc = Some(b"h3=\":443\"");
    let of_backend = response(200, &[(Known::AltSvc, b"h3=\":8443\"")]);
    let served = harness.get();
    harness.head_with(0, of_backend.clone(), true);
    let refused = harness.receive(EventKind::TimedOut { protocol: Protocol::Http1, peer: PEER });
    for client in [served, refused] {
        let head = harness.client(client).head.as_ref().unwrap();
        assert_eq!(head.fields.all(Known::AltSvc).collect::<Vec<_>>(), [b"h3=\":443\""]);
    }
    harness.io.alt_svc = None;
    let client = harness.get();
    harness.head_with(1, of_backend, true);
    assert!(!harness.client(client).head.as_ref().unwrap().fields.contains(Known::AltSvc), "the backend's is removed");
}
