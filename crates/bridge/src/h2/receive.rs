//! Input, frame by frame: DATA as its bytes arrive, other frames once they are complete.
//!
//! This file checks the order of frames; `data`, `section` and `control` check their contents. Connection errors are
//! `Err`, stream errors become [`CoreEvent::Malformed`].

use bytes::{Buf as _, BytesMut};

use super::{
    Code, ConnectionError,
    connection::{Connection, EventResult, Role},
    event::CoreEvent,
    frame::{HEADER_LEN, Header, Kind, flag},
};

impl<R: Role> Connection<R> {
    /// Returns the next event of `input`, which begins with the first unread byte of the connection, and removes the
    /// bytes read. `Ok(None)` means that more bytes are needed.
    pub(super) fn next_event(&mut self, input: &mut BytesMut) -> EventResult<R> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if let Some(event) = self.pending_event() {
            return Ok(Some(event));
        }
        let step = self.read(input);
        if let Err(error) = step {
            self.fail(error);
        }
        step
    }

    /// Ends the connection with GOAWAY.
    pub(super) fn fail(&mut self, error: ConnectionError) {
        self.put_go_away(self.last_peer_stream(), error.code);
        self.failed = Some(error);
    }

    /// Returns an event that needs no further frame.
    fn pending_event(&mut self) -> Option<R::Event> {
        while let Some(id) = self.unprocessed_streams.pop() {
            if let Some(stream) = self.remove(id) {
                return R::event(CoreEvent::Reset {
                    tag: stream.tag,
                    id,
                    code: Code::REFUSED_STREAM,
                    unprocessed: true,
                });
            }
        }
        if self.send_queue.is_empty() {
            return None;
        }
        self.next_sendable().and_then(|(tag, id)| R::event(CoreEvent::Sendable { tag, id }))
    }

    fn read(&mut self, input: &mut BytesMut) -> EventResult<R> {
        loop {
            if let Some(payload) = self.payload.take() {
                let event = self.on_data_payload(payload, input);
                if event.is_some() || self.payload.is_some() {
                    return Ok(event);
                }
            }
            let Some(header) = Header::read(input) else { return Ok(None) };
            self.check(header)?;
            let event = if header.kind == Kind::Data {
                let Some(read) = self.on_data_header(header, input)? else { return Ok(None) };
                input.advance(read.len);
                self.frames += 1;
                read.event
            } else {
                let total = HEADER_LEN + header.len as usize;
                let Some(payload) = input.get(HEADER_LEN..total) else { return Ok(None) };
                let event = self.on_frame(header, payload)?;
                input.advance(total);
                self.frames += u64::from(self.block.is_none());
                event.or_else(|| self.pending_event())
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// Checks a frame header against the state of the connection.
    fn check(&self, header: Header) -> Result<(), ConnectionError> {
        if !self.peer.received && (header.kind != Kind::Settings || header.has(flag::ACK)) {
            return Err(ConnectionError::protocol("the first frame is not SETTINGS", "RFC 9113 3.4"));
        }
        if header.len > self.config.max_frame_size {
            return Err(ConnectionError::size("frame larger than SETTINGS_MAX_FRAME_SIZE", "RFC 9113 4.2"));
        }
        let expected = self.block.as_ref().map(|block| block.stream);
        if expected.is_some() != (header.kind == Kind::Continuation) || expected.is_some_and(|id| id != header.stream) {
            return Err(ConnectionError::protocol("missing or unexpected CONTINUATION", "RFC 9113 6.10"));
        }
        let wants_stream = match header.kind {
            Kind::Data | Kind::Headers | Kind::Priority | Kind::RstStream | Kind::Continuation => true,
            Kind::Settings | Kind::Ping | Kind::GoAway => false,
            Kind::PushPromise => return Err(ConnectionError::protocol("server push is not enabled", "RFC 9113 8.4")),
            Kind::WindowUpdate | Kind::Unknown => return Ok(()),
        };
        if wants_stream == (header.stream == 0) {
            return Err(ConnectionError::protocol(
                "frame on stream 0 that needs a stream, or on a stream that needs stream 0",
                "RFC 9113 6",
            ));
        }
        Ok(())
    }

    fn on_frame(&mut self, header: Header, payload: &[u8]) -> EventResult<R> {
        match header.kind {
            Kind::Headers => self.on_headers(header, payload),
            Kind::Continuation => self.on_continuation(header, payload),
            Kind::RstStream => self.on_rst_stream(header, payload),
            Kind::Settings => self.on_settings(header, payload),
            Kind::Ping => self.on_ping(header, payload),
            Kind::GoAway => self.on_goaway(payload),
            Kind::WindowUpdate => self.on_window_update(header, payload),
            Kind::Priority => self.on_priority(header, payload),
            Kind::Unknown | Kind::Data | Kind::PushPromise => {
                self.flood.useless_frame()?;
                Ok(None)
            }
        }
    }
}
