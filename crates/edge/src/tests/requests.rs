//! Requests: heads, bodies, and clients that give up or break the protocol.

use super::{GET, POST, Setup};
use crate::{
    Abort, BodyRead, EventKind,
    peer::{ReadEnd, data, fields, headers},
};
use quinn_proto::Dir;
use spooky_bridge::{
    h3::Code,
    message::{Protocol, ResponseHead, check::CheckError},
};
use std::time::Duration;

const RESET: u64 = 0x1234;

#[test]
fn a_request_is_reported_with_its_head_its_client_and_its_tag() {
    let mut setup = Setup::new();
    let id = setup.client.open(Dir::Bi, &headers(&GET));
    setup.client.end(id);
    setup.run();
    let mut events = setup.events();
    let event = events.pop().unwrap();
    assert!(events.is_empty());
    let EventKind::Request { protocol, head, end, peer } = event.kind else { panic!("{event:?}") };
    assert_eq!((protocol, end, peer), (Protocol::Http3, true, setup.client.address));
    assert_eq!((head.method_bytes(), head.path(), event.tag), (b"GET".as_slice(), b"/a".as_slice(), None));
    let id_in_packet = setup.client.last_sent[1..9].try_into().unwrap();
    assert_eq!(setup.edge.connection_id(event.stream), u64::from_le_bytes(id_in_packet));
    setup.edge.set_tag(event.stream, 77);
    setup.client.stop(id, 9);
    setup.run();
    let last = setup.events().pop().unwrap();
    assert_eq!((last.tag, last.stream), (Some(77), event.stream));
}

#[test]
fn connections_are_told_apart() {
    let mut setup = Setup::new();
    let (_, one) = setup.request(&GET, b"", true);
    let (_, same) = setup.request(&GET, b"", true);
    let mut other = setup.connect(1);
    let id = other.open(Dir::Bi, &headers(&GET));
    other.end(id);
    other.finish(&mut setup.edge);
    let different = setup.edge.next_event().unwrap().stream;
    assert_eq!((one.connection(), same.connection(), different.connection()), ((0, 1), (0, 1), (1, 2)));
    assert_ne!(setup.edge.connection_id(one), setup.edge.connection_id(different));
    setup.edge.set_sticky_backend(one, 5, 50);
    setup.edge.set_sticky_backend(one, 6, 60);
    setup.edge.set_sticky_backend(same, 5, 51);
    let backends = [(one, 5), (same, 6), (one, 7), (different, 5)];
    assert_eq!(backends.map(|(stream, up)| setup.edge.sticky_backend(stream, up)), [Some(51), Some(60), None, None]);
    for upstream in 100..200 {
        setup.edge.set_sticky_backend(one, upstream, 1);
    }
    assert_eq!([161, 162].map(|upstream| setup.edge.sticky_backend(one, upstream)), [Some(1), None], "64 of them");
}

#[test]
fn a_body_is_read_as_it_arrives_and_counted_until_then() {
    let mut setup = Setup::new();
    let head = [&POST[..], &[("content-length", "10")]].concat();
    let (id, stream) = setup.request(&head, &data(10, b"abcd"), false);
    assert_eq!(setup.edge.unread(stream), 6, "with the header of the frame");
    assert!(matches!(setup.edge.read_body(stream, 100), BodyRead::Data(bytes) if bytes == "abcd"));
    assert!(matches!(setup.edge.read_body(stream, 100), BodyRead::Pending));
    assert_eq!(setup.edge.unread(stream), 0);
    setup.client.write(id, b"efghij");
    setup.run();
    assert_eq!(setup.kinds(), ["Readable"]);
    assert_eq!(setup.edge.unread(stream), 6);
    assert!(matches!(setup.edge.read_body(stream, 2), BodyRead::Data(bytes) if bytes == "ef"));
    assert_eq!(setup.edge.unread(stream), 4);
    assert!(matches!(setup.edge.read_body(stream, 100), BodyRead::Data(bytes) if bytes == "ghij"));
    setup.client.write(id, &headers(&[("x-end", "1")]));
    setup.client.end(id);
    setup.run();
    assert_eq!(setup.kinds(), ["Readable"]);
    match setup.edge.read_body(stream, 100) {
        BodyRead::Trailers(trailers) => assert_eq!(trailers.bytes(), fields(&[("x-end", "1")]).bytes()),
        other => panic!("{other:?}"),
    }
    assert!(matches!(setup.edge.read_body(stream, 100), BodyRead::End));
    assert!(matches!(setup.edge.read_body(stream, 100), BodyRead::Pending), "the response is not ended");
}

#[test]
fn credit_follows_what_is_read() {
    let mut setup = Setup::with(quinn_proto::TransportConfig::default(), |settings| settings.max_stream_data = 4096);
    let id = setup.client.open(Dir::Bi, &[headers(&POST), data(1 << 20, b"")].concat());
    let mut sent = 0;
    let mut stream = None;
    for _ in 0..50 {
        sent += setup.client.connection.send_stream(id).write(&[7; 1000]).unwrap_or(0);
        setup.run();
        stream = setup.events().first().map(|event| event.stream).or(stream);
    }
    assert!((3500..5500).contains(&sent), "{sent} bytes with only the first packet read");
    let stream = stream.unwrap();
    let unread = setup.edge.unread(stream) as usize;
    assert!((sent..sent + 10).contains(&unread), "{unread} of {sent}");
    let mut read = 0;
    while let BodyRead::Data(bytes) = setup.edge.read_body(stream, 1 << 16) {
        read += bytes.len();
    }
    assert_eq!(read, sent);
    setup.run();
    assert_eq!(setup.client.connection.send_stream(id).write(&[7; 1000]), Ok(1000));
}

#[test]
fn a_body_against_the_rules_fails_its_stream_with_a_code() {
    let long = "v".repeat(1 << 14);
    for (length, rest, code, reason) in [
        (Some("3"), data(4, b"abcd"), Code::MESSAGE_ERROR, "body longer than content-length"),
        (Some("5"), data(4, b"abcd"), Code::MESSAGE_ERROR, "body shorter than content-length"),
        (None, headers(&[(":path", "/")]), Code::MESSAGE_ERROR, "malformed trailers"),
        (None, headers(&[("x", &long)]), Code::EXCESSIVE_LOAD, "trailers over the limits of headers"),
        (None, data(9, b"abcd"), Code::FRAME_ERROR, ""),
    ] {
        let mut setup = Setup::new();
        let head = POST.into_iter().chain(length.map(|length| ("content-length", length)));
        let (id, stream) = setup.request(&head.collect::<Vec<_>>(), &rest, true);
        let reads = (0..10).map(|_| {
            setup.run();
            setup.edge.read_body(stream, 1 << 16)
        });
        let mut reads = reads.skip_while(|read| matches!(read, BodyRead::Data(_) | BodyRead::Pending));
        let read = reads.next().expect("an end");
        drop(reads);
        if reason.is_empty() {
            // A frame that is cut ends the connection (RFC 9114 section 7.1).
            assert!(matches!(read, BodyRead::Aborted(Abort::Malformed(_))), "{read:?}");
            setup.run();
            assert_eq!(setup.client.closed().map(|closed| closed.0), Some(code.0));
            continue;
        }
        assert!(matches!(read, BodyRead::Aborted(Abort::Malformed(text)) if text == reason), "{read:?}: {reason}");
        setup.run();
        assert_eq!(setup.client.read(id), (vec![], ReadEnd::Reset(code.0)), "{reason}");
        assert!(matches!(setup.edge.read_body(stream, 1), BodyRead::Aborted(Abort::Lost)), "the stream is removed");
        assert_eq!(setup.client.closed(), None);
    }
}

#[test]
fn a_frame_against_the_rules_ends_the_connection_and_all_its_requests() {
    let mut setup = Setup::new();
    let (_, waiting) = setup.request(&GET, b"", true);
    let (_, stream) = setup.request(&POST, &[4, 0], false);
    let read = setup.edge.read_body(stream, 100);
    assert!(matches!(read, BodyRead::Aborted(Abort::Malformed(_))), "{read:?}");
    let aborted = setup.events();
    assert!(aborted.iter().any(|event| event.stream == waiting));
    assert!(aborted.iter().all(|event| matches!(event.kind, EventKind::Aborted(Abort::Lost))));
    setup.run();
    assert_eq!(setup.client.closed().map(|closed| closed.0), Some(Code::FRAME_UNEXPECTED.0));
}

#[test]
fn a_malformed_head_resets_its_stream_and_is_reported() {
    let without_path = &GET[..3];
    let with_length = [&POST[..], &[("content-length", "1")]].concat();
    for (head, why) in [(without_path, ""), (&with_length, "body shorter than content-length")] {
        let mut setup = Setup::new();
        let id = setup.client.open(Dir::Bi, &headers(head));
        setup.client.end(id);
        setup.run();
        let event = setup.edge.next_event().unwrap();
        let EventKind::Malformed { protocol, fields, reason, .. } = event.kind else { panic!("{event:?}") };
        assert_eq!((protocol, fields.len()), (Protocol::Http3, head.len()));
        assert!(why.is_empty() || reason == why, "{reason}");
        assert_eq!(setup.client.read(id), (vec![], ReadEnd::Reset(Code::MESSAGE_ERROR.0)));
        assert!(matches!(setup.edge.read_body(event.stream, 1), BodyRead::Aborted(Abort::Lost)));
    }
    let empty = [&POST[..], &[("content-length", "0")]].concat();
    Setup::new().request(&empty, b"", true);
}

#[test]
fn a_head_over_the_limits_is_refused_and_can_be_answered() {
    let mut setup = Setup::new();
    let long = "v".repeat(1 << 14);
    let head = [&GET[..], &[("x-long", &long)]].concat();
    let id = setup.client.open(Dir::Bi, &headers(&head));
    setup.run();
    let event = setup.edge.next_event().unwrap();
    let EventKind::Refused { protocol, refusal, .. } = event.kind else { panic!("{event:?}") };
    assert!(matches!(refusal.error, CheckError::TooLarge), "{:?}", refusal.error);
    assert_eq!((protocol, refusal.fields.len()), (Protocol::Http3, 5));
    setup.edge.respond(event.stream, &ResponseHead::new(431), crate::Body::None);
    assert!(setup.edge.finish(event.stream, None));
    setup.run();
    let (bytes, end) = setup.client.read(id);
    assert!(!bytes.is_empty() && end == ReadEnd::Complete);
    assert_eq!(setup.client.stopped(id), Some(Code::NO_ERROR.0), "the rest of the request is not wanted");
}

#[test]
fn a_head_must_be_complete_in_time() {
    let mut setup = Setup::new();
    let frame = headers(&GET);
    let (part, rest) = frame.split_at(5);
    let slow = setup.client.open(Dir::Bi, part);
    setup.run();
    setup.wait(Duration::from_secs(4));
    let (later, complete) = (setup.client.open(Dir::Bi, part), setup.client.open(Dir::Bi, part));
    setup.run();
    setup.client.write(complete, rest);
    setup.run();
    assert_eq!(setup.events().len(), 1);
    setup.wait(Duration::from_millis(5900));
    assert_eq!(setup.client.read(slow), (vec![], ReadEnd::Open));
    let due = setup.edge.deadline().unwrap();
    assert!(due <= setup.client.now + Duration::from_millis(100), "the edge asks to be called");
    setup.wait(Duration::from_millis(101));
    let incomplete = ReadEnd::Reset(Code::REQUEST_INCOMPLETE.0);
    assert_eq!(setup.client.read(slow), (vec![], incomplete));
    assert_eq!(setup.client.read(later), (vec![], ReadEnd::Open));
    setup.wait(Duration::from_secs(4));
    assert_eq!(setup.client.read(later), (vec![], incomplete));
    assert_eq!(setup.client.read(complete), (vec![], ReadEnd::Open));
    assert!(setup.events().is_empty(), "nobody knew of them");
    assert_eq!(setup.client.closed(), None);
}

#[test]
fn a_request_without_a_complete_head_is_reset() {
    for (bytes, is_connection) in [(&b""[..], false), (&headers(&GET)[..5], true), (&data(1, b"x")[..], true)] {
        let mut setup = Setup::new();
        let id = setup.client.open(Dir::Bi, bytes);
        setup.client.end(id);
        setup.run();
        if is_connection {
            assert!(setup.client.closed().is_some(), "{bytes:?}");
        } else {
            assert!(setup.events().is_empty());
            assert_eq!(setup.client.read(id), (vec![], ReadEnd::Reset(Code::REQUEST_INCOMPLETE.0)));
        }
    }
}

#[test]
fn a_reset_is_reported_although_the_body_is_not_read() {
    let mut setup = Setup::new();
    let early = setup.client.open(Dir::Bi, &headers(&POST)[..5]);
    setup.run();
    setup.client.reset(early, RESET as u32);
    setup.run();
    assert!(setup.events().is_empty(), "nobody knew of it");
    assert_eq!(setup.client.read(early), (vec![], ReadEnd::Reset(Code::REQUEST_CANCELLED.0)));
    let (id, stream) = setup.request(&POST, &data(100, b"abc"), false);
    setup.client.reset(id, RESET as u32);
    setup.run();
    let events = setup.events();
    assert_eq!((events.len(), events[0].stream), (1, stream));
    assert!(matches!(events[0].kind, EventKind::Aborted(Abort::Reset(RESET))), "{events:?}");
    assert_eq!(setup.client.read(id), (vec![], ReadEnd::Reset(Code::REQUEST_CANCELLED.0)));
    assert_eq!(setup.edge.unread(stream), 0);
}

#[test]
fn a_reset_is_found_by_a_read_as_well() {
    let mut setup = Setup::new();
    let (id, stream) = setup.request(&POST, &data(100, b"abc"), false);
    setup.client.reset(id, RESET as u32);
    setup.client.send(&mut setup.edge);
    assert!(matches!(setup.edge.read_body(stream, 100), BodyRead::Data(_)));
    let read = setup.edge.read_body(stream, 100);
    assert!(matches!(read, BodyRead::Aborted(Abort::Reset(RESET))), "{read:?}");
    setup.run();
    assert!(setup.events().is_empty(), "it is not reported twice");
    assert_eq!(setup.client.read(id), (vec![], ReadEnd::Reset(Code::REQUEST_CANCELLED.0)));
}

#[test]
fn a_client_that_stops_the_response_cancels_the_request() {
    let mut setup = Setup::new();
    let (id, stream) = setup.request(&POST, &data(100, b"abc"), false);
    setup.client.stop(id, RESET as u32);
    setup.run();
    let events = setup.events();
    assert_eq!((events.len(), events[0].stream), (1, stream));
    assert!(matches!(events[0].kind, EventKind::Aborted(Abort::Stopped(RESET))), "{events:?}");
    assert_eq!(setup.client.stopped(id), Some(Code::REQUEST_CANCELLED.0));
    setup.edge.respond(stream, &ResponseHead::new(200), crate::Body::None);
    assert!(setup.edge.finish(stream, None), "does nothing");
}

#[test]
fn a_flood_of_requests_that_are_given_up_ends_the_connection() {
    let mut setup = Setup::new();
    let mut count = 0;
    while setup.client.closed().is_none() {
        let id = setup.client.open(Dir::Bi, b"");
        setup.client.reset(id, 1);
        setup.run();
        count += 1;
        assert!(count < 1000);
    }
    assert_eq!(count, 501);
    assert_eq!(setup.client.closed().map(|closed| closed.0), Some(Code::EXCESSIVE_LOAD.0));
}

#[test]
fn a_flood_of_bodies_against_the_rules_ends_the_connection() {
    let mut setup = Setup::new();
    let head = [&POST[..], &[("content-length", "1")]].concat();
    for count in 1..=501 {
        let (id, stream) = setup.request(&head, &data(2, b"xy"), false);
        assert!(matches!(setup.edge.read_body(stream, 100), BodyRead::Aborted(Abort::Malformed(_))));
        setup.run();
        setup.client.read(id);
        setup.client.reset(id, 0); // the client may then open another stream
        setup.run();
        assert_eq!(setup.client.closed().is_some(), count == 501, "{count}");
    }
    assert_eq!(setup.client.closed().map(|closed| closed.0), Some(Code::EXCESSIVE_LOAD.0));
}

#[test]
fn a_tunnel_goes_on_in_one_direction_after_the_other_has_ended() {
    let connect = [(":method", "CONNECT"), (":authority", "localhost:443")];
    let mut setup = Setup::new();
    let (id, stream) = setup.request(&connect, b"", false);
    setup.edge.open_tunnel(stream);
    setup.edge.respond(stream, &ResponseHead::new(200), crate::Body::Chunked);
    assert!(setup.edge.finish(stream, None));
    setup.run();
    assert_eq!(setup.client.stopped(id), None);
    assert_eq!(setup.client.read(id).1, ReadEnd::Complete);
    setup.client.write(id, &data(3, b"abc"));
    setup.client.end(id);
    setup.run();
    assert_eq!(setup.kinds(), ["Readable"]);
    assert!(matches!(setup.edge.read_body(stream, 100), BodyRead::Data(bytes) if bytes == "abc"));
    assert!(matches!(setup.edge.read_body(stream, 100), BodyRead::End));
    assert!(matches!(setup.edge.read_body(stream, 100), BodyRead::Aborted(Abort::Lost)), "both have ended");
    // In a tunnel only DATA is allowed.
    let (_, stream) = setup.request(&connect, b"", false);
    setup.edge.open_tunnel(stream);
    let (other, plain) = setup.request(&POST, b"", false);
    setup.edge.respond(plain, &ResponseHead::new(200), crate::Body::None);
    assert!(setup.edge.finish(plain, None));
    setup.run();
    assert_eq!(setup.client.stopped(other), Some(Code::NO_ERROR.0), "no tunnel");
}
