//! HEADERS and CONTINUATION (RFC 9113 6.2, 6.10): interim heads, heads and trailers, and what they promise of the body.

use super::{
    Client, Code, ConnectionError, Event, StreamId,
    block::{self, Block},
    client::Step,
    frame::{self, Header, flag},
    guard::MAX_INTERIM,
    stream::{Request, Response},
};
use crate::message::{
    Fields, Method, Protocol, ResponseHead,
    check::{self, BodyLength, LengthError, ResponseError},
};

/// What ends a stream whose head or trailers are at fault.
enum Fault {
    /// They break a rule.
    Malformed(Code, &'static str),
    /// They are larger than this side accepts.
    TooLarge,
}

impl From<ResponseError> for Fault {
    fn from(error: ResponseError) -> Self {
        match error {
            ResponseError::Malformed(reason) => Self::Malformed(Code::PROTOCOL_ERROR, reason),
            ResponseError::TooLarge => Self::TooLarge,
        }
    }
}

impl Client {
    /// HEADERS (RFC 9113 6.2).
    pub(super) fn headers(&mut self, header: Header, payload: &[u8]) -> Step {
        if self.is_idle(header.stream) {
            return Err(ConnectionError::protocol("HEADERS on an idle stream", "RFC 9113 5.1"));
        }
        let fragment = frame::strip(header, payload)
            .ok_or_else(|| ConnectionError::protocol("padding or priority longer than its frame", "RFC 9113 6.2"))?;
        if header.has(flag::END_HEADERS) {
            return self.section(header.stream, header.has(flag::END_STREAM), fragment);
        }
        self.block = Some(Block::new(header, fragment));
        Ok(None)
    }

    /// CONTINUATION (RFC 9113 6.10), of whose stream a block is under way.
    pub(super) fn continuation(&mut self, header: Header, payload: &[u8]) -> Step {
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
        let max_section = self.config.max_header_list as usize;
        let room = if known { max_section } else { 0 };
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
            Response::Done => Fault::Malformed(Code::STREAM_CLOSED, "HEADERS after the end of the response"),
            _ if !fits => Fault::TooLarge,
            Response::Head { .. } => match check::response(fields, max_section, Protocol::Http2) {
                Ok(head) => return Ok(self.head(id, head, end)),
                Err(error) => error.into(),
            },
            Response::Body(_) | Response::Bodiless => {
                let body = if let Response::Body(body) = stream.response { body } else { BodyLength::Open };
                match trailers(&fields, body, end, max_section) {
                    Ok(()) => return Ok(self.trailers(id, fields)),
                    Err(fault) => fault,
                }
            }
        };
        Ok(match fault {
            Fault::Malformed(code, reason) => self.malformed(id, code, reason),
            Fault::TooLarge => self.too_large(id),
        })
    }

    /// Ends a stream whose head or trailers are too large. That is no fault of the protocol, so the code is CANCEL.
    fn too_large(&mut self, id: StreamId) -> Option<Event> {
        let tag = self.streams.get(id)?.tag;
        self.reset(id, Code::CANCEL);
        Some(Event::HeadersTooLarge { tag, id })
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
        match body_length(&head, stream.method) {
            body if !end => stream.response = body.map_or(Response::Bodiless, Response::Body),
            Some(body) if body.finish().is_err() => {
                let (code, reason) = wrong_length(LengthError::TooShort);
                return self.malformed(id, code, reason);
            }
            _ => self.finish_response(id),
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
}

/// The body that a final response brings (RFC 9110 6.4.1): none whatever its `content-length` says, any where a tunnel begins.
fn body_length(head: &ResponseHead, method: Method) -> Option<BodyLength> {
    if head.opens_tunnel(method) {
        return Some(BodyLength::Open);
    }
    head.has_body(method).then(|| BodyLength::new(head.content_length))
}

/// What trailers must be (RFC 9113 8.1): the end of the stream, without pseudo-headers, after all of the body.
fn trailers(fields: &Fields, body: BodyLength, end: bool, max_section: usize) -> Result<(), Fault> {
    check::response_trailers(fields, max_section)?;
    if !end {
        return Err(Fault::Malformed(Code::PROTOCOL_ERROR, "trailers that do not end the stream"));
    }
    body.finish().map_err(|error| {
        let (code, reason) = wrong_length(error);
        Fault::Malformed(code, reason)
    })
}

/// RFC 9113 8.1.1.
pub(super) fn wrong_length(error: LengthError) -> (Code, &'static str) {
    let reason = match error {
        LengthError::TooLong => "body longer than its content-length",
        LengthError::TooShort => "body shorter than its content-length",
    };
    (Code::PROTOCOL_ERROR, reason)
}
