//! Unidirectional streams of a connection: control, QPACK, and unknown types (RFC 9114 6.2, 7.2).
//!
//! Also enforces the limits on useless frames and aborted requests. Called by the session of `edge`. Request streams
//! are handled by [`super::RecvStream`].

use super::{
    code::{Code, Error},
    frame::{self, Header, Partial, read_varint, write_varint},
    settings::{PeerSettings, Settings},
    stream::FrameCounts,
};
use crate::{
    flood::FloodCounter,
    qpack::{DecoderStream, EncoderStream, InstructionError},
};
use bytes::{Buf, Bytes};
use std::time::Duration;

/// Maximum number of unidirectional streams tracked; beyond it the oldest stream of an unknown type is dropped.
pub const MAX_UNI_STREAMS: usize = 64;
/// Largest SETTINGS payload accepted.
pub const MAX_SETTINGS_BYTES: u64 = 4096;

/// A result of [`Connection::recv_uni`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UniEvent {
    /// The SETTINGS of the client arrived.
    Settings,
    /// The client sent GOAWAY: it accepts no pushes from this id on and is about to close.
    Goaway(u64),
    /// The stream has an unknown type. The caller must send `STOP_SENDING` with this code; further bytes are ignored.
    StopSending(Code),
}

/// The server side of an HTTP/3 connection, without its request streams.
#[derive(Debug)]
pub struct Connection {
    local: Settings,
    peer: Option<PeerSettings>,
    unis: Vec<Uni>,
    goaway_sent: Option<u64>,
    goaway_received: Option<u64>,
    max_push_id: Option<u64>,
    uni_frames: FloodCounter,
    frames: FloodCounter,
    requests: FloodCounter,
}

#[derive(Debug)]
struct Uni {
    id: u64,
    state: UniState,
}

#[derive(Debug)]
enum UniState {
    /// The stream type has not arrived completely.
    Untyped(Partial),
    Control(Control),
    Encoder(EncoderStream),
    Decoder(DecoderStream),
    Ignored,
}

/// Parser state of the control stream.
#[derive(Debug)]
enum Control {
    Header(Partial),
    Payload { kind: u64, len: usize, bytes: Vec<u8> },
    Skip { left: u64 },
}

const TYPE_CONTROL: u64 = 0x00;
const TYPE_PUSH: u64 = 0x01;
const TYPE_ENCODER: u64 = 0x02;
const TYPE_DECODER: u64 = 0x03;

#[cfg(test)]
static DEFAULTS: PeerSettings = PeerSettings {
    max_field_section_size: None,
    qpack_max_table_capacity: 0,
    qpack_blocked_streams: 0,
    enable_connect_protocol: false,
};

impl Connection {
    /// Creates a connection on which nothing was sent or received.
    pub fn new(local: Settings) -> Self {
        Self {
            local,
            peer: None,
            unis: Vec::with_capacity(3),
            goaway_sent: None,
            goaway_received: None,
            max_push_id: None,
            uni_frames: FloodCounter::default(),
            frames: FloodCounter::default(),
            requests: FloodCounter::default(),
        }
    }

    /// Appends the start of the control stream: its type and SETTINGS.
    pub fn encode_opening(&mut self, out: &mut Vec<u8>) {
        let mut payload = Vec::with_capacity(24);
        self.local.encode(&mut payload);
        write_varint(TYPE_CONTROL, out);
        write_varint(frame::SETTINGS, out);
        write_varint(payload.len() as u64, out);
        out.extend_from_slice(&payload);
    }

    /// Appends a GOAWAY frame: requests on streams from `id` on are not served. An id above an earlier one is lowered
    /// to it (RFC 9114 5.2).
    pub fn encode_goaway(&mut self, id: u64, out: &mut Vec<u8>) {
        let id = self.goaway_sent.map_or(id, |sent| sent.min(id));
        self.goaway_sent = Some(id);
        let mut payload = Vec::with_capacity(8);
        write_varint(id, &mut payload);
        write_varint(frame::GOAWAY, out);
        write_varint(payload.len() as u64, out);
        out.extend_from_slice(&payload);
    }

    #[cfg(test)]
    pub(super) fn peer(&self) -> &PeerSettings {
        self.peer.as_ref().unwrap_or(&DEFAULTS)
    }

    /// Counts an opened request stream. `now` is the time since any fixed point, the same for all calls.
    pub fn request_opened(&mut self, now: Duration) {
        self.requests.note(0, 1, now);
    }

    /// Counts a request that the client ended early: it reset the stream, stopped the response, or sent a malformed,
    /// incomplete or wrongly sized request.
    ///
    /// # Errors
    /// `H3_EXCESSIVE_LOAD` for the connection after more than 500 within 10 s, if they are more than half of all
    /// requests.
    pub fn request_aborted(&mut self, now: Duration) -> Result<(), Error> {
        if self.requests.note(1, 0, now) {
            let reason = "flood of cancelled or malformed requests";
            return Err(Error::connection(Code::EXCESSIVE_LOAD, reason, "RFC 9114 10.5"));
        }
        Ok(())
    }

    /// Counts frames of request streams, see [`super::RecvStream::take_counts`].
    ///
    /// # Errors
    /// `H3_EXCESSIVE_LOAD` for the connection after more than 500 useless frames within 10 s, if they are more than
    /// half of all.
    pub fn note_frames(&mut self, counts: FrameCounts, now: Duration) -> Result<(), Error> {
        if self.frames.note(counts.useless, counts.all, now) {
            return Err(Error::connection(Code::EXCESSIVE_LOAD, "flood of empty or unknown frames", "RFC 9114 10.5"));
        }
        Ok(())
    }

    /// Processes bytes of the client's unidirectional stream `stream` up to the next event. Returns `None` when `chunk`
    /// is consumed.
    ///
    /// # Errors
    /// All are connection errors.
    pub fn recv_uni(&mut self, stream: u64, chunk: &mut Bytes, now: Duration) -> Result<Option<UniEvent>, Error> {
        let at = self.find_or_insert(stream)?;
        while !chunk.is_empty() {
            let Some(uni) = self.unis.get_mut(at) else { return Ok(None) };
            let event = match &mut uni.state {
                UniState::Untyped(partial) => match partial.read_varint(chunk) {
                    Some(kind) => self.on_type(at, kind)?,
                    None => None,
                },
                UniState::Control(_) => self.on_control(at, chunk, now)?,
                UniState::Encoder(parser) => {
                    // What precedes an error counts first, as if the bytes had arrived one by one.
                    let (count, result) = parser.recv(chunk);
                    chunk.clear();
                    self.note_uni_frames(count, count, now)?;
                    result.map_err(encoder_error)?;
                    None
                }
                UniState::Decoder(parser) => {
                    parser.recv(chunk).map_err(decoder_error)?;
                    chunk.clear();
                    None
                }
                UniState::Ignored => {
                    chunk.clear();
                    None
                }
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// Handles the end or reset of a unidirectional stream.
    ///
    /// # Errors
    /// `H3_CLOSED_CRITICAL_STREAM` for control and QPACK streams (RFC 9114 6.2.1, RFC 9204 4.2); for others those of
    /// [`Self::note_useless_uni`].
    pub fn uni_finished(&mut self, stream: u64, now: Duration) -> Result<(), Error> {
        let at = self.unis.iter().position(|uni| uni.id == stream);
        match at.map(|at| self.unis.swap_remove(at).state) {
            None | Some(UniState::Untyped(_) | UniState::Ignored) => self.note_useless_uni(now),
            Some(UniState::Control(_)) => Err(closed("control stream closed", "RFC 9114 6.2.1")),
            Some(UniState::Encoder(_) | UniState::Decoder(_)) => Err(closed("QPACK stream closed", "RFC 9204 4.2")),
        }
    }

    /// Counts a unidirectional stream that was stopped, or ended before its type arrived.
    ///
    /// # Errors
    /// `H3_EXCESSIVE_LOAD` for the connection if too many streams and frames were useless.
    pub fn note_useless_uni(&mut self, now: Duration) -> Result<(), Error> {
        self.note_uni_frames(1, 1, now)
    }

    /// Returns whether the type of this stream has arrived.
    pub fn is_typed(&self, stream: u64) -> bool {
        self.unis.iter().any(|uni| uni.id == stream && !matches!(uni.state, UniState::Untyped(_)))
    }

    /// Removes a stream that was stopped. The caller must not pass more of its bytes.
    pub fn remove_uni(&mut self, stream: u64) {
        self.unis.retain(|uni| uni.id != stream);
    }

    fn find_or_insert(&mut self, stream: u64) -> Result<usize, Error> {
        if let Some(at) = self.unis.iter().position(|uni| uni.id == stream) {
            return Ok(at);
        }
        if self.unis.len() >= MAX_UNI_STREAMS {
            let ignored = self.unis.iter().position(|uni| matches!(uni.state, UniState::Ignored));
            let at = ignored.ok_or(Error::connection(
                Code::EXCESSIVE_LOAD,
                "too many unidirectional streams without a type",
                "RFC 9114 10.5",
            ))?;
            self.unis.remove(at);
        }
        self.unis.push(Uni { id: stream, state: UniState::Untyped(Partial::default()) });
        Ok(self.unis.len() - 1)
    }

    fn on_type(&mut self, at: usize, kind: u64) -> Result<Option<UniEvent>, Error> {
        let has = |is_same: fn(&UniState) -> bool| self.unis.iter().any(|uni| is_same(&uni.state));
        let (state, twice) = match kind {
            TYPE_CONTROL => {
                (UniState::Control(Control::Header(Partial::default())), has(|s| matches!(s, UniState::Control(_))))
            }
            TYPE_ENCODER => (UniState::Encoder(EncoderStream::new()), has(|s| matches!(s, UniState::Encoder(_)))),
            TYPE_DECODER => (UniState::Decoder(DecoderStream::new()), has(|s| matches!(s, UniState::Decoder(_)))),
            TYPE_PUSH => return Err(creation("push stream from a client", "RFC 9114 6.2.2")),
            _ => (UniState::Ignored, false),
        };
        if twice {
            return Err(creation("second control or QPACK stream", "RFC 9114 6.2.1, RFC 9204 4.2"));
        }
        let ignored = matches!(state, UniState::Ignored);
        if let Some(uni) = self.unis.get_mut(at) {
            uni.state = state;
        }
        Ok(ignored.then_some(UniEvent::StopSending(Code::STREAM_CREATION_ERROR)))
    }

    fn on_control(&mut self, at: usize, chunk: &mut Bytes, now: Duration) -> Result<Option<UniEvent>, Error> {
        let Some(UniState::Control(control)) = self.unis.get_mut(at).map(|uni| &mut uni.state) else {
            return Ok(None);
        };
        match control {
            Control::Header(partial) => {
                let Some(header) = partial.read_header(chunk) else { return Ok(None) };
                *control = on_control_header(header, self.peer.is_some())?;
                let useless = match header.kind {
                    frame::SETTINGS => false,
                    frame::GOAWAY | frame::MAX_PUSH_ID => true,
                    _ => header.len == 0,
                };
                self.note_uni_frames(usize::from(useless), 1, now)?;
                self.end_payload(at)
            }
            Control::Payload { len, bytes, .. } => {
                let part = chunk.split_to((*len - bytes.len()).min(chunk.len()));
                bytes.extend_from_slice(&part);
                self.end_payload(at)
            }
            Control::Skip { left } => {
                let len = usize::try_from(*left).map_or(chunk.len(), |left| left.min(chunk.len()));
                chunk.advance(len);
                *left -= len as u64;
                if *left == 0 {
                    *control = Control::Header(Partial::default());
                }
                Ok(None)
            }
        }
    }

    /// Processes the frame if its payload is complete.
    fn end_payload(&mut self, at: usize) -> Result<Option<UniEvent>, Error> {
        let Some(UniState::Control(control)) = self.unis.get_mut(at).map(|uni| &mut uni.state) else {
            return Ok(None);
        };
        match control {
            Control::Payload { kind, len, bytes } if bytes.len() == *len => {
                let (kind, bytes) = (*kind, std::mem::take(bytes));
                *control = Control::Header(Partial::default());
                self.on_frame(kind, &bytes)
            }
            Control::Skip { left: 0 } => {
                *control = Control::Header(Partial::default());
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn on_frame(&mut self, kind: u64, payload: &[u8]) -> Result<Option<UniEvent>, Error> {
        if kind == frame::SETTINGS {
            self.peer = Some(PeerSettings::decode(payload)?);
            return Ok(Some(UniEvent::Settings));
        }
        let id = single_id(payload)?;
        match kind {
            frame::GOAWAY => {
                if self.goaway_received.is_some_and(|before| id > before) {
                    return Err(bad_id("GOAWAY with a larger id than before", "RFC 9114 5.2"));
                }
                self.goaway_received = Some(id);
                Ok(Some(UniEvent::Goaway(id)))
            }
            frame::MAX_PUSH_ID => {
                if self.max_push_id.is_some_and(|before| id < before) {
                    return Err(bad_id("MAX_PUSH_ID smaller than before", "RFC 9114 7.2.7"));
                }
                self.max_push_id = Some(id);
                Ok(None)
            }
            // The server never pushes, so it has not promised this id.
            _ => Err(bad_id("CANCEL_PUSH for a push that was never promised", "RFC 9114 7.2.3")),
        }
    }

    fn note_uni_frames(&mut self, useless: usize, all: usize, now: Duration) -> Result<(), Error> {
        let bounded = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        if self.uni_frames.note(bounded(useless), bounded(all), now) {
            return Err(Error::connection(Code::EXCESSIVE_LOAD, "flood of frames without use", "RFC 9114 10.5"));
        }
        Ok(())
    }
}

/// Checks a frame header of the control stream (RFC 9114 6.2.1, 7.2).
fn on_control_header(header: Header, has_settings: bool) -> Result<Control, Error> {
    if header.kind == frame::SETTINGS {
        if has_settings {
            return Err(unexpected("second SETTINGS", "RFC 9114 7.2.4"));
        }
        if header.len > MAX_SETTINGS_BYTES {
            return Err(Error::connection(Code::EXCESSIVE_LOAD, "SETTINGS too large", "RFC 9114 10.5"));
        }
    } else if !has_settings {
        return Err(Error::connection(
            Code::MISSING_SETTINGS,
            "control stream does not begin with SETTINGS",
            "RFC 9114 6.2.1",
        ));
    }
    match header.kind {
        frame::SETTINGS => Ok(payload(header)),
        frame::GOAWAY | frame::MAX_PUSH_ID | frame::CANCEL_PUSH if (1..=8).contains(&header.len) => Ok(payload(header)),
        frame::GOAWAY | frame::MAX_PUSH_ID | frame::CANCEL_PUSH => Err(frame_error("id of impossible length")),
        frame::DATA | frame::HEADERS | frame::PUSH_PROMISE => {
            Err(unexpected("frame of request streams on the control stream", "RFC 9114 7.2"))
        }
        kind if frame::is_reserved(kind) => Err(unexpected("frame type of HTTP/2", "RFC 9114 7.2.8")),
        _ => Ok(Control::Skip { left: header.len }),
    }
}

fn payload(header: Header) -> Control {
    Control::Payload { kind: header.kind, len: header.len as usize, bytes: Vec::new() }
}

/// Reads a payload that consists of one integer.
fn single_id(mut payload: &[u8]) -> Result<u64, Error> {
    match read_varint(&mut payload) {
        Some(id) if payload.is_empty() => Ok(id),
        _ => Err(frame_error("payload is not exactly one id")),
    }
}

fn frame_error(reason: &'static str) -> Error {
    Error::connection(Code::FRAME_ERROR, reason, "RFC 9114 7.1")
}

fn unexpected(reason: &'static str, clause: &'static str) -> Error {
    Error::connection(Code::FRAME_UNEXPECTED, reason, clause)
}

fn creation(reason: &'static str, clause: &'static str) -> Error {
    Error::connection(Code::STREAM_CREATION_ERROR, reason, clause)
}

fn closed(reason: &'static str, clause: &'static str) -> Error {
    Error::connection(Code::CLOSED_CRITICAL_STREAM, reason, clause)
}

fn bad_id(reason: &'static str, clause: &'static str) -> Error {
    Error::connection(Code::ID_ERROR, reason, clause)
}

fn encoder_error(InstructionError(reason): InstructionError) -> Error {
    Error::connection(Code::QPACK_ENCODER_STREAM_ERROR, reason, "RFC 9204 4.3")
}

fn decoder_error(InstructionError(reason): InstructionError) -> Error {
    Error::connection(Code::QPACK_DECODER_STREAM_ERROR, reason, "RFC 9204 4.4")
}

#[cfg(test)]
mod tests;
