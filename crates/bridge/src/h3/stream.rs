//! The receiving half of a request stream: frames in order, each judged when its header is complete (RFC 9114 4.1, 7).
//!
//! Thousands of these exist at once, so what is rare (a field section in pieces) is boxed. Body bytes are never copied.
//! Called by the session of `edge` for every chunk that QUIC delivers.

use super::{
    code::{Code, Error},
    frame::{self, Header, Partial},
};
use crate::{
    message::{Fields, check::HeadLimits},
    qpack,
};
use bytes::Bytes;

/// A field section of up to this many times `max_headers_bytes` is still read, to be answered with 431.
pub const SECTION_FACTOR: usize = 4;
/// What the encoding of a field section may take beyond its names and values.
pub const SECTION_OVERHEAD: usize = 4096;

/// A part of a message.
#[derive(Debug)]
pub enum Received {
    /// The head.
    Headers(Fields),
    /// Bytes of the body, at least one.
    Data(Bytes),
    /// The trailers; nothing but the end may follow.
    Trailers(Fields),
}

/// How many frames came. For [`super::Connection::note_frames`], which bounds those without use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCounts {
    /// Empty DATA and unknown types.
    pub useless: u32,
    /// These and all others.
    pub all: u32,
}

/// The receiving half of one request stream.
#[derive(Debug)]
pub struct RecvStream {
    phase: Phase,
    counts: FrameCounts,
    state: State,
}

/// How far the message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Head,
    Body,
    /// After CONNECT: nothing but DATA (RFC 9114 4.4).
    Tunnel,
    Trailed,
}

/// Where in a frame the next byte belongs.
#[derive(Debug)]
enum State {
    Header(Partial),
    Section(Box<Section>),
    Data { left: u64 },
    Skip { left: u64 },
}

/// The payload of a HEADERS frame that did not come at once.
#[derive(Debug)]
struct Section {
    bytes: Vec<u8>,
    len: usize,
}

impl Default for RecvStream {
    fn default() -> Self {
        Self::new()
    }
}

impl RecvStream {
    /// A stream of which nothing has come yet.
    pub fn new() -> Self {
        Self { phase: Phase::Head, counts: FrameCounts::default(), state: State::Header(Partial::default()) }
    }

    /// From now on the stream is a tunnel, in which HEADERS are an error too. To be called when CONNECT was accepted.
    pub fn enter_tunnel(&mut self) {
        self.phase = Phase::Tunnel;
    }

    /// The frames that began since the last call.
    pub fn take_counts(&mut self) -> FrameCounts {
        std::mem::take(&mut self.counts)
    }

    /// Takes from `chunk` what the next event needs. `None`: the chunk is used up. `limits` bound the field sections.
    ///
    /// # Errors
    /// See [`Error::scope`] for what must end. The stream must not be used after that.
    pub fn recv(&mut self, chunk: &mut Bytes, limits: &HeadLimits) -> Result<Option<Received>, Error> {
        loop {
            match &mut self.state {
                State::Header(partial) => {
                    let Some(header) = partial.read_header(chunk) else { return Ok(None) };
                    if let Some(fields) = self.begin(header, chunk, limits)? {
                        return Ok(Some(self.on_section(fields)));
                    }
                }
                State::Section(section) => {
                    let missing = section.len - section.bytes.len();
                    let part = chunk.split_to(missing.min(chunk.len()));
                    section.bytes.extend_from_slice(&part);
                    if section.bytes.len() < section.len {
                        return Ok(None);
                    }
                    let fields = decode_section(&section.bytes, limits)?;
                    return Ok(Some(self.on_section(fields)));
                }
                State::Data { left } => {
                    let Some(data) = take(left, chunk) else { return Ok(None) };
                    if *left == 0 {
                        self.state = State::Header(Partial::default());
                    }
                    return Ok(Some(Received::Data(data)));
                }
                State::Skip { left } => {
                    if take(left, chunk).is_none() {
                        return Ok(None);
                    }
                    if *left == 0 {
                        self.state = State::Header(Partial::default());
                    }
                }
            }
        }
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// The connection fails if a frame was cut (RFC 9114 7.1), the stream if there is no complete request (4.1).
    pub fn finish(&mut self) -> Result<(), Error> {
        match &self.state {
            State::Header(partial) if partial.is_empty() => match self.phase {
                Phase::Head => {
                    Err(Error::stream(Code::REQUEST_INCOMPLETE, "stream ended before a request", "RFC 9114 4.1"))
                }
                Phase::Body | Phase::Tunnel | Phase::Trailed => Ok(()),
            },
            _ => Err(Error::connection(Code::FRAME_ERROR, "stream ended inside a frame", "RFC 9114 7.1")),
        }
    }

    /// Judges a frame by its header. Gives the fields if it is HEADERS and all of it is here.
    fn begin(&mut self, header: Header, chunk: &mut Bytes, limits: &HeadLimits) -> Result<Option<Fields>, Error> {
        self.counts.all = self.counts.all.saturating_add(1);
        match header.kind {
            frame::DATA => {
                if !matches!(self.phase, Phase::Body | Phase::Tunnel) {
                    return Err(unexpected("DATA before the head or after trailers", "RFC 9114 4.1"));
                }
                if header.len == 0 {
                    self.note_useless();
                } else {
                    self.state = State::Data { left: header.len };
                }
                Ok(None)
            }
            frame::HEADERS => self.begin_section(header.len, chunk, limits),
            frame::PUSH_PROMISE => Err(unexpected("PUSH_PROMISE from a client", "RFC 9114 7.2.5")),
            frame::CANCEL_PUSH | frame::SETTINGS | frame::GOAWAY | frame::MAX_PUSH_ID => {
                Err(unexpected("frame of the control stream on a request stream", "RFC 9114 7.2"))
            }
            kind if frame::is_reserved(kind) => Err(unexpected("frame type of HTTP/2", "RFC 9114 7.2.8")),
            _ => {
                self.note_useless();
                if header.len > 0 {
                    self.state = State::Skip { left: header.len };
                }
                Ok(None)
            }
        }
    }

    fn begin_section(&mut self, len: u64, chunk: &mut Bytes, limits: &HeadLimits) -> Result<Option<Fields>, Error> {
        match self.phase {
            Phase::Head | Phase::Body => {}
            Phase::Trailed => return Err(unexpected("HEADERS after trailers", "RFC 9114 4.1")),
            Phase::Tunnel => return Err(unexpected("HEADERS in a tunnel", "RFC 9114 4.4")),
        }
        let bound = limits.max_bytes.saturating_mul(SECTION_FACTOR).saturating_add(SECTION_OVERHEAD);
        let len = usize::try_from(len).ok().filter(|len| *len <= bound).ok_or(TOO_LARGE)?;
        if let Some(payload) = chunk.get(..len) {
            let fields = decode_section(payload, limits)?;
            bytes::Buf::advance(chunk, len);
            return Ok(Some(fields));
        }
        // Grows with what arrives, not with what was announced.
        self.state = State::Section(Box::new(Section { bytes: Vec::with_capacity(chunk.len()), len }));
        Ok(None)
    }

    fn on_section(&mut self, fields: Fields) -> Received {
        self.state = State::Header(Partial::default());
        if self.phase == Phase::Head {
            self.phase = Phase::Body;
            Received::Headers(fields)
        } else {
            self.phase = Phase::Trailed;
            Received::Trailers(fields)
        }
    }

    fn note_useless(&mut self) {
        self.counts.useless = self.counts.useless.saturating_add(1);
    }
}

const TOO_LARGE: Error = Error::stream(Code::EXCESSIVE_LOAD, "field section far above the limit", "RFC 9114 10.5.1");

fn unexpected(reason: &'static str, clause: &'static str) -> Error {
    Error::connection(Code::FRAME_UNEXPECTED, reason, clause)
}

fn decode_section(payload: &[u8], limits: &HeadLimits) -> Result<Fields, Error> {
    let mut fields = Fields::new();
    match qpack::decode(payload, &mut fields, limits.max_bytes.saturating_mul(SECTION_FACTOR)) {
        Ok(()) => Ok(fields),
        Err(qpack::Error::TooLarge) => Err(TOO_LARGE),
        Err(error) => Err(Error::connection(Code::QPACK_DECOMPRESSION_FAILED, error.reason(), "RFC 9204 2.2")),
    }
}

/// Up to `left` bytes from the front of `chunk`; `None` if it is empty.
fn take(left: &mut u64, chunk: &mut Bytes) -> Option<Bytes> {
    if chunk.is_empty() {
        return None;
    }
    let len = usize::try_from(*left).map_or(chunk.len(), |left| left.min(chunk.len()));
    *left -= len as u64;
    Some(chunk.split_to(len))
}

#[cfg(test)]
mod tests;
