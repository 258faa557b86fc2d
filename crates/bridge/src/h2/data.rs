//! DATA (RFC 9113 6.1): flow control, length checks, padding, and delivery of the bytes before the frame is complete.

use bytes::{Buf as _, Bytes, BytesMut};

use super::{
    Code, ConnectionError, StreamId,
    connection::{Connection, Role},
    event::CoreEvent,
    frame::{self, HEADER_LEN, Header, flag},
    payload::Payload,
    section::wrong_length,
    stream::RecvState,
};

/// Smaller pieces of an incomplete frame are not delivered.
const MIN_PIECE: usize = 1024;

/// The bytes of a frame header that were read, and the event that it caused.
pub(super) struct HeaderRead<E> {
    pub(super) len: usize,
    pub(super) event: Option<E>,
}

enum Disposition {
    Deliver,
    /// The response has no body by definition (RFC 9110 6.4.1), for example to HEAD.
    Discard,
    /// The response has ended, so the rest of the request is dropped.
    Drop,
}

impl<R: Role> Connection<R> {
    /// Handles the header of DATA: checks windows and length for the whole frame before its payload arrives. Returns
    /// what was read, or `None` if the pad length field has not arrived.
    pub(super) fn on_data_header(
        &mut self,
        header: Header,
        input: &[u8],
    ) -> Result<Option<HeaderRead<R::Event>>, ConnectionError> {
        let mut read = HEADER_LEN;
        let mut padding = 0;
        if header.has(flag::PADDED) {
            if header.len == 0 {
                return Err(ConnectionError::size("padded DATA without a pad length", "RFC 9113 4.2"));
            }
            let Some(pad) = input.get(HEADER_LEN) else { return Ok(None) };
            read += 1;
            padding = u32::from(*pad);
        }
        let field = (read - HEADER_LEN) as u32;
        let Some(len) = (header.len - field).checked_sub(padding) else {
            return Err(ConnectionError::protocol("padding longer than its frame", "RFC 9113 6.1"));
        };
        if self.is_idle(header.stream) {
            return Err(ConnectionError::protocol("DATA on an idle stream", "RFC 9113 5.1"));
        }
        if self.receive_window.take(header.len).is_none() {
            return Err(ConnectionError::flow("DATA beyond the connection's window", "RFC 9113 6.9.1"));
        }
        // The connection window is restored at once. The stream windows bound the memory, so a stream whose owner does
        // not read never blocks another.
        if let Some(increment) = self.receive_window.release(header.len, false) {
            frame::put_window_update(self.output.tail(), 0, increment);
        }
        let id = StreamId(header.stream);
        let mut payload =
            Payload { stream: None, left: len as usize, padding: padding as usize, end: header.has(flag::END_STREAM) };
        let event = if self.streams.get(id).is_none() {
            if header.len == 0 {
                self.flood.useless_frame()?;
            }
            let resetter = self.flood.late_data(header.len)?;
            self.on_late_frame(id, resetter);
            None
        } else {
            if len == 0 && !payload.end {
                self.flood.useless_frame()?;
            }
            match self.check_data(id, header.len, len, payload.end) {
                Ok(Disposition::Deliver) => {
                    if padding + field > 0 {
                        self.release(id, (padding + field) as usize);
                    }
                    payload.stream = Some(id);
                    None
                }
                Ok(Disposition::Discard) => self.discard_body(id),
                Ok(Disposition::Drop) => {
                    if payload.end {
                        self.finish_recv(id);
                    }
                    None
                }
                Err((code, reason)) => self.malformed(id, code, reason)?,
            }
        };
        self.payload = Some(payload);
        Ok(Some(HeaderRead { len: read, event }))
    }

    /// Checks `len` bytes of body in a frame that takes `counted` bytes of the window.
    fn check_data(
        &mut self,
        id: StreamId,
        counted: u32,
        len: u32,
        end: bool,
    ) -> Result<Disposition, (Code, &'static str)> {
        let Some(stream) = self.streams.get_mut(id) else { return Ok(Disposition::Deliver) };
        if stream.receive_window.take(counted).is_none() {
            return Err((Code::FLOW_CONTROL_ERROR, "DATA beyond the stream's window"));
        }
        let malformed = |error| (Code::PROTOCOL_ERROR, wrong_length(error));
        match &mut stream.recv {
            RecvState::Head { .. } => Err((Code::PROTOCOL_ERROR, "DATA before the response head")),
            RecvState::Done => Err((Code::STREAM_CLOSED, "DATA after the end of the message")),
            RecvState::Body(body) => {
                body.add(u64::from(len)).map_err(malformed)?;
                if end {
                    body.finish().map_err(malformed)?;
                }
                Ok(Disposition::Deliver)
            }
            RecvState::Unwanted => Ok(Disposition::Drop),
            RecvState::Bodiless if len > 0 => Ok(Disposition::Discard),
            RecvState::Bodiless | RecvState::Tunnel => Ok(Disposition::Deliver),
        }
    }

    /// Handles a body of a response that has none: the response was complete with its head, so the stream is reset with
    /// CANCEL.
    fn discard_body(&mut self, id: StreamId) -> Option<R::Event> {
        let tag = self.streams.get(id)?.tag;
        self.reset(id, Code::CANCEL);
        R::event(CoreEvent::Data { tag, id, data: Bytes::new(), end: true })
    }

    /// Delivers the received bytes of a DATA payload.
    pub(super) fn on_data_payload(&mut self, mut payload: Payload, input: &mut BytesMut) -> Option<R::Event> {
        let here = payload.left.min(input.len());
        let stream = payload.stream.and_then(|id| self.streams.get_mut(id));
        let Some(stream) = stream else {
            input.advance(here);
            payload.left -= here;
            self.skip_padding(payload, input);
            return None;
        };
        if here < payload.left && here < MIN_PIECE {
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
        let data = if here < R::COPY_BELOW {
            let copy = Bytes::copy_from_slice(input.get(..here).unwrap_or_default());
            input.advance(here);
            copy
        } else {
            input.split_to(here).freeze()
        };
        if end {
            self.finish_recv(id);
        }
        self.flood.progress();
        self.skip_padding(payload, input);
        R::event(CoreEvent::Data { tag, id, data, end })
    }

    /// Discards received padding and stores the payload if it is incomplete.
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
}
