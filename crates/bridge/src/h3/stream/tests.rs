//! Frames in every order and in pieces, and violations of every rule.

use super::{
    super::{ErrorScope, frame::write_varint},
    *,
};

const LIMITS: HeadLimits = HeadLimits { max_fields: 16, max_bytes: 1000 };

/// `:method GET`, `:path /`.
const HEAD: &[u8] = &[0, 0, 0xd1, 0xc1];

fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_varint(kind, &mut out);
    write_varint(payload.len() as u64, &mut out);
    out.extend_from_slice(payload);
    out
}

/// The parts received, with adjacent body bytes joined, and how the stream ended.
fn run(stream: &mut RecvStream, chunks: &[&[u8]]) -> (Vec<String>, Result<(), Error>) {
    let mut parts: Vec<String> = Vec::new();
    for chunk in chunks {
        let mut chunk = Bytes::copy_from_slice(chunk);
        loop {
            match stream.recv(&mut chunk, &LIMITS) {
                Ok(Some(Received::Headers(fields))) => parts.push(format!("head {}", fields.len())),
                Ok(Some(Received::Trailers(fields))) => parts.push(format!("trailers {}", fields.len())),
                Ok(Some(Received::Data(data))) => {
                    assert!(!data.is_empty());
                    let text = String::from_utf8_lossy(&data).into_owned();
                    match parts.last_mut().filter(|last| last.starts_with('=')) {
                        Some(last) => last.push_str(&text),
                        None => parts.push(format!("={text}")),
                    }
                }
                Ok(None) => break,
                Err(error) => return (parts, Err(error)),
            }
        }
        assert!(chunk.is_empty());
    }
    (parts, stream.finish())
}

/// Parses the bytes whole, byte by byte, and split in two at every position, and checks that the outcome is the same.
fn outcome(bytes: &[u8]) -> (Vec<String>, Result<(), Error>) {
    let whole = run(&mut RecvStream::new(), &[bytes]);
    let singles: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(run(&mut RecvStream::new(), &singles), whole, "byte by byte");
    if bytes.len() < 300 {
        for at in 0..bytes.len() {
            let (left, right) = bytes.split_at(at);
            assert_eq!(run(&mut RecvStream::new(), &[left, right]), whole, "cut at {at}");
        }
    }
    whole
}

fn error_of(frames: &[Vec<u8>]) -> Option<(ErrorScope, Code)> {
    outcome(&frames.concat()).1.err().map(|error| (error.scope, error.code))
}

const CONNECTION: ErrorScope = ErrorScope::Connection;

#[test]
fn a_whole_message() {
    let bytes = [
        frame(0x21, b"grease"),
        frame(frame::HEADERS, HEAD),
        frame(0x21, b""),
        frame(frame::DATA, b"one "),
        frame(frame::DATA, b""),
        frame(frame::DATA, b"two"),
        frame(frame::HEADERS, &[0, 0, 0x21, b'a', 1, b'b']),
        frame(0x1f * 7 + 0x21, b"more"),
    ];
    let expected = ["head 2", "=one two", "trailers 1"].map(str::to_owned).to_vec();
    assert_eq!(outcome(&bytes.concat()), (expected, Ok(())));
    assert_eq!(outcome(&frame(frame::HEADERS, HEAD)), (vec!["head 2".to_owned()], Ok(())));
}

#[test]
fn body_bytes_are_not_copied() {
    let mut stream = RecvStream::new();
    let bytes = Bytes::from([frame(frame::HEADERS, HEAD), frame(frame::DATA, b"body")].concat());
    let mut chunk = bytes.clone();
    assert!(matches!(stream.recv(&mut chunk, &LIMITS), Ok(Some(Received::Headers(_)))));
    let Ok(Some(Received::Data(data))) = stream.recv(&mut chunk, &LIMITS) else { panic!("no data") };
    assert_eq!(data.as_ptr(), bytes[bytes.len() - 4..].as_ptr());
}

#[test]
fn frames_on_the_wrong_stream_type() {
    let head = || frame(frame::HEADERS, HEAD);
    let data = || frame(frame::DATA, b"x");
    let unexpected = Some((CONNECTION, Code::FRAME_UNEXPECTED));
    assert_eq!(error_of(&[data(), head()]), unexpected, "DATA first");
    assert_eq!(error_of(&[frame(frame::DATA, b"")]), unexpected, "empty DATA first");
    assert_eq!(error_of(&[head(), head(), data()]), unexpected, "DATA after trailers");
    assert_eq!(error_of(&[head(), data(), head(), head()]), unexpected, "HEADERS after trailers");
    for kind in [0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0d] {
        assert_eq!(error_of(&[frame(kind, b"")]), unexpected, "type {kind:#x} first");
        assert_eq!(error_of(&[head(), frame(kind, &[0; 9])]), unexpected, "type {kind:#x} later");
    }
}

#[test]
fn only_data_is_allowed_in_a_tunnel() {
    let mut stream = RecvStream::new();
    let mut chunk = Bytes::from(frame(frame::HEADERS, HEAD));
    assert!(matches!(stream.recv(&mut chunk, &LIMITS), Ok(Some(Received::Headers(_)))));
    stream.enter_tunnel();
    let data = [frame(frame::DATA, b"raw"), frame(0x21, b"")].concat();
    assert_eq!(run(&mut stream, &[&data]), (vec!["=raw".to_owned()], Ok(())));
    let error = run(&mut stream, &[&frame(frame::HEADERS, HEAD)]).1.unwrap_err();
    assert_eq!((error.scope, error.code), (CONNECTION, Code::FRAME_UNEXPECTED));
}

#[test]
fn invalid_endings() {
    assert_eq!(error_of(&[]), Some((ErrorScope::Stream, Code::REQUEST_INCOMPLETE)));
    assert_eq!(error_of(&[frame(0x21, b"only grease")]), Some((ErrorScope::Stream, Code::REQUEST_INCOMPLETE)));
    let cut = |bytes: &[u8], by: usize| error_of(&[frame(frame::HEADERS, HEAD), bytes[..bytes.len() - by].to_vec()]);
    let frame_error = Some((CONNECTION, Code::FRAME_ERROR));
    assert_eq!(cut(&frame(frame::DATA, b"xy"), 1), frame_error, "inside DATA");
    assert_eq!(cut(&frame(frame::DATA, b"xy"), 2), frame_error, "before the payload");
    assert_eq!(cut(&frame(frame::HEADERS, HEAD), 1), frame_error, "inside trailers");
    assert_eq!(cut(&frame(0x21, b"xy"), 1), frame_error, "inside an unknown frame");
    assert_eq!(cut(&[0x00], 0), frame_error, "inside a frame header");
}

#[test]
fn field_sections_that_cannot_be_read() {
    let failed = Some((CONNECTION, Code::QPACK_DECOMPRESSION_FAILED));
    for section in [&[][..], &[0], &[1, 0], &[0, 0, 0x80], &[0, 0, 0xff, 0x24], &[0, 0, 0x51, 0x81, 0]] {
        assert_eq!(error_of(&[frame(frame::HEADERS, section)]), failed, "{section:x?}");
    }
}

#[test]
fn large_field_sections() {
    let section = |value: usize| {
        let mut out = vec![0, 0, 0x51];
        crate::integer::encode(7, 0, value as u64, &mut out);
        out.resize(out.len() + value, b'/');
        frame(frame::HEADERS, &out)
    };
    let largest = LIMITS.max_bytes * SECTION_FACTOR - ":path".len();
    assert_eq!(error_of(&[section(largest)]), None, "still read, to be answered");
    let load = Some((ErrorScope::Stream, Code::EXCESSIVE_LOAD));
    assert_eq!(error_of(&[section(largest + 1)]), load);
    // The announced length alone is decisive.
    for len in [(LIMITS.max_bytes * SECTION_FACTOR + SECTION_OVERHEAD + 1) as u64, (1 << 62) - 1] {
        let mut header = vec![frame::HEADERS as u8];
        write_varint(len, &mut header);
        assert_eq!(error_of(&[header]), load);
    }
}

#[test]
fn useless_frames_are_counted() {
    for useless in [frame(frame::DATA, b""), frame(0x21, b""), frame(0x21, b"something")] {
        let bytes = [frame(frame::HEADERS, HEAD), useless.repeat(7), frame(frame::DATA, b"x"), useless].concat();
        for step in [1, bytes.len()] {
            let mut stream = RecvStream::new();
            let (_, end) = run(&mut stream, &bytes.chunks(step).collect::<Vec<_>>());
            assert_eq!(end, Ok(()));
            assert_eq!(stream.take_counts(), FrameCounts { useless: 8, all: 10 });
            assert_eq!(stream.take_counts(), FrameCounts::default(), "each once");
        }
    }
}

#[test]
fn a_stream_is_small() {
    assert!(size_of::<RecvStream>() <= 64, "{}", size_of::<RecvStream>());
}
