//! What the peer sends, frame by frame: DATA as it comes in, all other frames once they are complete.
//!
//! The order of frames is judged here, what is in them in `data`, `section` and `control`. Faults of the connection are
//! `Err` and end it; faults of a stream become [`Event::Malformed`].

use bytes::{Buf as _, BytesMut};

use super::{
    Client, Code, ConnectionError, Event,
    client::{Phase, Step},
    frame::{self, HEADER_LEN, Header, Kind, flag},
};

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
            frame::put_go_away(self.output.tail(), error.code);
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
            return Err(ConnectionError::protocol("the first frame is not SETTINGS", "RFC 9113 3.4"));
        }
        if header.len > self.config.max_frame_size {
            return Err(ConnectionError::size("frame larger than announced", "RFC 9113 4.2"));
        }
        let expected = self.block.as_ref().map(|block| block.stream);
        if expected.is_some() != (header.kind == Kind::Continuation) || expected.is_some_and(|id| id != header.stream) {
            return Err(ConnectionError::protocol("CONTINUATION missing or out of place", "RFC 9113 6.10"));
        }
        let wants_stream = match header.kind {
            Kind::Data | Kind::Headers | Kind::Priority | Kind::RstStream | Kind::Continuation => true,
            Kind::Settings | Kind::Ping | Kind::GoAway => false,
            Kind::PushPromise => return Err(ConnectionError::protocol("server push is not enabled", "RFC 9113 8.4")),
            Kind::WindowUpdate | Kind::Unknown => return Ok(()),
        };
        if wants_stream == (header.stream == 0) {
            return Err(ConnectionError::protocol("frame on stream 0 that needs one, or the reverse", "RFC 9113 6"));
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
            Kind::Priority if payload.len() != 5 => {
                Err(ConnectionError::size("PRIORITY of a wrong length", "RFC 9113 6.3"))
            }
            Kind::Priority | Kind::Unknown | Kind::Data | Kind::PushPromise => {
                self.guard.idle_frame()?;
                Ok(None)
            }
        }
    }
}
