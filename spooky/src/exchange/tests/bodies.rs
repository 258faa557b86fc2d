//! Request and response bodies: order, ends and trailers, back-pressure, limits, early responses.

use super::{
    fake::Ended,
    world::{Config, World, response},
};
use bytes::Bytes;
use spooky_bridge::message::{Fields, Known, Name, ResetReason};
use spooky_edge::{Abort, Body, BodyRead, EventKind};
use std::time::Duration;

fn trailers(value: &[u8]) -> Fields {
    let mut fields = Fields::new();
    fields.push(Name::Other(b"x-checksum"), value);
    fields
}

#[test]
fn the_upload_is_passed_on_as_it_comes() {
    let mut world = World::new();
    let client = world.post();
    world.upload_data(client, b"some ");
    assert_eq!(world.io.requests[0].body, b"some ");
    world.upload_data(client, b"bytes");
    assert!(!world.io.requests[0].sent_all);
    world.upload(client, BodyRead::End);
    let request = &world.io.requests[0];
    assert_eq!(
        (request.body.as_slice(), request.sent_all, request.method.as_slice()),
        (&b"some bytes"[..], true, &b"POST"[..])
    );
    world.head(0, 200, true);
    assert_eq!(world.ended(), (1, 0, 0));
    world.check_idle();
}

#[test]
fn what_came_before_the_connection_is_sent_when_it_stands() {
    let mut world = World::new();
    world.io.is_connected = false;
    let client = world.post();
    world.upload_data(client, b"early");
    world.upload(client, BodyRead::End);
    assert_eq!(world.state.bodies.used(), 5, "it counts while it waits");
    world.connect(0);
    let request = &world.io.requests[0];
    assert_eq!((request.body.as_slice(), request.sent_all), (&b"early"[..], true));
    world.head(0, 200, true);
    world.check_idle();
}

#[test]
fn trailers_are_passed_on_both_ways() {
    let mut world = World::new();
    let client = world.post();
    world.upload_data(client, b"body");
    let mut sent = trailers(b"up");
    sent.push(Name::Other(b"x-client-subject"), b"forged");
    world.upload(client, BodyRead::Trailers(Box::new(sent)));
    assert!(!world.io.requests[0].sent_all, "the end is not confirmed");
    world.upload(client, BodyRead::End);
    let received = world.io.requests[0].trailers.clone().unwrap();
    assert_eq!(received.iter().count(), 1, "what only Spooky may tell the backend is removed");
    world.head(0, 200, false);
    world.data(0, b"body", false);
    world.trailers(0, trailers(b"down"));
    assert_eq!(world.client(client).ended, Some(Ended::Trailers));
    assert_eq!(world.ended(), (1, 0, 0));
    world.check_idle();
}

#[test]
fn an_empty_trailer_section_is_a_plain_end() {
    let mut world = World::new();
    let client = world.post();
    world.upload_data(client, b"body");
    world.upload(client, BodyRead::Trailers(Box::new(Fields::new())));
    world.upload(client, BodyRead::End);
    assert!(world.io.requests[0].sent_all && world.io.requests[0].trailers.is_none());
    world.head(0, 200, false);
    world.trailers(0, Fields::new());
    assert_eq!(world.client(client).ended, Some(Ended::Plain));
    world.check_idle();
}

#[test]
fn trailers_that_the_backend_does_not_accept_end_the_request() {
    for (has_begun, ended) in [(false, Ended::Plain), (true, Ended::Reset(ResetReason::Internal))] {
        let mut world = World::new();
        world.io.takes_trailers = false;
        let client = world.post();
        if has_begun {
            world.head(0, 200, false);
        }
        world.upload_data(client, b"body");
        world.upload(client, BodyRead::Trailers(Box::new(trailers(b"up"))));
        world.upload(client, BodyRead::End);
        assert_eq!((world.client(client).ended, world.ended()), (Some(ended), (0, 1, 0)));
        assert_eq!(world.io.requests[0].reset, Some(ResetReason::Cancelled));
        world.check_idle();
    }
}

#[test]
fn a_response_that_ends_before_the_upload_is_forwarded_completely() {
    let mut world = World::new();
    let client = world.post();
    world.upload_data(client, b"part");
    world.head(0, 200, false);
    world.data(0, b"enough", false);
    assert_eq!(world.io.requests[0].reset, None);
    world.data(0, b"!", true);
    assert_eq!((world.client(client).text(), world.client(client).ended), ("enough!", Some(Ended::Plain)));
    assert_eq!(world.io.requests[0].reset, Some(ResetReason::NoError), "the rest of the upload is not wanted");
    assert_eq!(world.ended(), (1, 0, 0));
    world.check_idle();
}

#[test]
fn the_upload_goes_on_while_the_response_streams() {
    let mut world = World::new();
    let client = world.post();
    world.head(0, 200, false);
    world.upload_data(client, b"ping");
    world.data(0, b"pong", false);
    world.upload_data(client, b"ping");
    assert_eq!(world.io.requests[0].body, b"pingping");
    world.upload(client, BodyRead::End);
    world.data(0, b"", true);
    assert_eq!((world.client(client).text(), world.ended()), ("pong", (1, 0, 0)));
    world.check_idle();
}

#[test]
fn the_client_is_read_only_as_fast_as_the_backend_takes() {
    let mut world = World::new();
    world.io.window = 4;
    let client = world.post();
    world.upload_data(client, b"some bytes");
    assert_eq!((world.io.requests[0].body.as_slice(), world.client(client).body.len()), (&b"some"[..], 1));
    assert_eq!(world.state.bodies.used(), 10, "4 are kept for a retry, 6 wait with the client's connection");
    world.upload(client, BodyRead::End);
    world.widen(0, 3);
    assert_eq!(world.io.requests[0].body, b"some by");
    world.widen(0, 100);
    assert_eq!((world.io.requests[0].body.as_slice(), world.io.requests[0].sent_all), (&b"some bytes"[..], true));
    world.head(0, 200, true);
    world.check_idle();
}

#[test]
fn the_backend_gets_credit_for_what_the_client_took() {
    let mut world = World::new();
    let client = world.get();
    world.head(0, 200, false);
    world.data(0, b"1234567890", false);
    assert_eq!(world.io.requests[0].released, 10);
    world.io.clients[client].is_slow = true;
    world.data(0, b"1234567890", false);
    assert_eq!(world.io.requests[0].released, 10);
    world.accept(client, 4);
    assert_eq!(world.io.requests[0].released, 14);
    world.accept(client, 6);
    assert_eq!(world.io.requests[0].released, 20);
    world.abort(client, Abort::Lost);
    world.check_idle();
}

#[test]
fn the_backend_may_send_ahead_what_the_client_has_room_for() {
    let mut world = World::new();
    world.io.is_connected = false;
    let client = world.get();
    world.io.clients[client].share = 1000;
    assert_eq!(world.io.requests[0].share, None);
    world.connect(0);
    assert_eq!(world.io.requests[0].share, Some(1000));
    world.head(0, 200, false);
    world.io.clients[client].share = 2000;
    world.data(0, b"some bytes", false);
    assert_eq!(world.io.requests[0].share, Some(2000));
    world.data(0, b"", true);
    world.check_idle();
}

#[test]
fn bytes_that_are_taken_count_as_long_as_they_are_kept_for_a_retry() {
    let mut world = World::new();
    let client = world.send(b"PUT", b"/", &[], false);
    world.upload_data(client, &vec![b'.'; 60 * 1024]);
    assert_eq!((world.io.requests[0].body.len(), world.state.bodies.used()), (60 * 1024, 60 * 1024));
    world.upload_data(client, &vec![b'.'; 10 * 1024]);
    assert_eq!((world.io.requests[0].body.len(), world.state.bodies.used()), (70 * 1024, 0));
    let other = world.send(b"PUT", b"/", &[], false);
    world.upload_data(other, b"part");
    assert_eq!(world.state.bodies.used(), 4);
    world.head(1, 200, false);
    assert_eq!(world.state.bodies.used(), 0, "no attempt can follow");
    world.abort(client, Abort::Lost);
    world.abort(other, Abort::Lost);
    world.check_idle();
}

#[test]
fn a_large_head_is_forgotten_when_no_attempt_can_follow() {
    let large = [b'x'; 4096];
    let fields: [(Known, &[u8]); 2] = [(Known::XRequestId, b"mine"), (Known::Cookie, &large)];
    let memory = |world: &World| world.exchanges.table.iter().next().unwrap().1.head.fields.memory();
    for is_upload in [false, true] {
        let mut world = World::new();
        let client = world.send(b"PUT", b"/", &fields, !is_upload);
        assert!(memory(&world) > 4096);
        if is_upload {
            // More than is kept for a retry.
            world.upload_data(client, &vec![b'.'; 65 * 1024]);
        } else {
            world.head(0, 200, false);
        }
        assert!(memory(&world) < 2048);
        let exchange = world.exchanges.table.iter().next().unwrap().1;
        assert_eq!(exchange.request_id(), b"mine", "what the log needs is kept");
        world.abort(client, Abort::Lost);
        world.check_idle();
    }
}

#[test]
fn a_large_head_takes_no_more_memory_than_it_needs() {
    let mut world = World::new();
    let client = world.send(b"GET", b"/", &[(Known::Cookie, &[b'x'; 10_000])], true);
    let exchange = world.exchanges.table.iter().next().unwrap().1;
    let memory = exchange.head.fields.memory();
    assert!((10_000..13_000).contains(&memory), "{memory}");
    world.abort(client, Abort::Lost);
    world.check_idle();
}

#[test]
fn a_small_head_is_kept() {
    let mut world = World::new();
    let client = world.send(b"GET", b"/", &[(Known::Cookie, b"a=b")], true);
    world.head(0, 200, false);
    let exchange = world.exchanges.table.iter().next().unwrap().1;
    assert_eq!(exchange.head.fields.first(Known::Cookie), Some(&b"a=b"[..]));
    world.abort(client, Abort::Lost);
    world.check_idle();
}

#[test]
fn an_upload_that_is_too_long_ends_the_request() {
    for (has_begun, ended, status) in [(false, Ended::Plain, 413), (true, Ended::Reset(ResetReason::Internal), 200)] {
        let mut world = World::with(&Config { performance: "max_request_body_bytes: 10", ..Config::default() });
        let client = world.post();
        if has_begun {
            world.head(0, 200, false);
        }
        world.upload_data(client, b"0123456789");
        assert_eq!(world.in_flight(), 1);
        world.upload_data(client, b".");
        assert_eq!((world.client(client).status(), world.client(client).ended), (Some(status), Some(ended)));
        assert_eq!(world.io.requests[0].reset, Some(ResetReason::Cancelled));
        world.check_idle();
    }
}

#[test]
fn a_response_that_is_too_long_ends_the_request() {
    let config = Config { performance: "max_response_body_bytes: 10", ..Config::default() };
    let mut world = World::with(&config);
    let declared = world.get();
    world.head_with(0, response(200, &[(Known::ContentLength, b"11")]), false);
    assert_eq!(world.answer(declared), (503, "upstream response body too large"));
    let head = world.send(b"HEAD", b"/", &[], true);
    world.head_with(1, response(200, &[(Known::ContentLength, b"11")]), true);
    assert_eq!(world.client(head).ended, Some(Ended::Plain));
    let streamed = world.get();
    world.head(2, 200, false);
    world.data(2, b"0123456789", false);
    world.data(2, b".", false);
    assert_eq!(world.client(streamed).ended, Some(Ended::Reset(ResetReason::Internal)));
    assert_eq!(world.client(streamed).received, b"0123456789");
    assert_eq!(world.io.requests[2].reset, Some(ResetReason::Cancelled));
    assert_eq!(world.ended(), (1, 2, 0));
    world.check_idle();
}

#[test]
fn bodies_may_be_as_long_as_their_limits() {
    let performance = "max_request_body_bytes: 10\nmax_response_body_bytes: 10";
    let mut world = World::with(&Config { performance, ..Config::default() });
    let declared: &[(Known, &[u8])] = &[(Known::ContentLength, b"10")];
    let client = world.send(b"POST", b"/", declared, false);
    world.upload_data(client, b"0123456789");
    world.upload(client, BodyRead::End);
    world.head_with(0, response(200, declared), false);
    world.data(0, b"0123456789", true);
    assert_eq!((world.client(client).text(), world.ended()), ("0123456789", (1, 0, 0)));
    world.check_idle();
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
        let mut world = World::new();
        let client = world.send(method, b"/", &[], true);
        world.head_with(0, response(status, fields), end);
        assert_eq!(world.client(client).length, Some(length), "{status} {end}");
        if !end {
            world.abort(client, Abort::Lost);
        }
        world.check_idle();
    }
}

#[test]
fn interim_responses_are_passed_on_before_the_final_one() {
    let mut world = World::new();
    let client = world.get();
    world.interim(0, 100);
    world.interim(0, 103);
    world.head(0, 200, false);
    world.interim(0, 103);
    assert_eq!(world.client(client).interims, [100, 103]);
    world.head(0, 500, false);
    assert_eq!(world.client(client).status(), Some(200), "there is one head");
    world.data(0, b"", true);
    world.check_idle();
}

/// A budget that one chunk of an upload uses up.
const NARROW: Config =
    Config { performance: "request_buffer_global_cap_bytes: 1KiB", upstream: "", resilience: "", backends: 2 };

#[test]
fn an_upload_that_waits_for_the_budget_goes_on_when_it_has_room() {
    let mut world = World::with(&NARROW);
    world.io.window = 0;
    let other = world.post();
    world.io.window = 1 << 20;
    let waiting = world.post();
    for client in [other, waiting] {
        world.head(client, 200, false);
    }
    // The budget is used up by bytes that the backend of the other request does not take.
    world.upload_data(other, &[b'.'; 1024]);
    for _ in 0..3 {
        world.client_event(waiting, EventKind::Readable);
    }
    assert_eq!(world.exchanges.waiting.take_capped(false).len(), 1, "it is on the list once");
    world.exchanges.waiting.wait_for_budget(world.exchanges.table.iter().nth(1).unwrap().1.tag);
    world.pass(Duration::ZERO);
    let due = world.exchanges.deadline().unwrap();
    assert!(due <= world.io.now + Duration::from_millis(5), "the budget is looked at again soon");
    world.abort(other, Abort::Lost);
    world.io.clients[waiting].body.push_back(BodyRead::Data(Bytes::from_static(b"more")));
    world.pass(Duration::from_millis(5));
    assert_eq!(world.io.requests[1].body, b"more");
    world.upload(waiting, BodyRead::End);
    world.data(1, b"", true);
    assert_eq!(world.ended(), (1, 0, 1));
    world.check_idle();
}

#[test]
fn bytes_beyond_the_budget_fail_their_request_only() {
    let mut world = World::with(&NARROW);
    world.io.is_connected = false;
    let first = world.post();
    world.upload_data(first, &[b'.'; 1000]);
    let second = world.post();
    world.upload_data(second, &[b'.'; 100]);
    assert_eq!(world.answer(second), (503, "request body backpressure overload"));
    assert_eq!(world.in_flight(), 1);
    let third = world.send(b"GET", b"/", &[], true);
    assert_eq!(world.in_flight(), 2, "one without body needs nothing of it");
    world.abort(first, Abort::Lost);
    world.abort(third, Abort::Lost);
    world.check_idle();
}

#[test]
fn the_worker_looks_at_the_budget_before_the_end_of_the_queue() {
    let config =
        Config { performance: "request_buffer_global_cap_bytes: 1KiB\nper_upstream_inflight_limit: 2", ..NARROW };
    let mut world = World::with(&config);
    world.io.window = 0;
    let other = world.post();
    world.io.window = 1 << 20;
    let waiting = world.post();
    let queued = world.get();
    world.upload_data(other, &[b'.'; 1024]);
    world.client_event(waiting, EventKind::Readable);
    world.pass(Duration::ZERO);
    assert!(world.exchanges.deadline().unwrap() <= world.io.now + Duration::from_millis(5));
    for client in [other, waiting, queued] {
        world.abort(client, Abort::Lost);
    }
    world.pass(Duration::from_millis(5));
    assert!(world.exchanges.waiting.deadline(world.state.epoch).is_none());
    world.check_idle();
}

#[test]
fn a_request_with_a_body_is_refused_while_the_budget_is_used_up() {
    let mut world = World::with(&NARROW);
    world.io.window = 0;
    let holder = world.post();
    world.upload_data(holder, &[b'.'; 1024]);
    assert_eq!(world.state.bodies.used(), 1024);
    let refused = world.post();
    assert_eq!(world.answer(refused), (503, "request body backpressure overload"));
    world.abort(holder, Abort::Lost);
    world.check_idle();
}

#[test]
fn a_silent_upload_goes_on_after_a_pause() {
    let mut world = World::with(&Config { performance: "client_min_rate_bytes_per_sec: 0", ..Config::default() });
    let client = world.post();
    for _ in 0..3 {
        world.sleep(Duration::from_secs(9));
        world.upload_data(client, b"part");
    }
    assert_eq!(world.in_flight(), 1);
    world.upload(client, BodyRead::End);
    world.head(0, 200, true);
    world.check_idle();
}
