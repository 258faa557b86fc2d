//! A scripted peer: frames are written byte by byte, and the events of the client are compared as text. Those of the
//! server are in [`server`].

mod chunks;
mod errors;
mod floods;
mod flow;
mod requests;
mod responses;
mod server;
mod settings;
mod shutdown;

use std::io::IoSlice;

use bytes::{Bytes, BytesMut};

use super::{
    Client, Code, Config, ConnectionError, Event, StreamId,
    frame::{self, HEADER_LEN, Header, Kind, PREFACE, flag},
};
use crate::{
    WriteBuffer,
    hpack::{Decoder, Encoder},
    message::{Fields, Known, Method, Name, RequestHead, ResponseHead},
};

struct Wire {
    client: Client,
    input: BytesMut,
    encoder: Encoder,
    decoder: Decoder,
}

impl Wire {
    /// A connection on which the peer has sent nothing.
    fn silent(config: &Config) -> Self {
        let client = Client::new(config);
        Self { client, input: BytesMut::new(), encoder: Encoder::new(), decoder: Decoder::new(65_535) }
    }

    /// A connection after empty SETTINGS of the peer, with no unsent bytes.
    fn new() -> Self {
        Self::with(&Config::default(), &[])
    }

    /// A connection after these SETTINGS of the peer, with no unsent bytes.
    fn with(config: &Config, settings: &[(u16, u32)]) -> Self {
        let mut wire = Self::silent(config);
        assert_eq!(wire.feed(&settings_frame(settings)), ["ready"]);
        let opening = wire.written();
        assert!(opening.starts_with(PREFACE));
        wire
    }

    /// Passes bytes to the client and returns its events until it needs more.
    fn try_feed(&mut self, bytes: &[u8]) -> Result<Vec<String>, ConnectionError> {
        self.input.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(event) = self.client.recv(&mut self.input)? {
            events.push(show(&event));
        }
        Ok(events)
    }

    fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        self.try_feed(bytes).unwrap()
    }

    /// Returns the error that these bytes cause, and checks that the last frame sent is GOAWAY with its code.
    fn fails(&mut self, bytes: &[u8]) -> Code {
        self.written();
        let error = self.try_feed(bytes).unwrap_err();
        let (header, payload) = self.frames().pop().unwrap();
        assert_eq!((header.kind, frame::number(&payload[4..])), (Kind::GoAway, Some(error.code.0)), "{error}");
        assert_eq!(self.client.recv(&mut BytesMut::new()).unwrap_err(), error, "the error stays");
        assert_eq!(self.client.capacity(), 0);
        error.code
    }

    fn written(&mut self) -> Vec<u8> {
        drain(self.client.output())
    }

    fn frames(&mut self) -> Vec<(Header, Vec<u8>)> {
        split(&self.written())
    }

    fn shown(&mut self) -> Vec<String> {
        let frames = self.frames();
        frames.iter().map(|(header, payload)| self.show_frame(*header, payload)).collect()
    }

    fn show_frame(&mut self, header: Header, payload: &[u8]) -> String {
        show_frame(&mut self.decoder, header, payload)
    }

    fn decoded(&mut self, block: &[u8]) -> Fields {
        decoded(&mut self.decoder, block)
    }

    /// Opens a stream for a request without body, with its identifier as tag, and drops what it writes.
    fn get(&mut self) -> StreamId {
        self.open(Method::Get, true)
    }

    fn open(&mut self, method: Method, end: bool) -> StreamId {
        let tag = u64::from(self.client.next_id);
        let id = self.client.send_request(&request(method), end, tag).unwrap();
        self.written();
        id
    }

    fn headers(&mut self, stream: u32, lines: &[(&str, &str)], end: bool) -> Vec<u8> {
        let block = self.block(lines);
        let end = if end { flag::END_STREAM } else { 0 };
        raw(Kind::Headers, flag::END_HEADERS | end, stream, &block)
    }

    fn block(&mut self, lines: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        self.encoder.encode(fields(lines).iter(), &mut block);
        block
    }
}

fn drain(output: &mut WriteBuffer) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !output.is_empty() {
        let mut slices = [IoSlice::new(&[]); 4];
        let set = output.slices(&mut slices);
        let part: Vec<u8> = slices[..set].iter().flat_map(|slice| slice.iter().copied()).collect();
        output.advance(part.len());
        bytes.extend(part);
    }
    bytes
}

fn show_frame(decoder: &mut Decoder, header: Header, payload: &[u8]) -> String {
    let end = if header.has(flag::END_STREAM) { " end" } else { "" };
    let Header { kind, stream, .. } = header;
    match kind {
        Kind::Data => format!("data {stream} {}{end}", payload.len()),
        Kind::Headers => format!("headers {stream} {}{end}", show_fields(&decoded(decoder, payload))),
        Kind::Settings if header.has(flag::ACK) => "settings ack".to_owned(),
        Kind::Ping => format!("ping {} {payload:?}", header.flags),
        Kind::RstStream => format!("reset {stream} {}", Code(frame::number(payload).unwrap()).name()),
        Kind::GoAway => {
            let last = match frame::number(payload).unwrap() {
                0 => String::new(),
                last => format!("{last} "),
            };
            format!("goaway {last}{}", Code(frame::number(&payload[4..]).unwrap()).name())
        }
        Kind::WindowUpdate => format!("window {stream} {}", frame::number(payload).unwrap()),
        _ => format!("{kind:?} {stream} {}", payload.len()),
    }
}

fn decoded(decoder: &mut Decoder, block: &[u8]) -> Fields {
    let mut fields = Fields::new();
    assert_eq!(decoder.decode(block, &mut fields, 1 << 20), Ok(true));
    fields
}

fn request(method: Method) -> RequestHead {
    let text = match method {
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Connect => "CONNECT",
        _ => "GET",
    };
    let fields = fields(&[(":method", text), (":scheme", "http"), (":authority", "a.example"), (":path", "/")]);
    RequestHead { fields, method, content_length: None }
}

fn fields(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.push(Name::from_bytes(name.as_bytes()), value.as_bytes());
    }
    fields
}

fn raw(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put_header(&mut out, kind, flags, stream, payload.len());
    out.extend_from_slice(payload);
    out
}

fn data(stream: u32, payload: &[u8], end: bool) -> Vec<u8> {
    raw(Kind::Data, if end { flag::END_STREAM } else { 0 }, stream, payload)
}

fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    raw(Kind::WindowUpdate, 0, stream, &increment.to_be_bytes())
}

fn reset(stream: u32, code: Code) -> Vec<u8> {
    raw(Kind::RstStream, 0, stream, &code.0.to_be_bytes())
}

fn go_away(last: u32, code: Code) -> Vec<u8> {
    raw(Kind::GoAway, 0, 0, &[last.to_be_bytes(), code.0.to_be_bytes()].concat())
}

fn settings_frame(entries: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        entries.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    raw(Kind::Settings, 0, 0, &payload)
}

fn split(mut bytes: &[u8]) -> Vec<(Header, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some(header) = Header::read(bytes) {
        let (payload, rest) = bytes[HEADER_LEN..].split_at(header.len as usize);
        frames.push((header, payload.to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a frame was written");
    frames
}

fn show(event: &Event) -> String {
    let ended = |end: &bool| if *end { " end" } else { "" };
    match event {
        Event::Ready => "ready".to_owned(),
        Event::Informational { tag, head, .. } => {
            format!("interim {tag} {} {}", head.status, show_fields(&head.fields))
        }
        Event::Head { tag, head, end, .. } => {
            let fields = show_fields(&head.fields);
            format!("head {tag} {}{}{fields}{}", head.status, if fields.is_empty() { "" } else { " " }, ended(end))
        }
        Event::Data { tag, data, end, .. } => format!("data {tag} {}{}", text(data), ended(end)),
        Event::Trailers { tag, fields, .. } => format!("trailers {tag} {}", show_fields(fields)),
        Event::Reset { tag, code, unprocessed, .. } => {
            format!("reset {tag} {}{}", code.name(), if *unprocessed { " unprocessed" } else { "" })
        }
        Event::Malformed { tag, reason, .. } => format!("malformed {tag} {reason}"),
        Event::HeadersTooLarge { tag, .. } => format!("headers too large {tag}"),
        Event::Sendable { tag, .. } => format!("sendable {tag}"),
        Event::GoAway { last, code } => format!("goaway {last} {}", code.name()),
        Event::CapacityChanged => "capacity".to_owned(),
        Event::Pong(payload) => format!("pong {payload}"),
    }
}

/// Formats short bodies as text, long ones as their length.
fn text(data: &Bytes) -> String {
    if data.len() > 20 { format!("[{}]", data.len()) } else { String::from_utf8_lossy(data).into_owned() }
}

fn show_fields(fields: &Fields) -> String {
    let line =
        |name: &[u8], value: &[u8]| format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
    fields.iter().map(|field| line(field.name.as_bytes(), field.value)).collect::<Vec<_>>().join(" ")
}
