//! Dispatches quinn-proto's events of one connection to its streams.

use super::session::{Drain, Session};
use super::stream::{RecvState, SendState, Stream};
use crate::event::{Abort, Event, EventKind};
use quinn_proto::{Connection, Dir, StreamEvent, StreamId};
use spooky_bridge::h3::Code;
use spooky_table::Handle;
use std::{collections::VecDeque, time::Instant};

impl Session {
    /// Handles one event of quinn-proto.
    pub(crate) fn on_event(
        &mut self,
        quic: &mut Connection,
        event: &quinn_proto::Event,
        now: Instant,
        events: &mut VecDeque<Event>,
    ) {
        // A closed connection accepts no more requests: no event would report their end.
        if quic.is_closed() && !matches!(event, quinn_proto::Event::ConnectionLost { .. }) {
            return;
        }
        self.elapsed = now.saturating_duration_since(self.started);
        match event {
            quinn_proto::Event::Connected => self.open_control(quic),
            quinn_proto::Event::ConnectionLost { .. } => self.abort_streams(Abort::Lost, events),
            quinn_proto::Event::Stream(StreamEvent::Opened { dir: Dir::Bi }) => self.accept_requests(quic, now, events),
            quinn_proto::Event::Stream(StreamEvent::Opened { dir: Dir::Uni }) => {
                let mut opened = quic.streams().accept(Dir::Uni);
                while let Some(id) = opened {
                    opened = quic.streams().accept(Dir::Uni);
                    // Data on a stream also opens those before it. They may be of use much later: Chromium opens the stream of
                    // its QPACK encoder so, and closes the connection if it is stopped.
                    let has_data = opened.is_none();
                    self.read_uni(quic, id, has_data, now, events);
                }
            }
            quinn_proto::Event::Stream(StreamEvent::Readable { id }) if id.dir() == Dir::Uni => {
                self.read_uni(quic, *id, true, now, events);
            }
            quinn_proto::Event::Stream(StreamEvent::Readable { id }) => self.on_readable(quic, *id, events),
            quinn_proto::Event::Stream(StreamEvent::Writable { id }) => self.on_writable(quic, *id, events),
            quinn_proto::Event::Stream(StreamEvent::Stopped { id, error_code }) => {
                if Some(*id) == self.control {
                    return self.fail(quic, Code::CLOSED_CRITICAL_STREAM, "control stream stopped", events);
                }
                if self.on_stopped(quic, *id, error_code.into_inner(), events) {
                    self.count_ended_by_client(quic, events);
                }
            }
            _ => {}
        }
    }

    fn accept_requests(&mut self, quic: &mut Connection, now: Instant, events: &mut VecDeque<Event>) {
        while !quic.is_closed()
            && let Some(id) = quic.streams().accept(Dir::Bi)
        {
            self.h3.request_opened(self.elapsed);
            let number = u64::from(id);
            self.next_request = self.next_request.max(number + 4);
            let mut stream = Stream::new(id, now + self.settings.header_timeout);
            stream.unread = self.unannounced.take(number);
            let slot = self.streams.insert(stream);
            self.by_id.insert(number, slot);
            if matches!(self.drain, Drain::Final { limit, .. } if number >= limit) {
                if let Some(stream) = self.streams.get_mut(slot) {
                    stream.reset(quic, Code::REQUEST_REJECTED);
                }
                self.remove_if_done(slot);
                continue;
            }
            self.read_head(quic, slot, events);
        }
    }

    fn on_readable(&mut self, quic: &mut Connection, id: StreamId, events: &mut VecDeque<Event>) {
        let Some(slot) = self.slot_of(id) else { return };
        let recv_state = self.streams.get(slot).map(|stream| &stream.recv_state);
        if matches!(recv_state, Some(RecvState::Head { .. })) {
            self.read_head(quic, slot, events);
        } else if matches!(recv_state, Some(RecvState::Body { .. })) {
            if self.take_reset(quic, id, slot, events) {
                self.count_ended_by_client(quic, events);
            } else {
                events.push_back(Event::new(self.reference(slot), EventKind::Readable));
            }
        }
    }

    /// Returns whether the client has reset its sending half. This is reported at once, also while the exchange does not read
    /// (docs/reference/behaviour.md#aborts).
    fn take_reset(&mut self, quic: &mut Connection, id: StreamId, slot: Handle, events: &mut VecDeque<Event>) -> bool {
        let Ok(Some(code)) = quic.recv_stream(id).received_reset() else { return false };
        let reference = self.reference(slot);
        if let Some(stream) = self.streams.get_mut(slot) {
            stream.recv_state = RecvState::Done;
            stream.reset(quic, Code::REQUEST_CANCELLED);
            stream.is_last_event_waiting = true;
        }
        events.push_back(Event::new(reference, EventKind::Aborted(Abort::Reset(code.into_inner()))));
        true
    }

    fn on_writable(&mut self, quic: &mut Connection, id: StreamId, events: &mut VecDeque<Event>) {
        if Some(id) == self.control {
            return self.write_control(quic);
        }
        let Some(slot) = self.slot_of(id) else { return };
        let reference = self.reference(slot);
        let Some(stream) = self.streams.get_mut(slot) else { return };
        let was_ending = matches!(stream.send_state, SendState::Ending);
        let had_unsent = stream.has_unsent();
        let taken = stream.write_backlog(quic);
        // Also if only framing was accepted: it is progress of the client.
        if had_unsent {
            events.push_back(Event::new(reference, EventKind::Accepted(taken.body)));
        }
        if was_ending && matches!(stream.send_state, SendState::Done) {
            stream.is_last_event_waiting = true;
            events.push_back(Event::new(reference, EventKind::Sent));
        }
        self.note_written(taken.all);
    }

    /// Returns whether that cancelled the request: not if the response was complete or reset before.
    fn on_stopped(&mut self, quic: &mut Connection, id: StreamId, code: u64, events: &mut VecDeque<Event>) -> bool {
        let Some(slot) = self.slot_of(id) else { return false };
        let Some(stream) = self.streams.get_mut(slot) else { return false };
        if matches!(stream.send_state, SendState::Done) {
            return false;
        }
        stream.reset(quic, Code::REQUEST_CANCELLED);
        stream.is_last_event_waiting = true;
        events.push_back(Event::new(self.reference(slot), EventKind::Aborted(Abort::Stopped(code))));
        true
    }

    /// Stops unidirectional streams whose type is not complete and request streams without a complete head after their
    /// deadline, so that quinn-proto frees their buffers and the client gets its credit back.
    pub(crate) fn stop_slow_streams(&mut self, quic: &mut Connection, now: Instant, events: &mut VecDeque<Event>) {
        self.elapsed = now.saturating_duration_since(self.started);
        while let Some(id) = self.untyped.take_due(now) {
            self.stop_uni(quic, id, Code::STREAM_CREATION_ERROR, events);
        }
        self.reset_slow_heads(quic, now, events);
    }
}
