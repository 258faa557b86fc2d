//! Arbitrary input on an HTTP/2 connection of a client: the outcome does not depend on how the bytes are split, no
//! request continues after its end, each complete one has the announced length, and what is written is in order.

use super::prng::Prng;
use bytes::{Bytes, BytesMut};
use spooky_bridge::{
    h2::{Code, ConnectionError, Server, ServerConfig, ServerEvent, StreamId},
    message::{Fields, Known, Method, Name, ResponseHead, check::HeadLimits},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::IoSlice,
    time::Duration,
};

/// The client preface and empty SETTINGS.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Properties for any input. The first eight bytes seed the split; with an odd seed the input contains the preface.
pub(crate) fn check(data: &[u8]) {
    let Some((seed, bytes)) = data.split_first_chunk::<8>() else { return };
    let seed = u64::from_le_bytes(*seed);
    let bytes = if seed % 2 == 0 { [OPENING, bytes].concat() } else { bytes.to_vec() };
    let mut whole = run(&bytes, usize::MAX, &mut Prng(seed));
    for most in [1, 50] {
        let mut cut = run(&bytes, most, &mut Prng(seed));
        // More or less of an incomplete last frame may have been delivered.
        if let (Some(Part::Body(_, left)), Some(Part::Body(_, right))) = (whole.parts.last_mut(), cut.parts.last_mut())
        {
            let common = left.len().min(right.len());
            left.truncate(common);
            right.truncate(common);
        }
        assert_eq!(cut, whole, "pieces of up to {most}");
    }
    check_order(&whole.written);
}

/// The events in order.
#[derive(Debug, PartialEq)]
enum Part {
    Request(u32, Option<u64>),
    /// Adjacent parts of a body are joined.
    Body(u32, Vec<u8>),
    End(u32),
    /// Refused, reset or malformed.
    Failed(u32, String),
    Other(String),
}

#[derive(Debug, PartialEq)]
struct Outcome {
    parts: Vec<Part>,
    error: Option<ConnectionError>,
    written: Vec<u8>,
}

/// A stream that the server reported.
struct Stream {
    missing: Option<u64>,
    is_tunnel: bool,
    has_ended: bool,
    has_answer: bool,
    /// What is left of the response body.
    rest: Bytes,
}

impl Stream {
    fn is_open(&self) -> bool {
        !self.has_answer || (self.is_tunnel && !self.has_ended)
    }
}

/// Answers requests by the last digits of their stream, as far as the windows allow.
struct Owner {
    server: Server,
    streams: BTreeMap<u32, Stream>,
    /// Streams whose response has ended before their request. The server drops the rest of the request.
    unwanted: BTreeSet<u32>,
    last: u32,
    parts: Vec<Part>,
}

impl Owner {
    fn take(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Request { id, head, end } => {
                let is_tunnel = head.method == Method::Connect;
                let missing = head.content_length;
                self.open(id, Stream { missing, is_tunnel, has_ended: end, has_answer: false, rest: Bytes::new() });
                self.parts.push(Part::Request(id.number(), missing));
                if end {
                    assert!(matches!(missing, None | Some(0)), "complete but short");
                    self.parts.push(Part::End(id.number()));
                }
                self.answer(id);
            }
            ServerEvent::Refused { id, refusal, end } => {
                self.open(
                    id,
                    Stream { missing: None, is_tunnel: false, has_ended: end, has_answer: true, rest: Bytes::new() },
                );
                self.parts.push(Part::Failed(id.number(), refusal.to_string()));
                self.server.send_head(id, &ResponseHead::new(431), true);
                self.streams.remove(&id.number());
                if !end {
                    self.unwanted.insert(id.number());
                }
            }
            ServerEvent::MalformedHead { id, reason, .. } => {
                assert!(id.number() > self.last, "a stream that was known");
                self.last = id.number();
                self.parts.push(Part::Failed(id.number(), reason.to_owned()));
            }
            ServerEvent::Data { tag, id, data, end } => self.on_data(tag, id, &data, end),
            ServerEvent::Trailers { tag, id, .. } => {
                assert_eq!(tag, u64::from(id.number()));
                self.parts.push(Part::Other("trailers".to_owned()));
                self.on_end(id);
            }
            ServerEvent::Reset { id, code, .. } => self.on_failed(id, code.to_string()),
            ServerEvent::Malformed { id, reason, .. } => self.on_failed(id, reason.to_owned()),
            ServerEvent::Sendable { id, .. } => self.send(id),
            ServerEvent::GoAway { .. } => {
                let step = self.server.shut_down_step();
                self.parts.push(Part::Other(format!("goaway {step}")));
            }
            ServerEvent::Pong(payload) => self.parts.push(Part::Other(format!("pong {payload}"))),
        }
    }

    fn open(&mut self, id: StreamId, stream: Stream) {
        assert!(id.number() > self.last && id.number() % 2 == 1, "a new stream");
        self.last = id.number();
        self.server.set_tag(id, u64::from(id.number()));
        self.streams.insert(id.number(), stream);
    }

    fn answer(&mut self, id: StreamId) {
        let number = id.number();
        let Some(stream) = self.streams.get_mut(&number) else { return };
        match number / 2 % 5 {
            0 => {
                self.server.send_head(id, &ResponseHead::new(204), true);
                stream.has_answer = true;
            }
            1 => {
                let mut head = ResponseHead::new(200);
                head.fields.push(Known::ContentType, b"text/plain");
                self.server.send_head(id, &head, false);
                stream.rest = vec![b'r'; 70_000].into();
                self.send(id);
            }
            2 => {
                self.server.reset(id, Code::INTERNAL_ERROR);
                stream.has_answer = true;
                stream.has_ended = true;
            }
            3 => {
                self.server.send_interim(id, &ResponseHead::new(103));
                self.server.send_head(id, &ResponseHead::new(200), false);
            }
            _ => {}
        }
    }

    fn send(&mut self, id: StreamId) {
        let stream = self.streams.get_mut(&id.number()).expect("a stream that is sendable");
        let sent = self.server.send_data(id, &mut stream.rest, false);
        if stream.rest.is_empty() {
            let mut trailers = Fields::new();
            trailers.push(Name::Other(b"x-end"), b"1");
            self.server.send_trailers(id, &trailers);
            stream.has_answer = true;
        }
        self.parts.push(Part::Other(format!("sent {sent}")));
    }

    fn on_data(&mut self, tag: u64, id: StreamId, data: &[u8], end: bool) {
        assert_eq!(tag, u64::from(id.number()));
        let stream = self.streams.get_mut(&id.number()).expect("a request before its body");
        assert!(!stream.has_ended, "body after the end");
        if let Some(missing) = &mut stream.missing {
            *missing = missing.checked_sub(data.len() as u64).expect("no more than announced");
        }
        let number = id.number();
        match self.parts.last_mut() {
            Some(Part::Body(before, bytes)) if *before == number => bytes.extend_from_slice(data),
            _ => self.parts.push(Part::Body(number, data.to_vec())),
        }
        if end {
            self.on_end(id);
        }
    }

    /// The request is complete. Streams without a response are answered now.
    fn on_end(&mut self, id: StreamId) {
        let stream = self.streams.get_mut(&id.number()).expect("a request before its end");
        assert!(!stream.has_ended, "two ends");
        assert!(matches!(stream.missing, None | Some(0)), "complete but short");
        stream.has_ended = true;
        self.parts.push(Part::End(id.number()));
        if id.number() / 2 % 5 >= 3 {
            self.server.send_head(id, &ResponseHead::new(200), false);
            self.server.send_data(id, &mut Bytes::from_static(b"late"), true);
            let stopped = self.server.send_data(id, &mut Bytes::from_static(b"more"), true);
            assert!(stopped == 4 || self.server.sendable(id) < 4);
            self.server.reset(id, Code::CANCEL);
            self.streams.remove(&id.number());
        }
    }

    fn on_failed(&mut self, id: StreamId, reason: String) {
        let was_open = self.streams.remove(&id.number()).is_some_and(|stream| stream.is_open());
        assert!(was_open || self.unwanted.remove(&id.number()), "a stream that was open");
        self.parts.push(Part::Failed(id.number(), reason));
    }

    /// The server has the same streams as its owner.
    fn compare(&mut self) {
        let answered = self.streams.iter().filter(|(_, stream)| !stream.is_open() && !stream.has_ended);
        self.unwanted.extend(answered.map(|(number, _)| *number));
        self.streams.retain(|_, stream| stream.is_open());
        let mut open: Vec<u32> = self.server.open_streams().map(|(_, id)| id.number()).collect();
        assert_eq!(self.server.active(), open.len());
        open.retain(|number| !self.unwanted.contains(number));
        open.sort_unstable();
        assert!(open.iter().eq(self.streams.keys()), "{open:?} and {:?}", self.streams.keys());
    }
}

fn run(bytes: &[u8], most: usize, prng: &mut Prng) -> Outcome {
    let config = ServerConfig {
        initial_stream_window: 20_000,
        max_streams: 4,
        limits: HeadLimits { max_fields: 20, max_bytes: 600 },
        ..ServerConfig::default()
    };
    let mut owner = Owner {
        server: Server::new(&config),
        streams: BTreeMap::new(),
        unwanted: BTreeSet::new(),
        last: 0,
        parts: Vec::new(),
    };
    let mut error = None;
    let mut input = BytesMut::new();
    let mut rest = bytes;
    while error.is_none() && !rest.is_empty() {
        let len = if most == usize::MAX { rest.len() } else { (1 + prng.below(most)).min(rest.len()) };
        let (piece, after) = rest.split_at(len);
        rest = after;
        input.extend_from_slice(piece);
        loop {
            match owner.server.recv(&mut input, Duration::ZERO) {
                Ok(Some(event)) => {
                    owner.take(event);
                    owner.compare();
                }
                Ok(None) => break,
                Err(reason) => {
                    error = Some(reason);
                    break;
                }
            }
        }
    }
    let written = drain(&mut owner.server);
    Outcome { parts: owner.parts, error, written }
}

fn drain(server: &mut Server) -> Vec<u8> {
    let mut written = Vec::new();
    while !server.output().is_empty() {
        let mut slices = [IoSlice::new(&[]); 8];
        let set = server.output().slices(&mut slices);
        slices[..set].iter().for_each(|slice| written.extend_from_slice(slice));
        let len = slices[..set].iter().map(|slice| slice.len()).sum();
        server.output().advance(len);
    }
    written
}

/// Frames are whole, no HEADERS are empty, and nothing but `RST_STREAM` follows the end of a stream.
fn check_order(written: &[u8]) {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    let mut ended = BTreeMap::new();
    let mut rest = written;
    while let [l0, l1, l2, kind, flags, s0, s1, s2, s3, ..] = *rest {
        let len = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        rest = &rest[9 + len..];
        match kind {
            DATA | HEADERS => {
                assert!(kind != HEADERS || len > 0, "an empty section");
                assert!(!ended.contains_key(&stream), "a frame after the end of stream {stream}");
                if flags & 1 != 0 {
                    ended.insert(stream, kind);
                }
            }
            RST_STREAM => drop(ended.insert(stream, kind)),
            _ => {}
        }
    }
    assert!(rest.is_empty(), "half a frame");
}
