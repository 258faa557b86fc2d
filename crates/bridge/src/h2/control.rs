//! Frames that manage streams and the connection: SETTINGS, PING, GOAWAY, `WINDOW_UPDATE`, `RST_STREAM`.

use super::{
    Code, ConnectionError, StreamId,
    connection::{Connection, EventResult, Role},
    event::CoreEvent,
    flow::MAX_WINDOW,
    frame::{self, Header, flag},
    stream::{RecvState, SendState, SendWait},
};

const PRIORITY_LENGTH: &str = "PRIORITY of a wrong length";

impl<R: Role> Connection<R> {
    pub(super) fn on_rst_stream(&mut self, header: Header, payload: &[u8]) -> EventResult<R> {
        let code = match frame::number(payload) {
            Some(code) if payload.len() == 4 => Code(code),
            _ => return Err(ConnectionError::size("RST_STREAM of a wrong length", "RFC 9113 6.4")),
        };
        if self.is_idle(header.stream) {
            return Err(ConnectionError::protocol("RST_STREAM on an idle stream", "RFC 9113 6.4"));
        }
        let id = StreamId(header.stream);
        let Some(stream) = self.remove(id) else {
            self.flood.useless_frame()?;
            return Ok(None);
        };
        if stream.send != SendState::Done {
            self.flood.request_aborted()?;
        }
        self.flood.reset_received();
        let unprocessed = code == Code::REFUSED_STREAM && matches!(stream.recv, RecvState::Head { interim: 0 });
        Ok(R::event(CoreEvent::Reset { tag: stream.tag, id, code, unprocessed }))
    }

    pub(super) fn on_settings(&mut self, header: Header, payload: &[u8]) -> EventResult<R> {
        if header.has(flag::ACK) {
            if !payload.is_empty() {
                return Err(ConnectionError::size("acknowledgement of SETTINGS with a payload", "RFC 9113 6.5"));
            }
            let is_first = !std::mem::replace(&mut self.settings_acked, true);
            if is_first {
                self.decoder.set_limit(self.config.header_table_size);
            }
            if let Some(change) = self.window_change.take() {
                self.apply_window_change(change);
            } else if !is_first {
                self.flood.useless_frame()?;
            }
            return Ok(None);
        }
        self.flood.useless_frame()?;
        self.flood.reply(self.output.is_empty())?;
        let before = self.peer;
        self.peer.apply(payload, R::IS_SERVER, |size| self.encoder.set_limit(size))?;
        self.shift_send_windows(i64::from(self.peer.initial_window) - i64::from(before.initial_window))?;
        frame::put_settings_ack(self.output.tail());
        if !before.received {
            return Ok(R::event(CoreEvent::Ready));
        }
        let is_changed = before.max_streams != self.peer.max_streams;
        Ok(if is_changed { R::event(CoreEvent::CapacityChanged) } else { None })
    }

    /// Adjusts the send windows of all streams to a changed initial window of the peer (RFC 9113 6.9.2).
    fn shift_send_windows(&mut self, delta: i64) -> Result<(), ConnectionError> {
        if delta == 0 {
            return Ok(());
        }
        for stream in self.streams.iter_mut() {
            if stream.send_window.shift(delta).is_none() {
                return Err(ConnectionError::flow("initial window overflows that of a stream", "RFC 9113 6.9.2"));
            }
            if stream.waiting == SendWait::StreamWindow && stream.send_window.available() > 0 {
                stream.waiting = SendWait::Queued;
                self.send_queue.push_back(stream.id);
            }
        }
        Ok(())
    }

    /// Handles PRIORITY, which is ignored (RFC 9113 5.3.2).
    pub(super) fn on_priority(&mut self, header: Header, payload: &[u8]) -> EventResult<R> {
        self.flood.useless_frame()?;
        if payload.len() == 5 {
            return Ok(None);
        }
        let id = StreamId(header.stream);
        if self.streams.get(id).is_some() {
            return self.malformed(id, Code::FRAME_SIZE_ERROR, PRIORITY_LENGTH);
        }
        Err(ConnectionError::size(PRIORITY_LENGTH, "RFC 9113 6.3"))
    }

    pub(super) fn on_ping(&mut self, header: Header, payload: &[u8]) -> EventResult<R> {
        let Ok(payload) = <[u8; 8]>::try_from(payload) else {
            return Err(ConnectionError::size("PING of a wrong length", "RFC 9113 6.7"));
        };
        self.flood.useless_frame()?;
        let payload = u64::from_be_bytes(payload);
        if header.has(flag::ACK) {
            return Ok(R::event(CoreEvent::Pong(payload)));
        }
        self.flood.reply(self.output.is_empty())?;
        frame::put_ping(self.output.tail(), true, payload);
        Ok(None)
    }

    pub(super) fn on_goaway(&mut self, payload: &[u8]) -> EventResult<R> {
        let (Some(last), Some(code)) = (frame::number(payload), payload.get(4..).and_then(frame::number)) else {
            return Err(ConnectionError::size("GOAWAY of a wrong length", "RFC 9113 6.8"));
        };
        self.flood.useless_frame()?;
        let last = last & MAX_WINDOW;
        if self.goaway_received.is_some_and(|before| before < last) {
            return Err(ConnectionError::protocol("GOAWAY raises its last stream", "RFC 9113 6.8"));
        }
        self.goaway_received = Some(last);
        if !R::IS_SERVER {
            self.unprocessed_streams = self.streams.iter().map(|stream| stream.id).filter(|id| id.0 > last).collect();
            self.unprocessed_streams.sort_unstable_by(|a, b| b.cmp(a));
        }
        Ok(R::event(CoreEvent::GoAway { last, code: Code(code) }))
    }

    pub(super) fn on_window_update(&mut self, header: Header, payload: &[u8]) -> EventResult<R> {
        let increment = match frame::number(payload) {
            Some(number) if payload.len() == 4 => number & MAX_WINDOW,
            _ => return Err(ConnectionError::size("WINDOW_UPDATE of a wrong length", "RFC 9113 6.9")),
        };
        self.flood.window_update()?;
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
            return self.malformed(id, Code::PROTOCOL_ERROR, "WINDOW_UPDATE by zero");
        }
        if stream.send_window.shift(i64::from(increment)).is_none() {
            return self.malformed(id, Code::FLOW_CONTROL_ERROR, "the stream's window overflows");
        }
        if stream.waiting == SendWait::StreamWindow && stream.send_window.available() > 0 {
            stream.waiting = SendWait::Queued;
            self.send_queue.push_back(id);
        }
        Ok(None)
    }
}
