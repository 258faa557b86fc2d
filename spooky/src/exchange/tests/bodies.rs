//! Request and response bodies: order, ends and trailers, back-pressure, limits, early responses.

use super::{
    fake::Ended,
    harness::{Config, Harness, response},
};
use crate::exchange::{local::RequestInfo, state::compact_large_head};
use bytes::Bytes;
use spooky_bridge::message::{Fields, Known, Method, Name, RequestHead, ResetReason};
use spooky_edge::{Abort, Body, BodyRead, EventKind};
use spooky_testkit::log::logged;
use std::time::Duration;

fn trailers(value: &[u8]) -> Fields {
    let mut fields = Fields::new();
    fields.push(Name::Other(b"x-checksum"), value);
    fields
}

#[test]
fn the_upload_is_passed_on_as_it_comes() {
    let mut harness = Harness::new();
    let client = harness.post();
    harness.upload_data(client, b"some ");
    assert_eq!(harness.io.requests[0].body, b"some ");
    harness.upload_data(client, b"bytes");
    assert!(!harness.io.requests[0].sent_all);
    harness.upload(client, BodyRead::End);
    let request = &harness.io.requests[0];
    assert_eq!(
        (request.body.as_slice(), request.sent_all, request.method.as_slice()),
        (&b"some bytes"[..], true, &b"POST"[..])
    );
    harness.head(0, 200, true);
    assert_eq!(harness.ended(), (1, 0, 0));
    harness.check_idle();
}

#[test]
fn what_came_before_the_connection_is_sent_when_it_stands() {
    let mut harness = Harness::new();
    harness.io.is_connected = false;
    let client = harness.post();
    harness.upload_data(client, b"early");
    harness.upload(client, BodyRead::End);
    assert_eq!(harness.state.bodies.used(), 5, "it counts while it waits");
    harness.connect(0);
    let request = &harness.io.requests[0];
    assert_eq!((request.body.as_slice(), request.sent_all), (&b"early"[..], true));
    harness.head(0, 200, true);
    harness.check_idle();
}

#[test]
fn trailers_are_passed_on_both_ways() {
    let mut harness = Harness::new();
    let client = harness.post();
    harness.upload_data(client, b"body");
    let mut sent = trailers(b"up");
    sent.push(Name::Other(b"x-client-subject"), b"forged");
    harness.upload(client, BodyRead::Trailers(Box::new(sent)));
    assert!(!harness.io.requests[0].sent_all, "the end is not confirmed");
    harness.upload(client, BodyRead::End);
    let received = harness.io.requests[0].trailers.clone().unwrap();
    assert_eq!(received.iter().count(), 1, "what only Spooky may tell the backend is removed");
    harness.head(0, 200, false);
    harness.data(0, b"body", false);
    harness.trailers(0, trailers(b"down"));
    assert_eq!(harness.client(client).ended, Some(Ended::Trailers));
    assert_eq!(harness.ended(), (1, 0, 0));
    harness.check_idle();
}

#[test]
fn the_end_of_an_upload_needs_no_room_at_the_backend() {
    for has_trailers in [false, true] {
        let mut harness = Harness::new();
        harness.io.window = 4;
        let client = harness.post();
        harness.upload_data(client, b"body");
        if has_trailers {
            harness.upload(client, BodyRead::Trailers(Box::new(trailers(b"up"))));
        }
        harness.upload(client, BodyRead::End);
        let request = &harness.io.requests[0];
        assert_eq!((request.body.as_slice(), request.sent_all), (&b"body"[..], true));
        assert_eq!(request.trailers.is_some(), has_trailers);
        harness.head(0, 200, true);
        harness.check_idle();
    }
}

#[test]
fn an_empty_trailer_section_is_a_plain_end() {
    let mut harness = Harness::new();
    let client = harness.post();
    harness.upload_data(client, b"body");
    harness.upload(client, BodyRead::Trailers(Box::new(Fields::new())));
    harness.upload(client, BodyRead::End);
    assert!(harness.io.requests[0].sent_all && harness.io.requests[0].trailers.is_none());
    harness.head(0, 200, false);
    harness.trailers(0, Fields::new());
    assert_eq!(harness.client(client).ended, Some(Ended::Plain));
    harness.check_idle();
}

#[test]
fn trailers_that_the_backend_does_not_accept_end_the_request() {
    for (has_begun, ended) in [(false, Ended::Plain), (true, Ended::Reset(ResetReason::Internal))] {
        let mut harness = Harness::new();
        harness.io.takes_trailers = false;
        let client = harness.post();
        if has_begun {
            harness.head(0, 200, false);
        }
        harness.upload_data(client, b"body");
        harness.upload(client, BodyRead::Trailers(Box::new(trailers(b"up"))));
        harness.upload(client, BodyRead::End);
        assert_eq!((harness.client(client).ended, harness.ended()), (Some(ended), (0, 1, 0)));
        assert_eq!(harness.io.requests[0].reset, Some(ResetReason::Cancelled));
        harness.check_idle();
    }
}

#[test]
fn a_response_that_ends_before_the_upload_is_forwarded_completely() {
    let mut harness = Harness::new();
    let client = harness.post();
    harness.upload_data(client, b"part");
    harness.head(0, 200, false);
    harness.data(0, b"enough", false);
    assert_eq!(harness.io.requests[0].reset, None);
    harness.data(0, b"!", true);
    assert_eq!((harness.client(client).text(), harness.client(client).ended), ("enough!", Some(Ended::Plain)));
    assert_eq!(harness.io.requests[0].reset, Some(ResetReason::NoError), "the rest of the upload is not wanted");
    assert_eq!(harness.ended(), (1, 0, 0));
    harness.check_idle();
}

#[test]
fn the_upload_goes_on_while_the_response_streams() {
    let mut harness = Harness::new();
    let client = harness.post();
    harness.head(0, 200, false);
    harness.upload_data(client, b"ping");
    harness.data(0, b"pong", false);
    harness.upload_data(client, b"ping");
    assert_eq!(harness.io.requests[0].body, b"pingping");
    harness.upload(client, BodyRead::End);
    harness.data(0, b"", true);
    assert_eq!((harness.client(client).text(), harness.ended()), ("pong", (1, 0, 0)));
    harness.check_idle();
}

#[test]
fn the_client_is_read_only_as_fast_as_the_backend_takes() {
    let mut harness = Harness::new();
    harness.io.window = 4;
    let client = harness.post();
    harness.upload_data(client, b"some bytes");
    assert_eq!((harness.io.requests[0].body.as_slice(), harness.client(client).body.len()), (&b"some"[..], 1));
    assert_eq!(harness.state.bodies.used(), 10, "4 are kept for a retry, 6 wait with the client's connection");
    harness.upload(client, BodyRead::End);
    harness.grant_window(0, 3);
    assert_eq!(harness.io.requests[0].body, b"some by");
    harness.grant_window(0, 100);
    assert_eq!((harness.io.requests[0].body.as_slice(), harness.io.requests[0].sent_all), (&b"some bytes"[..], true));
    harness.head(0, 200, true);
    harness.check_idle();
}

#[test]
fn a_client_is_read_in_pieces_of_limited_size() {
    let mut harness = Harness::new();
    let client = harness.post();
    harness.upload_data(client, &vec![b'.'; 150_000]);
    assert_eq!(harness.client(client).reads, [65_536, 65_536, 18_928]);
    assert_eq!(harness.io.requests[0].body.len(), 150_000);
    harness.abort(client, Abort::Lost);
    harness.check_idle();
}

#[test]
fn the_backend_gets_credit_for_what_the_client_took() {
    let mut harness = Harness::new();
    let client = harness.get();
    harness.head(0, 200, false);
    harness.data(0, b"1234567890", false);
    assert_eq!(harness.io.requests[0].released, 10);
    (harness.io.clients[client].is_slow, harness.io.clients[client].share) = (true, 1000);
    harness.data(0, b"1234567890", false);
    assert_eq!((harness.io.requests[0].released, harness.io.requests[0].share), (10, Some(0)), "it took nothing");
    harness.accept(client, 4);
    assert_eq!((harness.io.requests[0].released, harness.io.requests[0].share), (14, Some(1000)));
    harness.accept(client, 6);
    assert_eq!(harness.io.requests[0].released, 20);
    harness.abort(client, Abort::Lost);
    harness.check_idle();
}

#[test]
fn the_backend_may_send_ahead_what_the_client_has_room_for() {
    let mut harness = Harness::new();
    harness.io.is_connected = false;
    let client = harness.get();
    harness.io.clients[client].share = 1000;
    assert_eq!(harness.io.requests[0].share, None);
    harness.connect(0);
    assert_eq!(harness.io.requests[0].share, Some(1000));
    harness.head(0, 200, false);
    harness.io.clients[client].share = 2000;
    harness.data(0, b"some bytes", false);
    assert_eq!(harness.io.requests[0].share, Some(2000));
    harness.data(0, b"", true);
    harness.check_idle();
}

#[test]
fn bytes_that_are_taken_count_as_long_as_they_are_kept_for_a_retry() {
    let mut harness = Harness::new();
    let client = harness.send(b"PUT", b"/", &[], false);
    harness.upload_data(client, &vec![b'.'; 60 * 1024]);
    assert_eq!((harness.io.requests[0].body.len(), harness.state.bodies.used()), (60 * 1024, 60 * 1024));
    harness.upload_data(client, &vec![b'.'; 10 * 1024]);
    assert_eq!((harness.io.requests[0].body.len(), harness.state.bodies.used()), (70 * 1024, 0));
    let other = harness.send(b"PUT", b"/", &[], false);
    harness.upload_data(other, b"some ");
    harness.upload_data(other, b"parts");
    assert_eq!((harness.io.requests[1].body.len(), harness.state.bodies.used()), (10, 10));
    harness.head(1, 200, false);
    assert_eq!(harness.state.bodies.used(), 0, "no attempt can follow");
    harness.abort(client, Abort::Lost);
    harness.abort(other, Abort::Lost);
    harness.check_idle();
}

#[test]
fn a_large_head_is_forgotten_when_no_attempt_can_follow() {
    let large = [b'x'; 4096];
    let fields: [(Known, &[u8]); 2] = [(Known::XRequestId, b"mine"), (Known::Cookie, &large)];
    let memory = |harness: &Harness| harness.exchanges.table.iter().next().unwrap().1.head.fields.memory();
    for is_upload in [false, true] {
        let mut harness = Harness::new();
        let client = harness.send(b"PUT", b"/", &fields, !is_upload);
        assert!(memory(&harness) > 4096);
        if is_upload {
            // More than is kept for a retry.
            harness.upload_data(client, &vec![b'.'; 65 * 1024]);
        } else {
            harness.head(0, 200, false);
        }
        assert!(memory(&harness) < 2048);
        let exchange = harness.exchanges.table.iter().next().unwrap().1;
        assert_eq!(
            RequestInfo::new(exchange.method, &exchange.head.fields).request_id,
            b"mine",
            "what the log needs is kept"
        );
        harness.abort(client, Abort::Lost);
        harness.check_idle();
    }
}

#[test]
fn a_large_head_takes_no_more_memory_than_it_needs() {
    let mut harness = Harness::new();
    let client = harness.send(b"GET", b"/", &[(Known::Cookie, &[b'x'; 10_000])], true);
    let exchange = harness.exchanges.table.iter().next().unwrap().1;
    let memory = exchange.head.fields.memory();
    assert!((10_000..13_000).contains(&memory), "{memory}");
    harness.abort(client, Abort::Lost);
    harness.check_idle();
}

#[test]
fn only_the_memory_of_large_heads_is_shrunk() {
    for (count, is_shrunk) in [(30, false), (200, true)] {
        let mut fields = Fields::new();
        for _ in 0..count {
            fields.push(Name::Other(b"x-padding"), &[b'x'; 100]);
        }
        let mut head = RequestHead { fields, method: Method::Get, content_length: None };
        let before = head.fields.memory();
        assert_eq!(before > 8 * 1024, is_shrunk, "{before}");
        compact_large_head(&mut head);
        assert_eq!(head.fields.memory() < before, is_shrunk, "{before}");
        assert_eq!(head.fields.iter().count(), count);
    }
}

#[test]
fn a_small_head_is_kept() {
    let mut harness = Harness::new();
    let client = harness.send(b"GET", b"/", &[(Known::Cookie, b"a=b")], true);
    harness.head(0, 200, false);
    let exchange = harness.exchanges.table.iter().next().unwrap().1;
    assert_eq!(exchange.head.fields.first(Known::Cookie), Some(&b"a=b"[..]));
    harness.abort(client, Abort::Lost);
    harness.check_idle();
}

#[test]
fn a_malformed_upload_ends_the_request() {
    for (has_begun, ended, status) in [(false, Ended::Plain, 400), (true, Ended::Reset(ResetReason::Internal), 200)] {
        let mut harness = Harness::new();
        let client = harness.send(b"POST", b"/", &[(Known::XRequestId, b"mine")], false);
        if has_begun {
            harness.head(0, 200, false);
        }
        harness.upload_data(client, b"part");
        let lines = logged(|| harness.upload(client, BodyRead::Malformed("made up")));
        assert_eq!(lines[0], "Request malformed: made up request_id=mine");
        assert_eq!((harness.client(client).status(), harness.client(client).ended), (Some(status), Some(ended)));
        assert_eq!((harness.io.requests[0].reset, harness.ended()), (Some(ResetReason::Cancelled), (0, 1, 0)));
        harness.check_idle();
    }
}

#[test]
fn an_upload_that_is_too_long_ends_the_request() {
    for (has_begun, ended, status) in [(false, Ended::Plain, 413), (true, Ended::Reset(ResetReason::Internal), 200)] {
        let mut harness = Harness::with(&Config { performance: "max_request_body_bytes: 10", ..Config::default() });
        let client = harness.post();
        if has_begun {
            harness.head(0, 200, false);
        }
        harness.upload_data(client, b"0123456789");
        assert_eq!(harness.in_flight(), 1);
        harness.upload_data(client, b".");
        assert_eq!((harness.client(client).status(), harness.client(client).ended), (Some(status), Some(ended)));
        assert_eq!(harness.io.requests[0].reset, Some(ResetReason::Cancelled));
        harness.check_idle();
    }
}

#[test]
fn a_response_that_is_too_long_ends_the_request() {
    let config = Config { performance: "max_response_body_bytes: 10", ..Config::default() };
    let mut harness = Harness::with(&config);
    let declared = harness.get();
    harness.head_with(0, response(200, &[(Known::ContentLength, b"11")]), false);
    assert_eq!(harness.answer(declared), (503, "upstream response body too large"));
    let head = harness.send(b"HEAD", b"/", &[], true);
    harness.head_with(1, response(200, &[(Known::ContentLength, b"11")]), true);
    assert_eq!(harness.client(head).ended, Some(Ended::Plain));
    let streamed = harness.get();
    harness.head(2, 200, false);
    harness.data(2, b"0123456789", false);
    harness.data(2, b".", false);
    assert_eq!(harness.client(streamed).ended, Some(Ended::Reset(ResetReason::Internal)));
    assert_eq!(harness.client(streamed).received, b"0123456789");
    assert_eq!(harness.io.requests[2].reset, Some(ResetReason::Cancelled));
    assert_eq!(harness.ended(), (1, 2, 0));
    harness.check_idle();
}

#[test]
fn bodies_may_be_as_long_as_their_limits() {
    let performance = "max_request_body_bytes: 10\nmax_response_body_bytes: 10";
    let mut harness = Harness::with(&Config { performance, ..Config::default() });
    let declared: &[(Known, &[u8])] = &[(Known::ContentLength, b"10")];
    let client = harness.send(b"POST", b"/", declared, false);
    harness.upload_data(client, b"0123456789");
    harness.upload(client, BodyRead::End);
    harness.head_with(0, response(200, declared), false);
    harness.data(0, b"0123456789", true);
    assert_eq!((harness.client(client).text(), harness.ended()), ("0123456789", (1, 0, 0)));
    harness.check_idle();
}

#[test]
fn the_client_is_told_how_long_the_body_will_be() {
    let declared: &[(Known, &[u8])] = &[(Known::ContentLength, b"4")];
    for (method, status, fields, end, length) in [
        (&b"GET"[..], 200, declared, false, Body::Known(4)),
        (b"GET", 200, &[], false, Body::Chunked),
        (b"GET", 200, &[], true, Body::None),
        (b"HEAD", 200, declared, true, Body::None),
        (b"GET", 304, declared, false, Body::None),
    ] {
        let mut harness = Harness::new();
        let client = harness.send(method, b"/", &[], true);
        harness.head_with(0, response(status, fields), end);
        assert_eq!(harness.client(client).length, Some(length), "{status} {end}");
        if !end {
            harness.abort(client, Abort::Lost);
        }
        harness.check_idle();
    }
}

#[test]
fn interim_responses_are_passed_on_before_the_final_one() {
    let mut harness = Harness::new();
    let client = harness.get();
    harness.interim(0, 100);
    harness.interim(0, 103);
    harness.head(0, 200, false);
    harness.interim(0, 103);
    assert_eq!(harness.client(client).interims, [100, 103]);
    harness.head(0, 500, false);
    assert_eq!(harness.client(client).status(), Some(200), "there is one head");
    harness.data(0, b"", true);
    harness.check_idle();
}

/// A budget that one chunk of an upload uses up.
const NARROW: Config =
    Config { performance: "request_buffer_global_cap_bytes: 1KiB", upstream: "", resilience: "", backends: 2 };

#[test]
fn an_upload_that_waits_for_the_budget_goes_on_when_it_has_room() {
    let mut harness = Harness::with(&NARROW);
    harness.io.window = 0;
    let other = harness.post();
    harness.io.window = 1 << 20;
    let waiting = harness.post();
    for client in [other, waiting] {
        harness.head(client, 200, false);
    }
    // The budget is used up by bytes that the backend of the other request does not take.
    harness.upload_data(other, &[b'.'; 1024]);
    for _ in 0..3 {
        harness.client_event(waiting, EventKind::Readable);
    }
    assert_eq!(harness.exchanges.waiting.take_capped(false).len(), 1, "it is on the list once");
    harness.exchanges.waiting.wait_for_budget(harness.exchanges.table.iter().nth(1).unwrap().1.tag);
    harness.pass(Duration::ZERO);
    let due = harness.exchanges.deadline().unwrap();
    assert_eq!(due, harness.io.now + Duration::from_millis(5), "the budget is looked at again soon");
    harness.abort(other, Abort::Lost);
    harness.io.clients[waiting].body.push_back(BodyRead::Data(Bytes::from_static(b"more")));
    harness.pass(Duration::from_millis(5));
    assert_eq!(harness.io.requests[1].body, b"more");
    harness.upload(waiting, BodyRead::End);
    harness.data(1, b"", true);
    assert_eq!(harness.ended(), (1, 0, 1));
    harness.check_idle();
}

#[test]
fn an_upload_may_have_to_wait_for_the_budget_more_than_once() {
    let mut harness = Harness::with(&NARROW);
    let waiting = harness.post();
    harness.head(0, 200, false);
    for round in 1..=3 {
        harness.io.window = 0;
        let other = harness.post();
        harness.upload_data(other, &[b'.'; 1024]);
        harness.client_event(waiting, EventKind::Readable);
        harness.abort(other, Abort::Lost);
        harness.io.clients[waiting].body.push_back(BodyRead::Data(Bytes::from_static(b"more")));
        harness.pass(Duration::from_millis(5));
        assert_eq!(harness.io.requests[0].body, b"more".repeat(round));
    }
    harness.abort(waiting, Abort::Lost);
    harness.check_idle();
}

#[test]
fn bytes_beyond_the_budget_fail_their_request_only() {
    let mut harness = Harness::with(&NARROW);
    harness.io.is_connected = false;
    let first = harness.post();
    harness.upload_data(first, &[b'.'; 1000]);
    let second = harness.post();
    harness.upload_data(second, &[b'.'; 100]);
    assert_eq!(harness.answer(second), (503, "request body backpressure overload"));
    assert_eq!(harness.in_flight(), 1);
    let third = harness.send(b"GET", b"/", &[], true);
    assert_eq!(harness.in_flight(), 2, "one without body needs nothing of it");
    harness.abort(first, Abort::Lost);
    harness.abort(third, Abort::Lost);
    harness.check_idle();
}

#[test]
fn the_worker_looks_at_the_budget_before_the_end_of_the_queue() {
    let config =
        Config { performance: "request_buffer_global_cap_bytes: 1KiB\nper_upstream_inflight_limit: 2", ..NARROW };
    let mut harness = Harness::with(&config);
    harness.io.window = 0;
    let other = harness.post();
    harness.io.window = 1 << 20;
    let waiting = harness.post();
    let queued = harness.get();
    harness.upload_data(other, &[b'.'; 1024]);
    harness.client_event(waiting, EventKind::Readable);
    harness.pass(Duration::ZERO);
    assert!(harness.exchanges.deadline().unwrap() <= harness.io.now + Duration::from_millis(5));
    for client in [other, waiting, queued] {
        harness.abort(client, Abort::Lost);
    }
    harness.pass(Duration::from_millis(5));
    assert!(harness.exchanges.waiting.deadline(harness.state.epoch).is_none());
    harness.check_idle();
}

#[test]
fn a_request_with_a_body_is_refused_while_the_budget_is_used_up() {
    let mut harness = Harness::with(&NARROW);
    harness.io.window = 0;
    let holder = harness.post();
    harness.upload_data(holder, &[b'.'; 1024]);
    assert_eq!(harness.state.bodies.used(), 1024);
    let refused = harness.post();
    assert_eq!(harness.answer(refused), (503, "request body backpressure overload"));
    harness.abort(holder, Abort::Lost);
    harness.check_idle();
}

#[test]
fn a_silent_upload_goes_on_after_a_pause() {
    let mut harness = Harness::with(&Config { performance: "client_min_rate_bytes_per_sec: 0", ..Config::default() });
    let client = harness.post();
    for _ in 0..3 {
        harness.sleep(Duration::from_secs(9));
        harness.upload_data(client, b"part");
    }
    assert_eq!(harness.in_flight(), 1);
    harness.upload(client, BodyRead::End);
    harness.head(0, 200, true);
    harness.check_idle();
}
