//! Packets of every kind of frame, with and without padding.

use super::{MIN_PADDING, StreamFrame, walk};

fn length_without(payload: &[u8]) -> usize {
    walk(payload, |_| {})
}

/// Every frame type, in its shortest form and in the forms that change its length.
const FRAMES: [(&str, &[u8]); 25] = [
    ("PING", &[0x01]),
    ("ACK", &[0x02, 9, 0, 0, 0]),
    ("ACK of three ranges", &[0x02, 0x40, 90, 0, 2, 1, 0, 3, 7, 0]),
    ("ACK with ECN counts", &[0x03, 9, 0, 1, 1, 0, 0, 5, 0, 0]),
    ("RESET_STREAM", &[0x04, 0, 0, 0]),
    ("STOP_SENDING", &[0x05, 0, 0]),
    ("CRYPTO", &[0x06, 0, 3, 0, 0, 0]),
    ("NEW_TOKEN", &[0x07, 2, 0, 0]),
    ("STREAM with length", &[0x0a, 0, 2, 0, 0]),
    ("STREAM with offset and length", &[0x0f, 4, 0x80, 0, 0, 0, 1, 0]),
    ("empty STREAM", &[0x0b, 8, 0]),
    ("MAX_DATA", &[0x10, 0]),
    ("MAX_STREAM_DATA", &[0x11, 0, 0]),
    ("MAX_STREAMS", &[0x12, 0]),
    ("MAX_STREAMS, one way", &[0x13, 0]),
    ("DATA_BLOCKED", &[0x14, 0]),
    ("STREAM_DATA_BLOCKED", &[0x15, 0, 0]),
    ("STREAMS_BLOCKED", &[0x16, 0]),
    ("RETIRE_CONNECTION_ID", &[0x19, 0]),
    ("NEW_CONNECTION_ID", &[0x18, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ("PATH_CHALLENGE", &[0x1a, 0, 0, 0, 0, 0, 0, 0, 0]),
    ("PATH_RESPONSE", &[0x1b, 1, 0, 0, 0, 0, 0, 0, 0]),
    ("CONNECTION_CLOSE", &[0x1c, 0, 0, 1, 0]),
    ("CONNECTION_CLOSE of the application", &[0x1d, 0, 0]),
    ("HANDSHAKE_DONE", &[0x1e]),
];

fn padded(frames: &[&[u8]], padding: usize) -> Vec<u8> {
    let mut payload = frames.concat();
    payload.resize(payload.len() + padding, 0);
    payload
}

#[test]
fn padding_ends_where_the_last_frame_does_whatever_it_is() {
    for (first, one) in FRAMES {
        for (second, two) in FRAMES {
            for padding in [MIN_PADDING, 1200] {
                let payload = padded(&[one, two], padding);
                assert_eq!(length_without(&payload), one.len() + two.len(), "{first}, {second}, {padding}");
            }
        }
    }
}

#[test]
fn padding_between_frames_stays() {
    let payload = padded(&[&[0x01], &[0; 100], &[0x0a, 0, 1, 0]], 500);
    assert_eq!(length_without(&payload), 105);
}

#[test]
fn zeros_of_a_stream_are_data() {
    // Without a length field the data of STREAM extends to the end of the packet.
    for frame in [&[0x08, 0][..], &[0x09, 0], &[0x0c, 0, 0], &[0x0d, 0, 1]] {
        let payload = padded(&[&[0x01], frame], 1000);
        assert_eq!(length_without(&payload), payload.len());
    }
    let payload = padded(&[&[0x0a, 0, 0x43, 0xe8]], 1000 + MIN_PADDING);
    assert_eq!(length_without(&payload), 1004, "a thousand bytes of data, then padding");
}

#[test]
fn a_packet_of_padding_alone_keeps_a_frame() {
    assert_eq!(length_without(&[0; 1200]), 1);
    assert_eq!(length_without(&[0]), 1);
    assert_eq!(length_without(&[]), 0);
}

#[test]
fn short_padding_and_malformed_payloads_stay_unchanged() {
    let short = padded(&[&[0x01]], MIN_PADDING - 1);
    assert_eq!(length_without(&short), short.len());
    for (what, frame) in [
        ("unknown", &[0x21][..]),
        ("a type of two bytes", &[0x40, 0x01]),
        ("DATAGRAM", &[0x30, 7]),
        ("more ranges than bytes", &[0x02, 9, 0, 0x7f, 0xff]),
        ("so many ranges that doubling them overflows", &[0x02, 9, 0, 0xff, 255, 255, 255, 255, 255, 255, 255]),
        ("longer than the packet", &[0x06, 0, 0x7f, 0xff]),
    ] {
        let payload = padded(&[&[0x01], frame], 100);
        assert_eq!(length_without(&payload), payload.len(), "{what}");
    }
}

#[test]
fn stream_frames_are_reported_with_their_range() {
    let payload = padded(&[&[0x01], &[0x0f, 4, 0x40, 200, 2, 7, 7], &[0x0a, 8, 1, 7], &[0x0b, 12, 0]], 40);
    let mut seen = Vec::new();
    assert_eq!(walk(&payload, |frame| seen.push(frame)), 15);
    let frame = |stream, offset, length, is_last| StreamFrame { stream, offset, length, is_last };
    assert_eq!(seen, [frame(4, 200, 2, true), frame(8, 0, 1, false), frame(12, 0, 0, true)]);
    // Without a length field the data extends to the end, zeros included.
    seen.clear();
    assert_eq!(walk(&padded(&[&[0x08, 0, 7]], 50), |frame| seen.push(frame)), 53);
    assert_eq!(seen, [frame(0, 0, 51, false)]);
    // Nor more than the packet has.
    seen.clear();
    assert_eq!(walk(&[0x0a, 0, 9, 1], |frame| seen.push(frame)), 4);
    assert_eq!(seen, []);
}
