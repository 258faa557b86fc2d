//! HEADERS and CONTINUATION (RFC 9113 6.2, 6.10): interim heads, heads and trailers, and the body length that they
//! announce.

use super::{
    Client, Code, ConnectionError, Event, StreamId,
    block::{self, FieldBlock},
    client::FrameResult,
    flood::MAX_INTERIM,
    frame::{self, Header, flag},
    stream::{Request, Response},
};
use crate::message::{
    Fields, Method, Protocol, ResponseHead,
    check::{self, BodyLength, LengthError, ResponseError},
};

/// Why a head or trailers end their stream.
enum SectionError {
    Malformed(Code, &'static str),
    TooLarge,
}

impl From<ResponseError> for SectionError {
    fn from(error: ResponseError) -> Self {
        match error {
            ResponseError::Malformed(reason) => Self::Malformed(Code::PROTOCOL_ERROR, reason),
            ResponseError::TooLarge => Self::TooLarge,
        }
    }
}

impl Client {
    pub(super) fn on_headers(&mut self, header: Header, payload: &[u8]) -> FrameResult {
        if self.is_idle(header.stream) {
            return Err(ConnectionError::protocol("HEADERS on an idle stream", "RFC 9113 5.1"));
        }
        let fragment = frame::strip(header, payload)
            .ok_or_else(|| ConnectionError::protocol("padding or priority longer than its frame", "RFC 9113 6.2"))?;
        if header.has(flag::END_HEADERS) {
            return self.on_section(header.stream, header.has(flag::END_STREAM), fragment);
        }
        self.block = Some(FieldBlock::new(header, fragment));
        Ok(None)
    }

    /// Handles CONTINUATION. [`Client::recv`] has checked that a block of the same stream is incomplete.
    pub(super) fn on_continuation(&mut self, header: Header, payload: &[u8]) -> FrameResult {
        let Some(mut block) = self.block.take() else { return Ok(None) };
        block.extend(payload, block::max_bytes(self.config.max_header_list))?;
        if header.has(flag::END_HEADERS) {
            return self.on_section(block.stream, block.end, &block.bytes);
        }
        self.block = Some(block);
        Ok(None)
    }

    /// Decodes a complete field section and handles it as interim head, head or trailers. A section of a closed stream
    /// is decoded too, because the dynamic table depends on it.
    fn on_section(&mut self, number: u32, end: bool, block: &[u8]) -> FrameResult {
        let id = StreamId(number);
        let known = self.streams.get(id).is_some();
        let mut fields = if known { Fields::new() } else { Fields::default() };
        let max_section = self.config.max_header_list as usize;
        let limit = if known { max_section } else { 0 };
        let fits = self.decoder.decode(block, &mut fields, limit).map_err(|error| ConnectionError {
            code: Code::COMPRESSION_ERROR,
            reason: error.as_str(),
            clause: "RFC 9113 4.3",
        })?;
        let Some(stream) = self.streams.get_mut(id) else {
            self.flood.useless_frame()?;
            return Ok(None);
        };
        let error = match &mut stream.response {
            Response::Done => SectionError::Malformed(Code::STREAM_CLOSED, "HEADERS after the end of the response"),
            _ if !fits => SectionError::TooLarge,
            Response::Head { .. } => match check::response(fields, max_section, Protocol::Http2) {
                Ok(head) => return Ok(self.on_head(id, head, end)),
                Err(error) => error.into(),
            },
            Response::Body(_) | Response::Bodiless => {
                let body = if let Response::Body(body) = stream.response { body } else { BodyLength::Open };
                match check_trailers(&fields, body, end, max_section) {
                    Ok(()) => return Ok(self.on_trailers(id, fields)),
                    Err(error) => error,
                }
            }
        };
        Ok(match error {
            SectionError::Malformed(code, reason) => self.malformed(id, code, reason),
            SectionError::TooLarge => self.too_large(id),
        })
    }

    /// Ends a stream whose head or trailers are too large. The peer did not violate the protocol, so the code is
    /// CANCEL.
    fn too_large(&mut self, id: StreamId) -> Option<Event> {
        let tag = self.streams.get(id)?.tag;
        self.reset(id, Code::CANCEL);
        Some(Event::HeadersTooLarge { tag, id })
    }

    fn on_head(&mut self, id: StreamId, head: ResponseHead, end: bool) -> Option<Event> {
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
        self.flood.progress();
        Some(Event::Head { tag, id, head, end })
    }

    fn on_trailers(&mut self, id: StreamId, fields: Fields) -> Option<Event> {
        let tag = self.streams.get(id)?.tag;
        self.finish_response(id);
        self.flood.progress();
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

/// Returns the body length to expect after a final response (RFC 9110 6.4.1): none if the response has no body whatever
/// its `content-length` says, any length if it opens a tunnel.
fn body_length(head: &ResponseHead, method: Method) -> Option<BodyLength> {
    if head.opens_tunnel(method) {
        return Some(BodyLength::Open);
    }
    head.has_body(method).then(|| BodyLength::new(head.content_length))
}

/// Checks trailers (RFC 9113 8.1): they end the stream, have no pseudo-header fields and follow a complete body.
fn check_trailers(fields: &Fields, body: BodyLength, end: bool, max_section: usize) -> Result<(), SectionError> {
    check::response_trailers(fields, max_section)?;
    if !end {
        return Err(SectionError::Malformed(Code::PROTOCOL_ERROR, "trailers that do not end the stream"));
    }
    body.finish().map_err(|error| {
        let (code, reason) = wrong_length(error);
        SectionError::Malformed(code, reason)
    })
}

/// A length that differs from `content-length` makes the response malformed (RFC 9113 8.1.1).
pub(super) fn wrong_length(error: LengthError) -> (Code, &'static str) {
    let reason = match error {
        LengthError::TooLong => "body longer than its content-length",
        LengthError::TooShort => "body shorter than its content-length",
    };
    (Code::PROTOCOL_ERROR, reason)
}
