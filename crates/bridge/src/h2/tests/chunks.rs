//! The result does not depend on how the input is split.

use super::*;

/// A conversation with most kinds of frames, for the streams 1 to 9.
fn conversation(wire: &mut Wire) -> Vec<u8> {
    let mut bytes = settings_frame(&[(3, 50), (4, 70_000), (0x99, 1)]);
    bytes.extend(raw(Kind::Settings, flag::ACK, 0, &[]));
    bytes.extend(wire.headers(1, &[(":status", "103"), ("link", "</a>; rel=preload")], false));
    bytes.extend(wire.headers(
        3,
        &[(":status", "200"), ("content-type", "text/plain"), ("content-length", "5003")],
        false,
    ));
    bytes.extend(wire.headers(1, &[(":status", "200"), ("content-type", "text/plain")], false));
    bytes.extend(raw(Kind::Ping, 0, 0, b"pingping"));
    bytes.extend(data(3, &[b'x'; 5000], false));
    let block = wire.block(&[(":status", "500"), ("content-type", "text/plain"), ("x-long", &"v".repeat(300))]);
    bytes.extend(raw(Kind::Headers, flag::END_STREAM, 5, &block[..20]));
    bytes.extend(raw(Kind::Continuation, 0, 5, &[]));
    bytes.extend(raw(Kind::Continuation, flag::END_HEADERS, 5, &block[20..]));
    let padded = [&[100][..], &[b'y'; 3000], &[0; 100]].concat();
    bytes.extend(raw(Kind::Data, flag::PADDED, 1, &padded));
    bytes.extend(raw(Kind::Unknown, 0xff, 0x1234, b"ignored"));
    bytes.extend(window_update(0, 1000));
    bytes.extend(window_update(7, 1000));
    bytes.extend(reset(7, Code::REFUSED_STREAM));
    bytes.extend(data(3, b"end", true));
    bytes.extend(wire.headers(1, &[("grpc-status", "0")], true));
    bytes.extend(window_update(7, 5));
    bytes.extend(raw(Kind::Ping, flag::ACK, 0, &[9; 8]));
    bytes.extend(go_away(7, Code::NO_ERROR));
    bytes
}

/// Returns the events, with adjacent parts of a body joined, and all bytes written.
fn run(chunk: usize) -> (Vec<String>, Vec<u8>) {
    let mut wire = Wire::silent(&Config::default());
    for _ in 0..5 {
        wire.get();
    }
    let id = wire.client.open_streams().map(|(_, id, _)| id).nth(3).unwrap();
    wire.client.send_data(id, &mut Bytes::from_static(b"dropped"), true);
    let bytes = conversation(&mut wire);
    let mut events = Vec::new();
    let mut body: Option<(u64, Vec<u8>)> = None;
    let mut written = Vec::new();
    for part in bytes.chunks(chunk) {
        wire.input.extend_from_slice(part);
        while let Some(event) = wire.client.recv(&mut wire.input).unwrap() {
            if let Event::Data { tag, id, data, end } = &event {
                wire.client.release(*id, data.len());
                let (_, bytes) = body.get_or_insert((*tag, Vec::new()));
                bytes.extend_from_slice(data);
                if !end {
                    continue;
                }
            }
            if let Some((tag, bytes)) = body.take() {
                events.push(format!("body {tag} {} {}", bytes.len(), String::from_utf8_lossy(&bytes[..3])));
            }
            events.push(show(&event).chars().take(80).collect());
        }
        written.extend(wire.written());
    }
    assert!(wire.input.is_empty());
    (events, written)
}

#[test]
fn any_chunking_gives_the_same_events_and_output() {
    let (events, written) = run(usize::MAX);
    assert_eq!(events.len(), 14, "{events:#?}");
    for chunk in [1, 2, 3, 5, 7, 8, 9, 10, 11, 100, 1000, 1023, 1024, 1025, 4096] {
        let (same, bytes) = run(chunk);
        assert_eq!(same, events, "chunks of {chunk}");
        assert_eq!(bytes, written, "chunks of {chunk}");
    }
}

#[test]
fn an_incomplete_frame_is_delivered_in_parts_of_a_minimum_size() {
    let mut wire = Wire::new();
    wire.get();
    let head = wire.headers(1, &[(":status", "200"), ("content-length", "5000")], false);
    wire.feed(&head);
    let frame = data(1, &[b'x'; 5000], true);
    assert_eq!(wire.feed(&frame[..1000]), [""; 0]);
    assert_eq!(wire.feed(&frame[1000..1033]), ["data 1 [1024]"]);
    assert_eq!(wire.feed(&frame[1033..4999]), ["data 1 [3966]"]);
    assert_eq!(wire.feed(&frame[4999..5008]), [""; 0]);
    assert_eq!(wire.feed(&frame[5008..]), ["data 1 xxxxxxxxxx end"]);
}
