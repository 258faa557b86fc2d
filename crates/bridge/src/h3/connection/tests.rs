//! Violations of every rule for unidirectional streams, received whole and byte by byte.

use super::{super::ErrorScope, *};

fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_varint(kind, &mut out);
    write_varint(payload.len() as u64, &mut out);
    out.extend_from_slice(payload);
    out
}

fn varint(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    write_varint(value, &mut out);
    out
}

fn feed(connection: &mut Connection, stream: u64, bytes: &[u8], step: usize) -> Result<Vec<UniEvent>, Error> {
    let mut events = Vec::new();
    for chunk in bytes.chunks(step) {
        let mut chunk = Bytes::copy_from_slice(chunk);
        while !chunk.is_empty() {
            events.extend(connection.recv_uni(stream, &mut chunk, Duration::ZERO)?);
        }
    }
    Ok(events)
}

/// Passes each stream (id, bytes) whole, then byte by byte to another connection, and checks that the outcome is the
/// same.
fn outcome(streams: &[(u64, Vec<u8>)]) -> Result<Vec<UniEvent>, Code> {
    let run = |step: usize| {
        let mut connection = Connection::new(Settings::default());
        let mut events = Vec::new();
        for (id, bytes) in streams {
            events.extend(feed(&mut connection, *id, bytes, step)?);
        }
        Ok::<_, Error>(events)
    };
    let whole = run(usize::MAX);
    assert_eq!(run(1), whole);
    whole.map_err(|error| {
        assert_eq!(error.scope, ErrorScope::Connection);
        error.code
    })
}

/// A control stream that begins with empty SETTINGS.
fn control(frames: &[Vec<u8>]) -> Result<Vec<UniEvent>, Code> {
    outcome(&[(2, [&[0x00, 0x04, 0x00], frames.concat().as_slice()].concat())])
}

#[test]
fn opening_announces_the_limits() {
    let mut out = Vec::new();
    let local = Settings { max_field_section_size: 5000, enable_connect_protocol: true };
    Connection::new(local).encode_opening(&mut out);
    assert_eq!(out[..2], [0x00, 0x04]);
    assert_eq!(usize::from(out[2]), out.len() - 3);
    let mut pairs = Vec::new();
    let mut src = &out[3..];
    while let Some(id) = read_varint(&mut src) {
        pairs.push((id, read_varint(&mut src).unwrap()));
    }
    assert_eq!(pairs[..3], [(0x06, 5000), (0x01, 0), (0x07, 0)]);
    assert_eq!((pairs[3].0 - 0x21) % 0x1f, 0, "one reserved identifier");
    assert_eq!(pairs[4..], [(0x08, 1)]);
    let mut without = Vec::new();
    Connection::new(Settings { enable_connect_protocol: false, ..local }).encode_opening(&mut without);
    assert_eq!(without.len(), out.len() - 2, "not even named");
    let mut peer = Connection::new(Settings::default());
    assert_eq!(feed(&mut peer, 3, &out, 1), Ok(vec![UniEvent::Settings]), "what is sent can be read");
    assert!(peer.peer().enable_connect_protocol);
}

#[test]
fn settings_are_kept() {
    let mut connection = Connection::new(Settings::default());
    assert_eq!(*connection.peer(), PeerSettings::default());
    let payload = [vec![0x06], varint(20_000), vec![0x01], varint(4096), vec![0x07, 16, 0x08, 1, 0x21, 5]].concat();
    let bytes = [vec![0x00], frame(frame::SETTINGS, &payload)].concat();
    assert_eq!(feed(&mut connection, 2, &bytes, 3), Ok(vec![UniEvent::Settings]));
    let expected = PeerSettings {
        max_field_section_size: Some(20_000),
        qpack_max_table_capacity: 4096,
        qpack_blocked_streams: 16,
        enable_connect_protocol: true,
    };
    assert_eq!(*connection.peer(), expected);
}

#[test]
fn settings_that_are_wrong() {
    let settings = |payload: &[u8]| outcome(&[(2, [vec![0x00], frame(frame::SETTINGS, payload)].concat())]);
    for id in [0x00, 0x02, 0x03, 0x04, 0x05] {
        assert_eq!(settings(&[id, 0]), Err(Code::SETTINGS_ERROR), "identifier {id} of HTTP/2");
    }
    assert_eq!(settings(&[0x06, 1, 0x06, 1]), Err(Code::SETTINGS_ERROR), "twice");
    assert_eq!(settings(&[0x21, 1, 0x21, 2]), Err(Code::SETTINGS_ERROR), "unknown, twice");
    assert_eq!(settings(&[0x08, 2]), Err(Code::SETTINGS_ERROR), "neither 0 nor 1");
    assert_eq!(settings(&[0x06]), Err(Code::FRAME_ERROR), "identifier without value");
    assert_eq!(settings(&[0x06, 0x40]), Err(Code::FRAME_ERROR), "half a value");
    let many: Vec<u8> = (0..200u64).flat_map(|n| [varint(0x21 + 0x1f * (n + 1)), vec![0]].concat()).collect();
    assert_eq!(settings(&many), Err(Code::EXCESSIVE_LOAD));
    assert_eq!(settings(&vec![0x21; MAX_SETTINGS_BYTES as usize + 1]), Err(Code::EXCESSIVE_LOAD));
}

#[test]
fn the_order_on_the_control_stream() {
    let first = |kind, payload: &[u8]| outcome(&[(2, [vec![0x00], frame(kind, payload)].concat())]);
    assert_eq!(first(frame::GOAWAY, &[0]), Err(Code::MISSING_SETTINGS));
    assert_eq!(first(frame::DATA, b"x"), Err(Code::MISSING_SETTINGS));
    assert_eq!(first(0x21, b"grease"), Err(Code::MISSING_SETTINGS));
    assert_eq!(control(&[frame(frame::SETTINGS, &[])]), Err(Code::FRAME_UNEXPECTED), "second SETTINGS");
    for kind in [0x00, 0x01, 0x02, 0x05, 0x06, 0x08, 0x09] {
        assert_eq!(control(&[frame(kind, b"")]), Err(Code::FRAME_UNEXPECTED), "type {kind:#x}");
    }
    let unknown = [frame(0x21, b"grease"), frame(0xf0700, b"\x00u=1"), frame(0x40, b""), frame(frame::GOAWAY, &[0])];
    assert_eq!(control(&unknown), Ok(vec![UniEvent::Settings, UniEvent::Goaway(0)]));
}

#[test]
fn ids_on_the_control_stream() {
    let goaway = |id| frame(frame::GOAWAY, &varint(id));
    let max = |id| frame(frame::MAX_PUSH_ID, &varint(id));
    let events = vec![UniEvent::Settings, UniEvent::Goaway(9), UniEvent::Goaway(9), UniEvent::Goaway(4)];
    assert_eq!(control(&[goaway(9), goaway(9), goaway(4)]), Ok(events));
    assert_eq!(control(&[goaway(9), goaway(10)]), Err(Code::ID_ERROR));
    assert_eq!(control(&[max(0), max(0), max(100)]), Ok(vec![UniEvent::Settings]));
    assert_eq!(control(&[max(100), max(99)]), Err(Code::ID_ERROR));
    assert_eq!(control(&[max(100), frame(frame::CANCEL_PUSH, &[1])]), Err(Code::ID_ERROR), "never promised");
    for kind in [frame::GOAWAY, frame::MAX_PUSH_ID, frame::CANCEL_PUSH] {
        for payload in [&b""[..], &[0, 0], &[0x40], &[0; 9]] {
            assert_eq!(control(&[frame(kind, payload)]), Err(Code::FRAME_ERROR), "{kind:#x} {payload:?}");
        }
    }
}

#[test]
fn kinds_of_streams() {
    let settings = || (2, vec![0x00, 0x04, 0x00]);
    let stop = UniEvent::StopSending(Code::STREAM_CREATION_ERROR);
    let plain = [settings(), (6, vec![0x02, 0x20]), (10, vec![0x03, 0x40])];
    assert_eq!(outcome(&plain), Ok(vec![UniEvent::Settings]));
    let unknown = [(14, [varint(0x21), b"anything".to_vec()].concat()), (14, b"\x00\x01".to_vec())];
    assert_eq!(outcome(&unknown), Ok(vec![stop]), "told once, ignored from then on");
    for kind in [0x00, 0x02, 0x03] {
        assert_eq!(outcome(&[(2, vec![kind]), (6, vec![kind])]), Err(Code::STREAM_CREATION_ERROR), "second {kind}");
    }
    assert_eq!(outcome(&[(2, vec![0x01])]), Err(Code::STREAM_CREATION_ERROR), "push");
}

#[test]
fn qpack_streams_without_dynamic_table() {
    assert_eq!(outcome(&[(6, vec![0x02, 0x21])]), Err(Code::QPACK_ENCODER_STREAM_ERROR), "capacity 1");
    assert_eq!(outcome(&[(6, vec![0x02, 0xc0, 0x00])]), Err(Code::QPACK_ENCODER_STREAM_ERROR), "insertion");
    assert_eq!(outcome(&[(10, vec![0x03, 0x80])]), Err(Code::QPACK_DECODER_STREAM_ERROR), "acknowledgement");
    assert_eq!(outcome(&[(10, vec![0x03, 0x01])]), Err(Code::QPACK_DECODER_STREAM_ERROR), "increment");
    let cancellations = [vec![0x03, 0x40, 0x44], vec![0x7f, 0x80, 0x01]].concat();
    assert_eq!(outcome(&[(10, cancellations)]), Ok(vec![]));
}

#[test]
fn streams_that_must_stay_open() {
    for (kind, may_close) in [(0x00, false), (0x02, false), (0x03, false), (0x21, true)] {
        let mut connection = Connection::new(Settings::default());
        assert!(!connection.is_typed(2));
        feed(&mut connection, 2, &varint(kind), 1).unwrap();
        assert!(connection.is_typed(2));
        let ended = connection.uni_finished(2, Duration::ZERO).map_err(|error| error.code);
        assert_eq!(ended, if may_close { Ok(()) } else { Err(Code::CLOSED_CRITICAL_STREAM) }, "{kind:#x}");
    }
    let mut connection = Connection::new(Settings::default());
    feed(&mut connection, 2, &[0x40], 1).unwrap();
    assert!(!connection.is_typed(2));
    assert_eq!(connection.uni_finished(2, Duration::ZERO), Ok(()), "before its type was complete");
    assert_eq!(connection.uni_finished(6, Duration::ZERO), Ok(()), "never seen");
    let mut ended = (0..1000).map(|id| connection.uni_finished(4 * id + 10, Duration::ZERO));
    let error = ended.find_map(Result::err).unwrap();
    assert_eq!(error.code, Code::EXCESSIVE_LOAD, "streams that say nothing");
}

#[test]
fn goaway_never_rises() {
    let mut connection = Connection::new(Settings::default());
    let mut out = Vec::new();
    for id in [(1 << 62) - 4, 8, 400] {
        connection.encode_goaway(id, &mut out);
    }
    let expected = [(1 << 62) - 4, 8, 8].map(|id| frame(frame::GOAWAY, &varint(id))).concat();
    assert_eq!(out, expected);
}

#[test]
fn streams_are_bounded() {
    let mut connection = Connection::new(Settings::default());
    feed(&mut connection, 2, &[0x00, 0x04, 0x00], 1).unwrap();
    for id in 1..1000 {
        feed(&mut connection, 4 * id + 2, &varint(0x21), 1).unwrap();
    }
    assert!(connection.unis.len() <= MAX_UNI_STREAMS);
    connection.remove_uni(4 * 999 + 2);
    assert!(!connection.unis.iter().any(|uni| uni.id == 4 * 999 + 2), "stopped");
    assert!(connection.uni_finished(2, Duration::ZERO).is_err(), "the control stream is not what is forgotten");
    let mut untyped = Connection::new(Settings::default());
    let error = (0..1000).find_map(|id| feed(&mut untyped, 4 * id + 2, &[0x40], 1).err()).unwrap();
    assert_eq!(error.code, Code::EXCESSIVE_LOAD);
}

#[test]
fn floods() {
    let limit = 500;
    assert!(control(&vec![frame(0x21, b""); limit]).is_ok());
    assert_eq!(control(&vec![frame(0x21, b""); limit + 2]), Err(Code::EXCESSIVE_LOAD), "empty frames");
    let pushes: Vec<_> = (0..limit as u64 + 2).map(|id| frame(frame::MAX_PUSH_ID, &varint(id))).collect();
    assert_eq!(control(&pushes), Err(Code::EXCESSIVE_LOAD), "MAX_PUSH_ID");
    let updates = vec![frame(0xf0700, b"\x00u=1"); 4 * limit];
    assert!(control(&updates).is_ok(), "priority updates have a use elsewhere");
    let capacity = [vec![0x02], vec![0x20; limit + 1]].concat();
    assert_eq!(outcome(&[(6, capacity)]), Err(Code::EXCESSIVE_LOAD), "capacities");

    let counts = |useless, all| FrameCounts { useless, all };
    let mut streams = Connection::new(Settings::default());
    assert_eq!(streams.note_frames(counts(500, 500), Duration::ZERO), Ok(()));
    assert_eq!(streams.note_frames(counts(500, 500), Duration::from_secs(10)), Ok(()), "slowly");
    assert_eq!(streams.note_frames(counts(500, 1500), Duration::from_secs(10)), Ok(()), "outweighed");
    let error = streams.note_frames(counts(1, 1), Duration::from_secs(19)).unwrap_err();
    assert_eq!((error.scope, error.code), (ErrorScope::Connection, Code::EXCESSIVE_LOAD));

    let mut connection = Connection::new(Settings::default());
    let cancel_all = |connection: &mut Connection, count: u32, at: Duration| {
        (0..count).try_for_each(|_| {
            connection.request_opened(at);
            connection.request_aborted(at)
        })
    };
    assert_eq!(cancel_all(&mut connection, 500, Duration::ZERO), Ok(()));
    let error = cancel_all(&mut connection, 1, Duration::from_secs(9)).unwrap_err();
    assert_eq!((error.scope, error.code), (ErrorScope::Connection, Code::EXCESSIVE_LOAD));
    assert_eq!(cancel_all(&mut connection, 499, Duration::from_secs(10)), Ok(()), "the first ones are forgotten");
    let mut busy = Connection::new(Settings::default());
    (0..1002).for_each(|_| busy.request_opened(Duration::ZERO));
    assert_eq!(cancel_all(&mut busy, 900, Duration::ZERO), Ok(()), "less than half of all");
}
