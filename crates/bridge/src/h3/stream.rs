//! Receiving part of a request stream: parses frames and checks each when its header is complete (RFC 9114 4.1, 7).
//!
//! Thousands of these exist at once, so rare state (an incomplete field section) is boxed. Body bytes are never copied.
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

/// Field sections of up to this multiple of `max_headers_bytes` are decoded, so that the request is answered with 431.
pub const SECTION_FACTOR: usize = 4;
/// Overhead allowed for the encoding of a field section.
pub const SECTION_OVERHEAD: usize = 4096;

/// A part of a request.
#[derive(Debug)]
pub enum Received {
    /// The head.
    Headers(Fields),
    /// Body bytes, at least one.
    Data(Bytes),
    /// The trailers. No further part follows.
    Trailers(Fields),
}

/// Numbers of frames received, for [`super::Connection::note_frames`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCounts {
    /// Empty DATA and unknown types.
    pub useless: u32,
    /// All frames, useless ones included.
    pub all: u32,
}

/// The receiving part of a request stream.
#[derive(Debug)]
pub struct RecvStream {
    message: MessageState,
    counts: FrameCounts,
    frame: FrameState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MessageState {
    Head,
    Body,
    /// After CONNECT: only DATA is allowed (RFC 9114 4.4).
    Tunnel,
    TrailersReceived,
}

/// Parser state within a frame.
#[derive(Debug)]
enum FrameState {
    Header(Partial),
    Section(Box<Section>),
    Data { left: u64 },
    Skip { left: u64 },
}

/// An incomplete payload of HEADERS.
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
    /// Creates the state of a stream on which nothing was received.
    pub fn new() -> Self {
        Self {
            message: MessageState::Head,
            counts: FrameCounts::default(),
            frame: FrameState::Header(Partial::default()),
        }
    }

    /// Turns the stream into a tunnel, in which HEADERS are an error. The caller must call this when it accepts
    /// CONNECT.
    pub fn enter_tunnel(&mut self) {
        self.message = MessageState::Tunnel;
    }

    /// Returns the frames that began since the last call.
    pub fn take_counts(&mut self) -> FrameCounts {
        std::mem::take(&mut self.counts)
    }

    /// Consumes bytes of `chunk` up to the next part of the request. Returns `None` when the chunk is consumed.
    /// `limits` apply to the field sections.
    ///
    /// # Errors
    /// [`Error::scope`] says what must end. The stream must not be used after an error.
    pub fn recv(&mut self, chunk: &mut Bytes, limits: &HeadLimits) -> Result<Option<Received>, Error> {
        loop {
            match &mut self.frame {
                FrameState::Header(partial) => {
                    let Some(header) = partial.read_header(chunk) else { return Ok(None) };
                    if let Some(fields) = self.on_header(header, chunk, limits)? {
                        return Ok(Some(self.on_section(fields)));
                    }
                }
                FrameState::Section(section) => {
                    let missing = section.len - section.bytes.len();
                    let part = chunk.split_to(missing.min(chunk.len()));
                    section.bytes.extend_from_slice(&part);
                    if section.bytes.len() < section.len {
                        return Ok(None);
                    }
                    let fields = decode_section(&section.bytes, limits)?;
                    return Ok(Some(self.on_section(fields)));
                }
                FrameState::Data { left } => {
                    let Some(data) = take(left, chunk) else { return Ok(None) };
                    if *left == 0 {
                        self.frame = FrameState::Header(Partial::default());
                    }
                    return Ok(Some(Received::Data(data)));
                }
                FrameState::Skip { left } => {
                    if take(left, chunk).is_none() {
                        return Ok(None);
                    }
                    if *left == 0 {
                        self.frame = FrameState::Header(Partial::default());
                    }
                }
            }
        }
    }

    /// Handles the end of the stream.
    ///
    /// # Errors
    /// A connection error if a frame is incomplete (RFC 9114 7.1), a stream error if the request is incomplete (4.1).
    pub fn finish(&mut self) -> Result<(), Error> {
        match &self.frame {
            FrameState::Header(partial) if partial.is_empty() => match self.message {
                MessageState::Head => {
                    Err(Error::stream(Code::REQUEST_INCOMPLETE, "stream ended before a request", "RFC 9114 4.1"))
                }
                MessageState::Body | MessageState::Tunnel | MessageState::TrailersReceived => Ok(()),
            },
            _ => Err(Error::connection(Code::FRAME_ERROR, "stream ended inside a frame", "RFC 9114 7.1")),
        }
    }

    /// Checks a frame header. Returns the fields if it is HEADERS and its payload has arrived.
    fn on_header(&mut self, header: Header, chunk: &mut Bytes, limits: &HeadLimits) -> Result<Option<Fields>, Error> {
        self.counts.all = self.counts.all.saturating_add(1);
        match header.kind {
            frame::DATA => {
                if !matches!(self.message, MessageState::Body | MessageState::Tunnel) {
                    return Err(unexpected("DATA before the head or after trailers", "RFC 9114 4.1"));
                }
                if header.len == 0 {
                    self.count_useless();
                } else {
                    self.frame = FrameState::Data { left: header.len };
                }
                Ok(None)
            }
            frame::HEADERS => self.on_headers_frame(header.len, chunk, limits),
            frame::PUSH_PROMISE => Err(unexpected("PUSH_PROMISE from a client", "RFC 9114 7.2.5")),
            frame::CANCEL_PUSH | frame::SETTINGS | frame::GOAWAY | frame::MAX_PUSH_ID => {
                Err(unexpected("frame of the control stream on a request stream", "RFC 9114 7.2"))
            }
            kind if frame::is_reserved(kind) => Err(unexpected("frame type of HTTP/2", "RFC 9114 7.2.8")),
            _ => {
                self.count_useless();
                if header.len > 0 {
                    self.frame = FrameState::Skip { left: header.len };
                }
                Ok(None)
            }
        }
    }

    fn on_headers_frame(&mut self, len: u64, chunk: &mut Bytes, limits: &HeadLimits) -> Result<Option<Fields>, Error> {
        match self.message {
            MessageState::Head | MessageState::Body => {}
            MessageState::TrailersReceived => return Err(unexpected("HEADERS after trailers", "RFC 9114 4.1")),
            MessageState::Tunnel => return Err(unexpected("HEADERS in a tunnel", "RFC 9114 4.4")),
        }
        let bound = limits.max_bytes.saturating_mul(SECTION_FACTOR).saturating_add(SECTION_OVERHEAD);
        let len = usize::try_from(len).ok().filter(|len| *len <= bound).ok_or(TOO_LARGE)?;
        if let Some(payload) = chunk.get(..len) {
            let fields = decode_section(payload, limits)?;
            bytes::Buf::advance(chunk, len);
            return Ok(Some(fields));
        }
        // The buffer grows with the received bytes, not to the announced length.
        self.frame = FrameState::Section(Box::new(Section { bytes: Vec::with_capacity(chunk.len()), len }));
        Ok(None)
    }

    fn on_section(&mut self, fields: Fields) -> Received {
        self.frame = FrameState::Header(Partial::default());
        if self.message == MessageState::Head {
            self.message = MessageState::Body;
            Received::Headers(fields)
        } else {
            self.message = MessageState::TrailersReceived;
            Received::Trailers(fields)
        }
    }

    fn count_useless(&mut self) {
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

/// Returns up to `left` bytes from the front of `chunk`, or `None` if it is empty.
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
