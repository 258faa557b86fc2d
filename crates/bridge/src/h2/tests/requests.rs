//! Requests on the wire.

use super::*;
use crate::h2::SendRequestError;

#[test]
fn the_connection_opens_with_preface_settings_and_window() {
    let mut wire = Wire::silent(&Config::default());
    let written = wire.written();
    let frames = split(written.strip_prefix(PREFACE).unwrap());
    let (settings, payload) = &frames[0];
    assert_eq!((settings.kind, settings.flags, settings.stream), (Kind::Settings, 0, 0));
    let expected = [(1_u16, 4096_u32), (4, 262_144), (5, 16_384), (6, 65_536), (2, 0)];
    assert_eq!(*payload, settings_frame(&expected)[HEADER_LEN..]);
    assert_eq!(wire.show_frame(frames[1].0, &frames[1].1), format!("window 0 {}", 16 * 1024 * 1024 - 65_535));
    assert_eq!(frames.len(), 2);
    assert!(!wire.client.is_ready());
}

#[test]
fn a_request_without_body_is_one_frame() {
    let mut wire = Wire::new();
    let id = wire.client.send_request(&request(Method::Get), true, 7).unwrap();
    assert_eq!(id.number(), 1);
    assert_eq!(wire.shown(), ["headers 1 :method=GET :scheme=http :authority=a.example :path=/ end"]);
    assert_eq!(wire.client.active(), 1);
    assert_eq!(wire.client.open_streams().collect::<Vec<_>>(), [(7, id, false)]);
    assert_eq!(wire.client.sendable(id), 0, "its request is complete");
    assert_eq!(wire.client.send_request(&request(Method::Get), true, 8).map(StreamId::number), Ok(3));
}

#[test]
fn a_body_follows_and_ends_with_its_last_byte() {
    let mut wire = Wire::new();
    let id = wire.client.send_request(&request(Method::Post), false, 1).unwrap();
    let mut body = Bytes::from(vec![b'x'; 40_000]);
    assert_eq!(wire.client.send_data(id, &mut body, false), 40_000);
    assert!(body.is_empty());
    assert_eq!(wire.client.send_data(id, &mut Bytes::from_static(b"tail"), true), 4);
    assert_eq!(wire.shown()[1..], ["data 1 16384", "data 1 16384", "data 1 7232", "data 1 4 end"]);
    assert_eq!(wire.client.send_data(id, &mut Bytes::from_static(b"late"), true), 4, "dropped");
    assert_eq!(wire.shown(), [""; 0]);
}

#[test]
fn an_empty_end_and_trailers() {
    let mut wire = Wire::new();
    let id = wire.open(Method::Post, false);
    wire.client.send_data(id, &mut Bytes::new(), false);
    wire.client.send_data(id, &mut Bytes::new(), true);
    assert_eq!(wire.shown(), ["data 1 0 end"]);
    let id = wire.open(Method::Post, false);
    wire.client.send_data(id, &mut Bytes::from_static(b"a"), false);
    wire.client.send_trailers(id, &fields(&[("grpc-status", "0")]));
    wire.client.send_trailers(id, &fields(&[("grpc-status", "1")]));
    assert_eq!(wire.shown(), ["data 3 1", "headers 3 grpc-status=0 end"]);
}

#[test]
fn empty_trailers_only_end_the_stream() {
    let mut wire = Wire::new();
    let id = wire.open(Method::Post, false);
    wire.client.send_data(id, &mut Bytes::from_static(b"a"), false);
    assert!(wire.client.send_trailers(id, &fields(&[])));
    assert_eq!(wire.shown(), ["data 1 1 end"]);
    let head = wire.headers(1, &[(":status", "200")], true);
    wire.feed(&head);
    assert_eq!(wire.client.active(), 0);
}

#[test]
fn an_end_alone_uses_the_last_frame_if_it_is_unsent_and_the_last() {
    for length in [0, 1, 5000] {
        let mut wire = Wire::new();
        let id = wire.open(Method::Post, false);
        wire.client.send_data(id, &mut Bytes::from(vec![b'x'; length]), false);
        wire.client.send_data(id, &mut Bytes::new(), true);
        assert_eq!(wire.shown(), [format!("data 1 {length} end")]);
        if length == 0 {
            continue;
        }
        // Another frame follows, or a part of it is sent.
        let id = wire.open(Method::Post, false);
        wire.client.send_data(id, &mut Bytes::from(vec![b'x'; length]), false);
        wire.client.ping(1);
        wire.client.send_data(id, &mut Bytes::new(), true);
        let ping = format!("ping 0 {:?}", 1_u64.to_be_bytes());
        assert_eq!(wire.shown(), [format!("data 3 {length}"), ping, "data 3 0 end".to_owned()]);
        for sent in [1, 4, 9, 9 + length] {
            let id = wire.open(Method::Post, false);
            wire.client.send_data(id, &mut Bytes::from(vec![b'x'; length]), false);
            let mut slices = [IoSlice::new(&[]); 2];
            wire.client.output().slices(&mut slices);
            let mut all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(sent).collect();
            wire.client.output().advance(sent);
            wire.client.send_data(id, &mut Bytes::new(), true);
            all.extend(wire.written());
            let flags: Vec<u8> = split(&all).iter().map(|(header, _)| header.flags).collect();
            assert_eq!(flags, [0, flag::END_STREAM], "{sent} of {length} bytes sent");
        }
    }
    let mut wire = Wire::new();
    let first = wire.client.send_request(&request(Method::Post), false, 1).unwrap();
    let second = wire.client.send_request(&request(Method::Post), false, 2).unwrap();
    for id in [first, second] {
        wire.client.send_data(id, &mut Bytes::new(), true);
    }
    let ends: Vec<_> = wire.frames().iter().map(|(header, _)| (header.stream, header.has(flag::END_STREAM))).collect();
    assert_eq!(
        ends,
        [(1, false), (3, false), (1, true), (3, true)],
        "no head was the last frame when its stream ended"
    );
}

#[test]
fn a_large_head_is_split_into_continuations() {
    let mut wire = Wire::new();
    let mut head = request(Method::Get);
    head.fields.push(Name::Other(b"x-large"), &vec![b'v'; 40_000]);
    wire.client.send_request(&head, true, 1).unwrap();
    let frames = wire.frames();
    let shape: Vec<_> = frames.iter().map(|(header, _)| (header.kind, header.flags, header.len)).collect();
    let rest = frames.iter().map(|(header, _)| header.len).sum::<u32>() - 2 * 16_384;
    let expected = [
        (Kind::Headers, flag::END_STREAM, 16_384),
        (Kind::Continuation, 0, 16_384),
        (Kind::Continuation, flag::END_HEADERS, rest),
    ];
    assert_eq!(shape, expected);
    let block = frames.iter().flat_map(|(_, payload)| payload.clone()).collect::<Vec<_>>();
    let decoded = wire.decoded(&block);
    assert_eq!(decoded.size(), head.fields.size());
    assert!(decoded.contains(Known::Method));
}

#[test]
fn no_more_streams_than_the_peer_allows() {
    let mut wire = Wire::silent(&Config::default());
    assert_eq!(wire.client.capacity(), 100, "assumed before SETTINGS");
    assert_eq!(wire.feed(&settings_frame(&[(3, 2)])), ["ready"]);
    assert_eq!(wire.client.capacity(), 2);
    let first = wire.get();
    wire.get();
    assert_eq!(wire.client.capacity(), 0);
    assert_eq!(wire.client.send_request(&request(Method::Get), true, 9), Err(SendRequestError::StreamLimit));
    assert_eq!(wire.feed(&settings_frame(&[(3, 1)])), ["capacity"]);
    wire.client.reset(first, Code::CANCEL);
    assert_eq!(wire.client.capacity(), 0, "still one too many for another");
    assert_eq!(wire.feed(&settings_frame(&[(3, 5)])), ["capacity"]);
    assert_eq!(wire.client.capacity(), 4);
    assert_eq!(wire.feed(&settings_frame(&[(3, 5)])), [""; 0]);
}

#[test]
fn identifiers_run_out() {
    let mut wire = Wire::new();
    wire.client.next_id = 0x7fff_fffd;
    assert_eq!(wire.client.capacity(), 2);
    wire.get();
    assert_eq!(wire.client.capacity(), 1);
    wire.get();
    assert_eq!(wire.client.capacity(), 0);
    assert!(wire.client.is_closing());
    assert_eq!(wire.client.send_request(&request(Method::Get), true, 9), Err(SendRequestError::IdsUsedUp));
}

#[test]
fn a_peer_that_does_not_read_gets_no_more_requests() {
    let mut wire = Wire::new();
    let mut head = request(Method::Get);
    head.fields.push(Name::Other(b"x-large"), &vec![b'v'; 60_000]);
    let sent = (0..100).take_while(|tag| wire.client.send_request(&head, true, *tag).is_ok()).count();
    assert_eq!(sent, 18, "1 MiB and the one that crosses it");
    assert_eq!(wire.client.send_request(&head, true, 9), Err(SendRequestError::Backlogged));
    wire.written();
    assert!(wire.client.send_request(&head, true, 9).is_ok());
}

#[test]
fn a_reset_ends_the_stream_at_once() {
    let mut wire = Wire::new();
    let id = wire.open(Method::Post, false);
    wire.client.reset(id, Code::CANCEL);
    wire.client.reset(id, Code::CANCEL);
    wire.client.release(id, 5);
    wire.client.send_trailers(id, &fields(&[]));
    assert_eq!(wire.shown(), ["reset 1 CANCEL"]);
    assert_eq!((wire.client.active(), wire.client.sendable(id)), (0, 0));
}
