//! Responses: how they are framed, clients that take them slowly, and how they end.

use super::{GET, POST, Setup};
use crate::{
    Body, EventKind, ResponseBudget,
    peer::{ReadEnd, data, fields},
};
use bytes::Bytes;
use spooky_bridge::{
    h3::{self, Code},
    message::{ResetReason, ResponseHead},
};
use std::{sync::Arc, time::Duration};

fn head(status: u16, list: &[(&str, &str)]) -> ResponseHead {
    ResponseHead { fields: fields(list), ..ResponseHead::new(status) }
}

fn encoded(head: &ResponseHead) -> Vec<u8> {
    let mut bytes = Vec::new();
    h3::encode_response(&mut bytes, head);
    bytes
}

#[test]
fn a_body_of_known_length_is_one_frame() {
    let mut setup = Setup::new();
    let (id, stream) = setup.request(&GET, b"", true);
    let response = head(200, &[("server", "spooky")]);
    setup.edge.respond(stream, &response, Body::Known(2005));
    assert_eq!(setup.edge.send_body(stream, Bytes::from_static(b"hello")), 5);
    assert_eq!(setup.edge.send_body(stream, Bytes::from(vec![7; 2000])), 2000);
    assert_eq!(setup.edge.send_body(stream, Bytes::new()), 0);
    assert!(setup.edge.finish(stream, None));
    setup.run();
    let expected = [encoded(&response), data(2005, b"hello"), vec![7; 2000]].concat();
    assert!(setup.client.read(id) == (expected, ReadEnd::Complete));
    assert!(setup.events().is_empty(), "all was taken at once");
    let (id, stream) = setup.request(&GET, b"", true);
    setup.edge.respond(stream, &response, Body::Known(0));
    assert!(setup.edge.finish(stream, None));
    setup.run();
    assert_eq!(setup.client.read(id), (encoded(&response), ReadEnd::Complete), "no DATA frame");
}

#[test]
fn a_body_of_unknown_length_is_a_frame_for_each_chunk() {
    let mut setup = Setup::new();
    let (id, stream) = setup.request(&GET, b"", true);
    let (hints, response) = (head(103, &[("link", "</a>")]), head(200, &[]));
    setup.edge.interim(stream, &hints);
    setup.edge.respond(stream, &response, Body::Chunked);
    let chunks = [vec![1; 1], vec![2; 1024], vec![3; 1025], vec![4; 5000], vec![5; 9]];
    for chunk in &chunks {
        assert_eq!(setup.edge.send_body(stream, Bytes::from(chunk.clone())), chunk.len());
    }
    assert!(setup.edge.finish(stream, Some(&fields(&[("x-end", "1")]))));
    setup.run();
    let mut expected = [encoded(&hints), encoded(&response)].concat();
    for chunk in &chunks {
        expected.extend(data(chunk.len() as u64, chunk));
    }
    h3::encode_trailers(&mut expected, &fields(&[("x-end", "1")]));
    assert!(setup.client.read(id) == (expected, ReadEnd::Complete));
    let (id, stream) = setup.request(&GET, b"", true);
    setup.edge.respond(stream, &response, Body::Chunked);
    assert!(setup.edge.finish(stream, Some(&fields(&[]))));
    setup.run();
    assert_eq!(setup.client.read(id), (encoded(&response), ReadEnd::Complete), "no empty trailers");
}

#[test]
fn responses_in_turn_do_not_mix() {
    let mut setup = Setup::new();
    let ((one, first), (two, second)) = (setup.request(&GET, b"", true), setup.request(&GET, b"", true));
    let response = head(200, &[]);
    setup.edge.respond(first, &response, Body::Known(2));
    setup.edge.respond(second, &response, Body::Known(2));
    for byte in [b"a", b"b"] {
        assert_eq!(setup.edge.send_body(first, Bytes::from_static(byte)), 1);
        assert_eq!(setup.edge.send_body(second, Bytes::from_static(byte)), 1);
    }
    assert!(setup.edge.finish(first, None) && setup.edge.finish(second, None));
    setup.run();
    let expected = [encoded(&response), data(2, b"ab")].concat();
    assert_eq!(setup.client.read(one), (expected.clone(), ReadEnd::Complete));
    assert_eq!(setup.client.read(two), (expected, ReadEnd::Complete));
}

#[test]
fn a_client_that_does_not_read_makes_the_rest_wait() {
    let mut setup = Setup::with_window(4000);
    let (id, stream) = setup.request(&GET, b"", true);
    setup.edge.set_tag(stream, 9);
    let response = head(200, &[]);
    setup.edge.respond(stream, &response, Body::Known(10_000));
    let framing = encoded(&response).len() + data(10_000, b"").len();
    assert_eq!(setup.edge.send_body(stream, Bytes::from(vec![1; 10_000])), 4000 - framing);
    assert!(setup.edge.has_unsent(stream) && !setup.edge.finish(stream, None));
    setup.run();
    assert!(setup.events().is_empty());
    let budget = setup.settings.responses.clone();
    assert!((6000..7000).contains(&budget.used()), "{} bytes wait", budget.used());
    let (mut bytes, mut end) = setup.client.read(id);
    let (mut accepted, mut kinds) = (0, Vec::new());
    while end == ReadEnd::Open {
        setup.run();
        for event in setup.events() {
            assert_eq!((event.stream, event.tag), (stream, Some(9)));
            match event.kind {
                EventKind::Accepted(count) => accepted += count,
                other => kinds.push(format!("{other:?}")),
            }
        }
        let part;
        (part, end) = setup.client.read(id);
        assert!(!part.is_empty() || end == ReadEnd::Complete);
        bytes.extend(part);
    }
    assert_eq!((accepted, kinds, end), (6000 + framing, vec!["Sent".to_owned()], ReadEnd::Complete));
    assert!(bytes == [encoded(&response), data(10_000, &[1; 10_000])].concat());
    assert!(!setup.edge.has_unsent(stream));
    setup.run();
    assert_eq!(budget.used(), 0);
}

#[test]
fn small_pieces_wait_behind_large_ones_and_are_credited_once() {
    let mut setup = Setup::with_window(2000);
    let (id, stream) = setup.request(&GET, b"", true);
    setup.edge.respond(stream, &head(200, &[]), Body::Chunked);
    let mut credited = setup.edge.send_body(stream, Bytes::from(vec![1; 3000]));
    let mut sent = 3000;
    for length in [10, 1500, 20] {
        credited += setup.edge.send_body(stream, Bytes::from(vec![2; length]));
        sent += length;
    }
    assert!(credited < 2000 && setup.edge.has_unsent(stream));
    assert!(!setup.edge.finish(stream, Some(&fields(&[("x-end", "1")]))));
    assert!(!setup.edge.finish(stream, None), "again");
    assert_eq!(setup.edge.send_body(stream, Bytes::from_static(b"late")), 4, "swallowed");
    let mut end = ReadEnd::Open;
    let mut bytes = Vec::new();
    while end == ReadEnd::Open {
        setup.run();
        for event in setup.events() {
            if let EventKind::Accepted(count) = event.kind {
                credited += count;
            }
        }
        let part;
        (part, end) = setup.client.read(id);
        bytes.extend(part);
    }
    assert_eq!(credited, sent);
    let mut expected = encoded(&head(200, &[]));
    for (value, length) in [(1, 3000), (2, 10), (2, 1500), (2, 20)] {
        expected.extend(data(length, &vec![value; length as usize]));
    }
    h3::encode_trailers(&mut expected, &fields(&[("x-end", "1")]));
    assert!(bytes == expected);
}

#[test]
fn interim_responses_that_wait_are_bounded() {
    let mut transport = quinn_proto::TransportConfig::default();
    transport.stream_receive_window(100_u32.into());
    let mut setup = Setup::with(transport, |settings| settings.stream_buffer = 1000);
    let (id, stream) = setup.request(&POST, b"", false);
    let hints = head(103, &[("link", &"v".repeat(350))]);
    let size = encoded(&hints).len();
    for _ in 0..20 {
        setup.edge.interim(stream, &hints);
    }
    setup.edge.interim(stream, &head(100, &[("x-fields", &"w".repeat(350))]));
    let response = head(200, &[]);
    setup.edge.respond(stream, &response, Body::None);
    assert!(!setup.edge.finish(stream, None));
    let (mut bytes, mut end) = (Vec::new(), ReadEnd::Open);
    while end == ReadEnd::Open {
        setup.run();
        let part;
        (part, end) = setup.client.read(id);
        bytes.extend(part);
    }
    let fit = (1000 + 100) / size;
    let all = [encoded(&hints).repeat(fit), encoded(&ResponseHead::new(100)), encoded(&response)].concat();
    assert!(bytes == all, "{} of {} bytes: {fit} fit, and 100 without its fields", bytes.len(), all.len());
}

#[test]
fn a_reset_reaches_the_client_with_its_code_and_ends_the_stream() {
    let mut setup = Setup::new();
    let (id, stream) = setup.request(&POST, &data(100, b"abc"), false);
    setup.edge.respond(stream, &head(200, &[]), Body::Chunked);
    setup.edge.reset(stream, ResetReason::ExcessiveLoad);
    setup.run();
    assert_eq!(setup.client.read(id), (vec![], ReadEnd::Reset(Code::EXCESSIVE_LOAD.0)), "what was staged is gone");
    assert_eq!(setup.client.stopped(id), Some(Code::EXCESSIVE_LOAD.0));
    assert!(setup.events().is_empty());
    assert_eq!(setup.edge.send_body(stream, Bytes::from_static(b"late")), 4);
    assert!(setup.edge.finish(stream, None) && !setup.edge.has_unsent(stream));
}

#[test]
fn calls_for_a_stream_of_a_connection_that_is_gone_do_nothing() {
    let mut setup = Setup::new();
    let (_, stream) = setup.request(&GET, b"", true);
    let now = setup.client.now;
    setup.client.connection.close(now, 0_u32.into(), Bytes::new());
    setup.run();
    assert_eq!(setup.kinds(), ["Aborted(Lost)"]);
    setup.wait(Duration::from_secs(10));
    assert_eq!((setup.edge.connections(), setup.edge.connection_id(stream)), (0, 0));
    assert_eq!((setup.edge.stream_share(stream), setup.edge.send_body(stream, Bytes::from_static(b"x"))), (0, 0));
    let mut other = setup.connect(1);
    let (edge, response) = (&mut setup.edge, head(200, &[]));
    edge.interim(stream, &response);
    edge.respond(stream, &response, Body::Chunked);
    edge.send_body(stream, Bytes::from_static(b"x"));
    assert!(edge.finish(stream, Some(&fields(&[("x", "y")]))));
    edge.set_sticky_backend(stream, 1, 1);
    edge.open_tunnel(stream);
    edge.reset(stream, ResetReason::Other);
    assert_eq!((edge.sticky_backend(stream, 1), edge.client_subject(stream), edge.unread(stream)), (None, None, 0));
    other.finish(edge);
    assert_eq!((other.lost(), edge.connections(), edge.next_event().is_none()), (None, 1, true));
}

#[test]
fn streams_share_what_a_connection_may_buffer() {
    let mut setup = Setup::with(quinn_proto::TransportConfig::default(), |settings| {
        settings.responses = Arc::new(ResponseBudget::new(1 << 30));
    });
    let (_, stream) = setup.request(&GET, b"", true);
    let alone = setup.edge.stream_share(stream);
    setup.request(&GET, b"", true);
    assert_eq!(setup.edge.stream_share(stream), alone / 2);
    assert_eq!(alone, (256 << 10) / 3);
}

#[test]
fn what_is_sent_counts_until_it_is_acknowledged() {
    let mut setup = Setup::with_window(100);
    let budget = setup.settings.responses.clone();
    let (id, stream) = setup.request(&GET, b"", true);
    setup.run();
    let hints = head(103, &[("link", &"v".repeat(350))]);
    setup.edge.interim(stream, &hints);
    let now = setup.client.now;
    while setup.edge.transmit(now, |_, _| 1, &mut Vec::new()).is_some() {}
    let size = encoded(&hints).len() as u64;
    assert_eq!(budget.used(), size, "100 bytes were sent, the others wait");
    setup.edge.reset(stream, ResetReason::Cancelled);
    setup.run();
    assert_eq!(setup.client.read(id).1, ReadEnd::Reset(Code::REQUEST_CANCELLED.0));

    let mut setup = Setup::new();
    let budget = setup.settings.responses.clone();
    let (id, stream) = setup.request(&GET, b"", true);
    setup.edge.respond(stream, &head(200, &[]), Body::Chunked);
    assert_eq!(setup.edge.send_body(stream, Bytes::new()), 0, "an empty chunk is no frame");
    let mut taken = setup.edge.send_body(stream, Bytes::from(vec![1; 50_000]));
    let mut length = 0;
    for _ in 0..100 {
        setup.wait(Duration::from_millis(2));
        length += setup.client.read(id).0.len();
        for event in setup.events() {
            if let EventKind::Accepted(count) = event.kind {
                taken += count;
            }
        }
    }
    let whole = encoded(&head(200, &[])).len() + data(50_000, b"").len() + 50_000;
    assert_eq!((taken, length), (50_000, whole));
    assert!(budget.used() < 5_000, "{} bytes although the response goes on", budget.used());
}
