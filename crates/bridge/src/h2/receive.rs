//! What the peer sends, frame by frame: DATA as it comes in, all other frames once they are complete.
//!
//! Faults of the connection are `Err` and end it; faults of a stream become [`Event::Malformed`].

use bytes::{Buf as _, Bytes, BytesMut};

use super::{
    Client, Code, ConnectionError, Event, StreamId, TOO_LARGE,
    block::{self, Block},
    client::Phase,
    flow::MAX_WINDOW,
    frame::{self, HEADER_LEN, Header, Kind, flag},
    guard::MAX_INTERIM,
    stream::{Request, Response, Waiting},
};
use crate::{
    hpack::Limits,
    message::{
        Fields, Method, Protocol, ResponseHead,
        check::{self, BodyLength, CheckError, HeadLimits, LengthError, ResponseError},
    },
};

/// A payload of DATA below this is copied out of the read buffer, so that it does not keep all of it alive; and of a longer
/// one no smaller part is handed out.
const MIN_SLICE: usize = 1024;

/// The rest of a DATA frame.
#[derive(Debug)]
pub(super) struct Payload {
    /// The stream, `None` if the bytes are of no use to anyone.
    stream: Option<StreamId>,
    /// Bytes of body still to come.
    left: usize,
    /// Bytes of padding after them.
    padding: usize,
    /// The body ends with this frame.
    end: bool,
}

type Step = Result<Option<Event>, ConnectionError>;

impl Client {
    /// Takes one event out of `input`, which begins with the first unread byte of the connection; what was read is removed
    /// from it. `Ok(None)`: more bytes are needed.
    pub fn recv(&mut self, input: &mut BytesMut) -> Result<Option<Event>, ConnectionError> {
        if let Phase::Failed(error) = self.phase {
            return Err(error);
        }
        if let Some(event) = self.own_event() {
            return Ok(Some(event));
        }
        let step = self.read(input);
        if let Err(error) = step {
            self.go_away(error.code);
            self.phase = Phase::Failed(error);
        }
        step
    }

    /// Events that no frame is needed for.
    fn own_event(&mut self) -> Option<Event> {
        while let Some(id) = self.excluded.pop() {
            if let Some(stream) = self.remove(id) {
                return Some(Event::Reset { tag: stream.tag, id, code: Code::REFUSED_STREAM, unprocessed: true });
            }
        }
        if self.turns.is_empty() {
            return None;
        }
        self.next_turn().map(|(tag, id)| Event::Sendable { tag, id })
    }

    fn read(&mut self, input: &mut BytesMut) -> Step {
        loop {
            if let Some(payload) = self.payload.take() {
                let event = self.data(payload, input);
                if event.is_some() || self.payload.is_some() {
                    return Ok(event);
                }
            }
            let Some(header) = Header::read(input) else { return Ok(None) };
            self.check(header)?;
            let event = if header.kind == Kind::Data {
                let Some((len, event)) = self.begin_data(header, input)? else { return Ok(None) };
                input.advance(len);
                event
            } else {
                let total = HEADER_LEN + header.len as usize;
                let Some(payload) = input.get(HEADER_LEN..total) else { return Ok(None) };
                let event = self.frame(header, payload)?;
                input.advance(total);
                event.or_else(|| self.own_event())
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// What is wrong with a frame whatever its payload.
    fn check(&self, header: Header) -> Result<(), ConnectionError> {
        if !self.peer.received && (header.kind != Kind::Settings || header.has(flag::ACK)) {
            return Err(protocol("the first frame is not SETTINGS", "RFC 9113 3.4"));
        }
        if header.len > self.config.max_frame_size {
            return Err(size("frame larger than announced", "RFC 9113 4.2"));
        }
        let expected = self.block.as_ref().map(|block| block.stream);
        if expected.is_some() != (header.kind == Kind::Continuation) || expected.is_some_and(|id| id != header.stream) {
            return Err(protocol("CONTINUATION missing or out of place", "RFC 9113 6.10"));
        }
        let wants_stream = match header.kind {
            Kind::Data | Kind::Headers | Kind::Priority | Kind::RstStream | Kind::Continuation => true,
            Kind::Settings | Kind::Ping | Kind::GoAway => false,
            Kind::PushPromise => return Err(protocol("server push is not enabled", "RFC 9113 8.4")),
            Kind::WindowUpdate | Kind::Unknown => return Ok(()),
        };
        if wants_stream == (header.stream == 0) {
            return Err(protocol("frame on stream 0 that needs one, or the reverse", "RFC 9113 6"));
        }
        Ok(())
    }

    /// Every frame but DATA.
    fn frame(&mut self, header: Header, payload: &[u8]) -> Step {
        match header.kind {
            Kind::Headers => self.headers(header, payload),
            Kind::Continuation => self.continuation(header, payload),
            Kind::RstStream => self.reset_by_peer(header, payload),
            Kind::Settings => self.settings(header, payload),
            Kind::Ping => self.pinged(header, payload),
            Kind::GoAway => self.leaving(payload),
            Kind::WindowUpdate => self.window(header, payload),
            Kind::Priority if payload.len() != 5 => Err(size("PRIORITY of a wrong length", "RFC 9113 6.3")),
            Kind::Priority | Kind::Unknown | Kind::Data | Kind::PushPromise => {
                self.guard.idle_frame()?;
                Ok(None)
            }
        }
    }

    /// The header of DATA (RFC 9113 6.1): windows and length are settled for the whole frame, before its bytes are here.
    /// Returns how much was read, or `None` if the padding's length is not here yet.
    fn begin_data(&mut self, header: Header, input: &[u8]) -> Result<Option<(usize, Option<Event>)>, ConnectionError> {
        let mut read = HEADER_LEN;
        let mut padding = 0;
        if header.has(flag::PADDED) {
            if header.len == 0 {
                return Err(size("padded DATA without its padding's length", "RFC 9113 4.2"));
            }
            let Some(pad) = input.get(HEADER_LEN) else { return Ok(None) };
            read += 1;
            padding = u32::from(*pad);
        }
        let field = (read - HEADER_LEN) as u32;
        let Some(len) = (header.len - field).checked_sub(padding) else {
            return Err(protocol("padding longer than its frame", "RFC 9113 6.1"));
        };
        if self.is_idle(header.stream) {
            return Err(protocol("DATA on an idle stream", "RFC 9113 5.1"));
        }
        if self.receive_window.take(header.len).is_none() {
            return Err(flow("DATA beyond the connection's window", "RFC 9113 6.9.1"));
        }
        // The connection's credit returns at once: what bounds memory are the streams' windows, and so a stream whose owner
        // does not read never stops another.
        if let Some(increment) = self.receive_window.give_back(header.len) {
            frame::put_window_update(self.output.tail(), 0, increment);
        }
        if len == 0 && !header.has(flag::END_STREAM) {
            self.guard.idle_frame()?;
        }
        let id = StreamId(header.stream);
        let mut payload =
            Payload { stream: None, left: len as usize, padding: padding as usize, end: header.has(flag::END_STREAM) };
        let event = if self.streams.get(id).is_none() {
            self.guard.stray_data(header.len)?;
            None
        } else if let Err((code, reason)) = self.admit(id, header.len, len, payload.end) {
            self.malformed(id, code, reason)
        } else {
            if padding + field > 0 {
                self.release(id, (padding + field) as usize);
            }
            payload.stream = Some(id);
            None
        };
        self.payload = Some(payload);
        Ok(Some((read, event)))
    }

    /// Whether the stream may receive `len` bytes of body in a frame that counts `counted`.
    fn admit(&mut self, id: StreamId, counted: u32, len: u32, end: bool) -> Result<(), (Code, &'static str)> {
        let Some(stream) = self.streams.get_mut(id) else { return Ok(()) };
        if stream.receive_window.take(counted).is_none() {
            return Err((Code::FLOW_CONTROL_ERROR, "DATA beyond the stream's window"));
        }
        match &mut stream.response {
            Response::Head { .. } => Err((Code::PROTOCOL_ERROR, "DATA before the response head")),
            Response::Done => Err((Code::STREAM_CLOSED, "DATA after the end of the response")),
            Response::Body(body) => {
                body.add(u64::from(len)).map_err(wrong_length)?;
                if end { body.finish().map_err(wrong_length) } else { Ok(()) }
            }
        }
    }

    /// The bytes of DATA that are here.
    fn data(&mut self, mut payload: Payload, input: &mut BytesMut) -> Option<Event> {
        let here = payload.left.min(input.len());
        let stream = payload.stream.and_then(|id| self.streams.get_mut(id));
        let Some(stream) = stream else {
            input.advance(here);
            payload.left -= here;
            self.skip_padding(payload, input);
            return None;
        };
        if here < payload.left && here < MIN_SLICE {
            self.payload = Some(payload);
            return None;
        }
        payload.left -= here;
        let id = stream.id;
        let tag = stream.tag;
        let end = payload.end && payload.left == 0;
        if payload.left == 0 {
            payload.stream = None;
        }
        if here == 0 && !end {
            self.skip_padding(payload, input);
            return None;
        }
        let data = if here < MIN_SLICE {
            let copy = Bytes::copy_from_slice(input.get(..here).unwrap_or_default());
            input.advance(here);
            copy
        } else {
            input.split_to(here).freeze()
        };
        if end {
            stream.response = Response::Done;
            if stream.request == Request::Done {
                self.remove(id);
            }
        }
        self.guard.progress();
        self.skip_padding(payload, input);
        Some(Event::Data { tag, id, data, end })
    }

    /// Drops the padding that is here and keeps the frame if something is missing.
    fn skip_padding(&mut self, mut payload: Payload, input: &mut BytesMut) {
        if payload.left == 0 {
            let here = payload.padding.min(input.len());
            input.advance(here);
            payload.padding -= here;
        }
        if payload.left > 0 || payload.padding > 0 {
            self.payload = Some(payload);
        }
    }

    /// HEADERS (RFC 9113 6.2).
    fn headers(&mut self, header: Header, payload: &[u8]) -> Step {
        if self.is_idle(header.stream) {
            return Err(protocol("HEADERS on an idle stream", "RFC 9113 5.1"));
        }
        let fragment = frame::strip(header, payload)
            .ok_or_else(|| protocol("padding or priority longer than its frame", "RFC 9113 6.2"))?;
        if header.has(flag::END_HEADERS) {
            return self.section(header.stream, header.has(flag::END_STREAM), fragment);
        }
        self.block = Some(Block::new(header, fragment));
        Ok(None)
    }

    /// CONTINUATION (RFC 9113 6.10), of whose stream a block is under way.
    fn continuation(&mut self, header: Header, payload: &[u8]) -> Step {
        let Some(mut block) = self.block.take() else { return Ok(None) };
        block.extend(payload, block::max_bytes(self.config.max_header_list))?;
        if header.has(flag::END_HEADERS) {
            return self.section(block.stream, block.end, &block.bytes);
        }
        self.block = Some(block);
        Ok(None)
    }

    /// A whole field section: interim head, head or trailers.
    fn section(&mut self, number: u32, end: bool, block: &[u8]) -> Step {
        let id = StreamId(number);
        let known = self.streams.get(id).is_some();
        let mut fields = if known { Fields::new() } else { Fields::default() };
        let limits = self.config.limits();
        let room = Limits { bytes: limits.max_bytes, count: limits.max_fields };
        let room = if known { room } else { Limits { bytes: 0, count: 0 } };
        let fits = self.decoder.decode(block, &mut fields, room).map_err(|error| ConnectionError {
            code: Code::COMPRESSION_ERROR,
            reason: error.as_str(),
            clause: "RFC 9113 4.3",
        })?;
        let Some(stream) = self.streams.get_mut(id) else {
            self.guard.idle_frame()?;
            return Ok(None);
        };
        let fault = match &mut stream.response {
            _ if !fits => (Code::PROTOCOL_ERROR, TOO_LARGE),
            Response::Done => (Code::STREAM_CLOSED, "HEADERS after the end of the response"),
            Response::Head { .. } => match check::response(fields, &limits, Protocol::Http2) {
                Ok(head) => return Ok(self.head(id, head, end)),
                Err(ResponseError::Malformed(reason)) => (Code::PROTOCOL_ERROR, reason),
                Err(ResponseError::TooLarge) => (Code::PROTOCOL_ERROR, TOO_LARGE),
            },
            Response::Body(body) => match trailers(&fields, *body, end, &limits) {
                Ok(()) => return Ok(self.trailers(id, fields)),
                Err(fault) => fault,
            },
        };
        Ok(self.malformed(id, fault.0, fault.1))
    }

    /// A checked response head.
    fn head(&mut self, id: StreamId, head: ResponseHead, end: bool) -> Option<Event> {
        let stream = self.streams.get_mut(id)?;
        let tag = stream.tag;
        if head.is_interim() {
            let Response::Head { interim } = &mut stream.response else { return None };
            *interim += 1;
            let reason = match () {
                () if end => "interim response that ends the stream",
                () if *interim > MAX_INTERIM => "too many interim responses",
                () => return Some(Event::Informational { tag, id, head }),
            };
            return self.malformed(id, Code::PROTOCOL_ERROR, reason);
        }
        let body = body_length(&head, stream.method);
        if !end {
            stream.response = Response::Body(body);
        } else if let Err((code, reason)) = body.finish().map_err(wrong_length) {
            return self.malformed(id, code, reason);
        } else {
            self.finish_response(id);
        }
        self.guard.progress();
        Some(Event::Head { tag, id, head, end })
    }

    /// Checked trailers.
    fn trailers(&mut self, id: StreamId, fields: Fields) -> Option<Event> {
        let tag = self.streams.get(id)?.tag;
        self.finish_response(id);
        self.guard.progress();
        Some(Event::Trailers { tag, id, fields })
    }

    fn finish_response(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.response = Response::Done;
            if stream.request == Request::Done {
                self.remove(id);
            }
        }
    }

    /// Ends a stream for a fault of the peer.
    fn malformed(&mut self, id: StreamId, code: Code, reason: &'static str) -> Option<Event> {
        let tag = self.streams.get(id)?.tag;
        self.reset(id, code);
        Some(Event::Malformed { tag, id, reason })
    }

    /// `RST_STREAM` (RFC 9113 6.4).
    fn reset_by_peer(&mut self, header: Header, payload: &[u8]) -> Step {
        let code = match frame::number(payload) {
            Some(code) if payload.len() == 4 => Code(code),
            _ => return Err(size("RST_STREAM of a wrong length", "RFC 9113 6.4")),
        };
        if self.is_idle(header.stream) {
            return Err(protocol("RST_STREAM on an idle stream", "RFC 9113 6.4"));
        }
        let id = StreamId(header.stream);
        let Some(stream) = self.remove(id) else {
            self.guard.idle_frame()?;
            return Ok(None);
        };
        let unprocessed = code == Code::REFUSED_STREAM && matches!(stream.response, Response::Head { interim: 0 });
        Ok(Some(Event::Reset { tag: stream.tag, id, code, unprocessed }))
    }

    /// SETTINGS (RFC 9113 6.5).
    fn settings(&mut self, header: Header, payload: &[u8]) -> Step {
        if header.has(flag::ACK) {
            if !payload.is_empty() {
                return Err(size("acknowledgement of SETTINGS with a payload", "RFC 9113 6.5"));
            }
            if std::mem::replace(&mut self.settings_acked, true) {
                self.guard.idle_frame()?;
            } else {
                self.decoder.set_limit(self.config.header_table_size);
            }
            return Ok(None);
        }
        self.guard.idle_frame()?;
        self.guard.reply(self.output.is_empty())?;
        let before = self.peer;
        self.peer.apply(payload, |size| self.encoder.set_limit(size))?;
        self.move_windows(i64::from(self.peer.initial_window) - i64::from(before.initial_window))?;
        frame::put_settings_ack(self.output.tail());
        if !before.received {
            return Ok(Some(Event::Ready));
        }
        Ok((before.max_streams != self.peer.max_streams).then_some(Event::CapacityChanged))
    }

    /// The peer changed its initial window: that of every stream moves along (RFC 9113 6.9.2).
    fn move_windows(&mut self, delta: i64) -> Result<(), ConnectionError> {
        if delta == 0 {
            return Ok(());
        }
        for stream in self.streams.iter_mut() {
            if stream.send_window.shift(delta).is_none() {
                return Err(flow("initial window overflows that of a stream", "RFC 9113 6.9.2"));
            }
            if stream.waiting == Waiting::Window && stream.send_window.room() > 0 {
                stream.waiting = Waiting::Turn;
                self.turns.push_back(stream.id);
            }
        }
        Ok(())
    }

    /// PING (RFC 9113 6.7).
    fn pinged(&mut self, header: Header, payload: &[u8]) -> Step {
        let Ok(payload) = <[u8; 8]>::try_from(payload) else {
            return Err(size("PING of a wrong length", "RFC 9113 6.7"));
        };
        self.guard.idle_frame()?;
        let payload = u64::from_be_bytes(payload);
        if header.has(flag::ACK) {
            return Ok(Some(Event::Pong(payload)));
        }
        self.guard.reply(self.output.is_empty())?;
        frame::put_ping(self.output.tail(), true, payload);
        Ok(None)
    }

    /// GOAWAY (RFC 9113 6.8).
    fn leaving(&mut self, payload: &[u8]) -> Step {
        let (Some(last), Some(code)) = (frame::number(payload), payload.get(4..).and_then(frame::number)) else {
            return Err(size("GOAWAY of a wrong length", "RFC 9113 6.8"));
        };
        self.guard.idle_frame()?;
        let last = last & MAX_WINDOW;
        if matches!(self.phase, Phase::Leaving { last: before } if before < last) {
            return Err(protocol("GOAWAY raises its last stream", "RFC 9113 6.8"));
        }
        if self.phase != Phase::Closing {
            self.phase = Phase::Leaving { last };
        }
        self.excluded = self.streams.iter().map(|stream| stream.id).filter(|id| id.0 > last).collect();
        self.excluded.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Some(Event::GoAway { last, code: Code(code) }))
    }

    /// `WINDOW_UPDATE` (RFC 9113 6.9).
    fn window(&mut self, header: Header, payload: &[u8]) -> Step {
        let increment = match frame::number(payload) {
            Some(number) if payload.len() == 4 => number & MAX_WINDOW,
            _ => return Err(size("WINDOW_UPDATE of a wrong length", "RFC 9113 6.9")),
        };
        self.guard.idle_frame()?;
        if header.stream == 0 {
            if increment == 0 {
                return Err(protocol("WINDOW_UPDATE by zero", "RFC 9113 6.9"));
            }
            return match self.send_window.shift(i64::from(increment)) {
                Some(()) => Ok(None),
                None => Err(flow("the connection's window overflows", "RFC 9113 6.9.1")),
            };
        }
        if self.is_idle(header.stream) {
            return Err(protocol("WINDOW_UPDATE on an idle stream", "RFC 9113 5.1"));
        }
        let id = StreamId(header.stream);
        let Some(stream) = self.streams.get_mut(id) else { return Ok(None) };
        if increment == 0 {
            return Ok(self.malformed(id, Code::PROTOCOL_ERROR, "WINDOW_UPDATE by zero"));
        }
        if stream.send_window.shift(i64::from(increment)).is_none() {
            return Ok(self.malformed(id, Code::FLOW_CONTROL_ERROR, "the stream's window overflows"));
        }
        if stream.waiting == Waiting::Window && stream.send_window.room() > 0 {
            stream.waiting = Waiting::Turn;
            self.turns.push_back(id);
        }
        Ok(None)
    }
}

/// The body that a final response brings (RFC 9110 6.4.1): none whatever its `content-length` says, any where a tunnel begins.
fn body_length(head: &ResponseHead, method: Method) -> BodyLength {
    match method {
        Method::Connect if matches!(head.status, 200..300) => BodyLength::Open,
        _ if !head.has_body(method) => BodyLength::Missing(0),
        _ => BodyLength::new(head.content_length),
    }
}

/// What trailers must be (RFC 9113 8.1): the end of the stream, without pseudo-headers, after all of the body.
fn trailers(fields: &Fields, body: BodyLength, end: bool, limits: &HeadLimits) -> Result<(), (Code, &'static str)> {
    let reason = match check::trailers(fields, limits) {
        Ok(()) if end => return body.finish().map_err(wrong_length),
        Ok(()) => "trailers that do not end the stream",
        Err(CheckError::Malformed { reason, .. }) => reason,
        Err(CheckError::Invalid(details)) => details.text(),
        Err(CheckError::TooManyFields | CheckError::TooLarge) => TOO_LARGE,
    };
    Err((Code::PROTOCOL_ERROR, reason))
}

/// RFC 9113 8.1.1.
fn wrong_length(error: LengthError) -> (Code, &'static str) {
    let reason = match error {
        LengthError::TooLong => "body longer than its content-length",
        LengthError::TooShort => "body shorter than its content-length",
    };
    (Code::PROTOCOL_ERROR, reason)
}

fn protocol(reason: &'static str, clause: &'static str) -> ConnectionError {
    ConnectionError { code: Code::PROTOCOL_ERROR, reason, clause }
}

fn size(reason: &'static str, clause: &'static str) -> ConnectionError {
    ConnectionError { code: Code::FRAME_SIZE_ERROR, reason, clause }
}

fn flow(reason: &'static str, clause: &'static str) -> ConnectionError {
    ConnectionError { code: Code::FLOW_CONTROL_ERROR, reason, clause }
}
