//! The frames that manage streams and the connection: SETTINGS, PING, GOAWAY, `WINDOW_UPDATE`, `RST_STREAM`.

use super::{
    Client, Code, ConnectionError, Event, StreamId,
    client::{Phase, Step},
    flow::MAX_WINDOW,
    frame::{self, Header, flag},
    stream::{Response, Waiting},
};

impl Client {
    /// `RST_STREAM` (RFC 9113 6.4).
    pub(super) fn reset_by_peer(&mut self, header: Header, payload: &[u8]) -> Step {
        let code = match frame::number(payload) {
            Some(code) if payload.len() == 4 => Code(code),
            _ => return Err(ConnectionError::size("RST_STREAM of a wrong length", "RFC 9113 6.4")),
        };
        if self.is_idle(header.stream) {
            return Err(ConnectionError::protocol("RST_STREAM on an idle stream", "RFC 9113 6.4"));
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
    pub(super) fn settings(&mut self, header: Header, payload: &[u8]) -> Step {
        if header.has(flag::ACK) {
            if !payload.is_empty() {
                return Err(ConnectionError::size("acknowledgement of SETTINGS with a payload", "RFC 9113 6.5"));
            }
            if !std::mem::replace(&mut self.settings_acked, true) {
                self.decoder.set_limit(self.config.header_table_size);
            } else if let Some(change) = self.window_change.take() {
                self.apply_window_change(change);
            } else {
                self.guard.idle_frame()?;
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
                return Err(ConnectionError::flow("initial window overflows that of a stream", "RFC 9113 6.9.2"));
            }
            if stream.waiting == Waiting::Window && stream.send_window.room() > 0 {
                stream.waiting = Waiting::Turn;
                self.turns.push_back(stream.id);
            }
        }
        Ok(())
    }

    /// PING (RFC 9113 6.7).
    pub(super) fn pinged(&mut self, header: Header, payload: &[u8]) -> Step {
        let Ok(payload) = <[u8; 8]>::try_from(payload) else {
            return Err(ConnectionError::size("PING of a wrong length", "RFC 9113 6.7"));
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
    pub(super) fn leaving(&mut self, payload: &[u8]) -> Step {
        let (Some(last), Some(code)) = (frame::number(payload), payload.get(4..).and_then(frame::number)) else {
            return Err(ConnectionError::size("GOAWAY of a wrong length", "RFC 9113 6.8"));
        };
        self.guard.idle_frame()?;
        let last = last & MAX_WINDOW;
        if matches!(self.phase, Phase::Leaving { last: before } if before < last) {
            return Err(ConnectionError::protocol("GOAWAY raises its last stream", "RFC 9113 6.8"));
        }
        if self.phase != Phase::Closing {
            self.phase = Phase::Leaving { last };
        }
        self.excluded = self.streams.iter().map(|stream| stream.id).filter(|id| id.0 > last).collect();
        self.excluded.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Some(Event::GoAway { last, code: Code(code) }))
    }

    /// `WINDOW_UPDATE` (RFC 9113 6.9).
    pub(super) fn window(&mut self, header: Header, payload: &[u8]) -> Step {
        let increment = match frame::number(payload) {
            Some(number) if payload.len() == 4 => number & MAX_WINDOW,
            _ => return Err(ConnectionError::size("WINDOW_UPDATE of a wrong length", "RFC 9113 6.9")),
        };
        self.guard.idle_frame()?;
        if header.stream == 0 {
            if increment == 0 {
                return Err(ConnectionError::protocol("WINDOW_UPDATE by zero", "RFC 9113 6.9"));
            }
            return match self.send_window.shift(i64::from(increment)) {
                Some(()) => Ok(None),
                None => Err(ConnectionError::flow("the connection's window overflows", "RFC 9113 6.9.1")),
            };
        }
        if self.is_idle(header.stream) {
            return Err(ConnectionError::protocol("WINDOW_UPDATE on an idle stream", "RFC 9113 5.1"));
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
