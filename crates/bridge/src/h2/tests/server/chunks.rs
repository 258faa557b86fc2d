//! The result does not depend on how the input is split.

use super::*;

fn conversation(wire: &mut Wire) -> Vec<u8> {
    let mut bytes = [PREFACE, &settings_frame(&[(3, 50), (4, 70_000), (0x99, 1)])].concat();
    bytes.extend(raw(Kind::Settings, flag::ACK, 0, &[]));
    bytes.extend(wire.headers(1, &with(&POST, &[("content-length", "5003")]), false));
    bytes.extend(wire.headers(3, &GET, true));
    bytes.extend(raw(Kind::Ping, 0, 0, b"pingping"));
    bytes.extend(data(1, &[b'x'; 5000], false));
    let long = "v".repeat(300);
    let block = wire.headers(5, &with(&GET, &[("x-long", &long)]), true)[HEADER_LEN..].to_vec();
    bytes.extend(raw(Kind::Headers, flag::END_STREAM, 5, &block[..20]));
    bytes.extend(raw(Kind::Continuation, 0, 5, &[]));
    bytes.extend(raw(Kind::Continuation, flag::END_HEADERS, 5, &block[20..]));
    bytes.extend(wire.headers(7, &POST, false));
    let padded = [&[100][..], &[b'y'; 3000], &[0; 100]].concat();
    bytes.extend(raw(Kind::Data, flag::PADDED, 7, &padded));
    bytes.extend(raw(Kind::Unknown, 0xff, 0x1234, b"ignored"));
    bytes.extend(window_update(0, 1000));
    bytes.extend(window_update(3, 1000));
    bytes.extend(reset(3, Code::CANCEL));
    bytes.extend(wire.headers(9, &GET[1..], false));
    bytes.extend(data(9, b"dropped", true));
    bytes.extend(data(1, b"end", true));
    bytes.extend(wire.headers(7, &[("x-sum", "0")], true));
    bytes.extend(raw(Kind::Ping, flag::ACK, 0, &[9; 8]));
    bytes.extend(go_away(0, Code::NO_ERROR));
    bytes
}

/// Returns the events, with adjacent parts of a body joined, and all bytes written.
fn run(chunk: usize) -> (Vec<String>, Vec<u8>) {
    let mut wire = Wire::silent(&ServerConfig::default());
    let bytes = conversation(&mut wire);
    let mut events = Vec::new();
    let mut body: Option<(u64, Vec<u8>)> = None;
    let mut written = Vec::new();
    for part in bytes.chunks(chunk) {
        wire.input.extend_from_slice(part);
        while let Some(event) = wire.server.recv(&mut wire.input, wire.now).unwrap() {
            if let ServerEvent::Data { tag, id, data, end } = &event {
                wire.server.release(*id, data.len());
                let (_, bytes) = body.get_or_insert((*tag, Vec::new()));
                bytes.extend_from_slice(data);
                if !end {
                    continue;
                }
            }
            if let Some((tag, bytes)) = body.take() {
                events.push(format!("body {tag} {} {}", bytes.len(), String::from_utf8_lossy(&bytes[..3])));
            }
            if let ServerEvent::Request { id, .. } = &event {
                wire.server.set_tag(*id, u64::from(id.number()));
                wire.server.send_head(*id, &response(200), id.number() == 5);
            }
            events.push(show_event(&event).chars().take(80).collect());
        }
        written.extend(wire.written());
    }
    assert!(wire.input.is_empty());
    (events, written)
}

#[test]
fn any_chunking_gives_the_same_events_and_output() {
    let (events, written) = run(usize::MAX);
    let expected = [
        "request 1 Post /",
        "request 3 Get / end",
        "body 1 5000 xxx",
        "request 5 Get / end",
        "request 7 Post /",
        "body 7 3000 yyy",
        "reset 3 CANCEL",
        "malformed head 9 no :method",
        "body 1 3 end",
        "data 1 end end",
        "trailers 7 x-sum=0",
        "pong 651061555542690057",
        "goaway NO_ERROR",
    ];
    assert_eq!(events, expected);
    for chunk in [1, 2, 3, 5, 7, 8, 9, 10, 11, 23, 24, 25, 100, 1000, 1023, 1024, 1025, 4096] {
        let (same, bytes) = run(chunk);
        assert_eq!(same, events, "chunks of {chunk}");
        assert_eq!(bytes, written, "chunks of {chunk}");
    }
}
