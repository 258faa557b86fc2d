//! A scripted client of the server.

mod chunks;
mod closed;
mod errors;
mod floods;
mod flow;
mod heads;
mod memory;
mod requests;
mod responses;
mod settings;
mod shutdown;

use std::time::Duration;

use super::{
    super::{Server, ServerConfig, ServerEvent},
    *,
};

/// The first identifiers of a client.
const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/")];
const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "https"), (":authority", "a.example"), (":path", "/")];

/// Returns the lines of a head with more fields.
fn with<'a>(head: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [head, more].concat()
}

struct Wire {
    server: Server,
    now: Duration,
    input: BytesMut,
    encoder: Encoder,
    decoder: Decoder,
}

impl Wire {
    /// A connection on which the client has sent nothing.
    fn silent(config: &ServerConfig) -> Self {
        Self {
            server: Server::new(config),
            now: Duration::ZERO,
            input: BytesMut::new(),
            encoder: Encoder::new(),
            decoder: Decoder::new(65_535),
        }
    }

    /// A connection after preface and empty SETTINGS of the client, with no unsent bytes.
    fn new() -> Self {
        Self::with(&ServerConfig::default(), &[])
    }

    /// A connection after the preface, these SETTINGS of the client and its acknowledgement, with no unsent bytes.
    fn with(config: &ServerConfig, settings: &[(u16, u32)]) -> Self {
        let mut wire = Self::silent(config);
        let opening = [PREFACE, &settings_frame(settings), &raw(Kind::Settings, flag::ACK, 0, &[])].concat();
        assert_eq!(wire.feed(&opening), [""; 0]);
        assert!(wire.server.is_ready());
        wire.written();
        wire
    }

    fn try_feed(&mut self, bytes: &[u8]) -> Result<Vec<String>, ConnectionError> {
        self.input.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(event) = self.server.recv(&mut self.input, self.now)? {
            if let ServerEvent::Request { id, .. } | ServerEvent::Refused { id, .. } = &event {
                self.server.set_tag(*id, 100 + u64::from(id.number()));
            }
            events.push(show_event(&event));
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
        let (header, payload) = split(&self.written()).pop().unwrap();
        assert_eq!((header.kind, frame::number(&payload[4..])), (Kind::GoAway, Some(error.code.0)), "{error}");
        assert_eq!(self.server.recv(&mut BytesMut::new(), self.now).unwrap_err(), error, "the error stays");
        error.code
    }

    fn written(&mut self) -> Vec<u8> {
        drain(self.server.output())
    }

    fn shown(&mut self) -> Vec<String> {
        let frames = split(&self.written());
        frames.iter().map(|(header, payload)| show_frame(&mut self.decoder, *header, payload)).collect()
    }

    fn headers(&mut self, stream: u32, lines: &[(&str, &str)], end: bool) -> Vec<u8> {
        let mut block = Vec::new();
        self.encoder.encode(fields(lines).iter(), &mut block);
        raw(Kind::Headers, flag::END_HEADERS | if end { flag::END_STREAM } else { 0 }, stream, &block)
    }

    /// Returns a head without body, split into frames of the default size.
    fn split_headers(&mut self, stream: u32, lines: &[(&str, &str)]) -> Vec<u8> {
        let block = self.headers(stream, lines, true)[HEADER_LEN..].to_vec();
        let mut parts = block.chunks(frame::MIN_MAX_FRAME_SIZE as usize).peekable();
        let mut bytes = Vec::new();
        while let Some(part) = parts.next() {
            let first = if bytes.is_empty() { flag::END_STREAM } else { 0 };
            let last = if parts.peek().is_none() { flag::END_HEADERS } else { 0 };
            let kind = if bytes.is_empty() { Kind::Headers } else { Kind::Continuation };
            bytes.extend(raw(kind, first | last, stream, part));
        }
        bytes
    }

    /// Receives a request, and returns its stream.
    fn request(&mut self, stream: u32, lines: &[(&str, &str)], end: bool) -> StreamId {
        let head = self.headers(stream, lines, end);
        let events = self.feed(&head);
        assert!(events.len() == 1 && events[0].starts_with("request "), "{events:?}");
        StreamId(stream)
    }

    fn get(&mut self, stream: u32) -> StreamId {
        self.request(stream, &GET, true)
    }

    fn post(&mut self, stream: u32) -> StreamId {
        self.request(stream, &POST, false)
    }
}

fn response(status: u16) -> ResponseHead {
    ResponseHead::new(status)
}

fn show_event(event: &ServerEvent) -> String {
    let ended = |end: &bool| if *end { " end" } else { "" };
    match event {
        ServerEvent::Request { id, head, end } => {
            format!(
                "request {} {:?} {}{}",
                id.number(),
                head.method,
                text(&Bytes::copy_from_slice(head.path())),
                ended(end)
            )
        }
        ServerEvent::Refused { id, refusal, end } => format!("refused {} {refusal}{}", id.number(), ended(end)),
        ServerEvent::MalformedHead { id, reason, .. } => format!("malformed head {} {reason}", id.number()),
        ServerEvent::Data { tag, data, end, .. } => format!("data {tag} {}{}", text(data), ended(end)),
        ServerEvent::Trailers { tag, fields, .. } => format!("trailers {tag} {}", show_fields(fields)),
        ServerEvent::Reset { tag, code, .. } => format!("reset {tag} {}", code.name()),
        ServerEvent::Malformed { tag, reason, .. } => format!("malformed {tag} {reason}"),
        ServerEvent::Sendable { tag, .. } => format!("sendable {tag}"),
        ServerEvent::GoAway { code } => format!("goaway {}", code.name()),
        ServerEvent::Pong(payload) => format!("pong {payload}"),
    }
}
