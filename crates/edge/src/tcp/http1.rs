//! HTTP/1.1 on one connection: one request after the other, between [`h1::Server`] and the exchange.

use super::{
    protocol::{Peer, Protocol, SessionError, SessionSettings},
    stream::{SendState, Stream, reference},
};
use crate::{
    body::Body,
    event::{Abort, BodyRead, Event, EventKind},
};
use bytes::{Bytes, BytesMut};
use spooky_bridge::{
    WriteBuffer,
    h1::{self, ServerEvent},
    message::{self, Fields, ResetReason, ResponseHead},
};
use spooky_table::Handle;
use std::{collections::VecDeque, time::Instant};

/// The interim response that a client may wait for (RFC 9110 section 15.2.1).
const CONTINUE: u16 = 100;

pub(super) struct Http1 {
    server: h1::Server,
    /// The current request.
    stream: Option<Stream<Handle>>,
    /// Number of the last request.
    serial: u32,
    /// Limit of the received and unread bytes of a request, and of the output above which interim heads are dropped.
    stream_buffer: usize,
    /// A part of the last request was received.
    is_receiving: bool,
    /// The response was cut off.
    is_cut_off: bool,
}

fn config(settings: &SessionSettings) -> h1::ServerConfig {
    let rules = settings.rules_for(message::Protocol::Http1);
    h1::ServerConfig { limits: settings.limits, rules, scheme: settings.scheme }
}

impl Http1 {
    pub(super) fn new(settings: &SessionSettings) -> Self {
        Self {
            server: h1::Server::new(&config(settings)),
            stream: None,
            serial: 0,
            stream_buffer: settings.stream_buffer,
            is_receiving: false,
            is_cut_off: false,
        }
    }

    fn on_event(&mut self, event: ServerEvent, peer: &Peer, events: &mut VecDeque<Event>) {
        let protocol = message::Protocol::Http1;
        match &event {
            ServerEvent::Request { end, .. } | ServerEvent::Data { end, .. } => self.is_receiving = !*end,
            ServerEvent::Trailers { .. } => self.is_receiving = false,
            ServerEvent::Refused { .. } | ServerEvent::Malformed { .. } => self.is_receiving = true,
            ServerEvent::Aborted | ServerEvent::Sendable => {}
        }
        match event {
            ServerEvent::Request { head, end } => {
                let stream = reference(peer.conn, self.open(end));
                let peer = peer.address;
                events.push_back(Event::new(stream, EventKind::Request { protocol, head, end, peer }));
            }
            ServerEvent::Refused { refusal } => {
                let stream = reference(peer.conn, self.open(true));
                let peer = peer.address;
                events.push_back(Event::new(stream, EventKind::Refused { protocol, refusal, peer }));
            }
            ServerEvent::Data { data, end } => self.on_body(peer, events, |stream| {
                stream.body.push(data);
                if end {
                    stream.body.complete(None);
                }
            }),
            ServerEvent::Trailers { fields } => self.on_body(peer, events, |stream| {
                stream.body.complete(Some(Box::new(fields)));
            }),
            ServerEvent::Malformed { reason } => self.on_body(peer, events, |stream| stream.body.fail(reason)),
            ServerEvent::Aborted => {
                self.server.abort();
                self.abort_streams(peer, Abort::Lost, events);
            }
            ServerEvent::Sendable => self.on_sendable(peer, events),
        }
    }

    fn open(&mut self, end: bool) -> Handle {
        self.serial = self.serial.wrapping_add(1).max(1);
        let handle = Handle::new(0, self.serial);
        self.stream = Some(Stream::new(handle, end));
        handle
    }

    fn find(&mut self, handle: Handle) -> Option<&mut Stream<Handle>> {
        self.stream.as_mut().filter(|stream| stream.id == handle)
    }

    fn on_body(&mut self, peer: &Peer, events: &mut VecDeque<Event>, receive: impl FnOnce(&mut Stream<Handle>)) {
        let Some(stream) = self.stream.as_mut().filter(|stream| !stream.is_read) else { return };
        receive(stream);
        events.push_back(Event::new(reference(peer.conn, stream.id), EventKind::Readable));
    }

    fn on_sendable(&mut self, peer: &Peer, events: &mut VecDeque<Event>) {
        let Self { stream: Some(stream), server, .. } = self else { return };
        let taken = stream.backlog.write(|bytes| Some(server.send_data(bytes, false)).filter(|taken| *taken > 0));
        let reference = reference(peer.conn, stream.id);
        if taken.all > 0 {
            events.push_back(Event::new(reference, EventKind::Accepted(taken.body)));
        }
        if stream.backlog.is_empty() && matches!(stream.send_state, SendState::Ending(_)) {
            stream.is_last_event_waiting = true;
            events.push_back(Event::new(reference, EventKind::Sent));
            self.end();
        }
    }

    /// Ends the response, whose backlog is empty.
    fn end(&mut self) {
        let Self { stream: Some(stream), server, .. } = self else { return };
        match std::mem::replace(&mut stream.send_state, SendState::Done) {
            SendState::Ending(Some(trailers)) => server.send_trailers(&trailers),
            SendState::Open | SendState::Ending(None) => {
                server.send_data(&mut Bytes::new(), true);
            }
            SendState::Done => {}
        }
        if !server.is_tunnel() {
            stream.body.clear();
            stream.is_read = true;
        }
        self.remove_if_over();
    }

    fn remove_if_over(&mut self) {
        if self.stream.as_ref().is_some_and(Stream::is_over) {
            self.stream = None;
        }
    }

    /// Returns whether the exchange has not finished the request that the server has.
    fn is_ahead(&self) -> bool {
        self.stream.is_some() && self.server.is_idle()
    }
}

impl Protocol for Http1 {
    fn receive(
        &mut self,
        input: &mut BytesMut,
        peer: &Peer,
        _: Instant,
        events: &mut VecDeque<Event>,
    ) -> Result<(), SessionError> {
        loop {
            let can_read = !self.is_ahead() && self.wants_input();
            // The response goes on while the exchange reads nothing of the request.
            let event = if can_read { self.server.recv(input) } else { self.server.sendable_again() };
            let Some(event) = event else { return Ok(()) };
            self.on_event(event, peer, events);
        }
    }

    fn on_end(
        &mut self,
        input: &mut BytesMut,
        peer: &Peer,
        now: Instant,
        events: &mut VecDeque<Event>,
    ) -> Result<(), SessionError> {
        self.server.on_eof();
        self.receive(input, peer, now, events)
    }

    fn wants_input(&mut self) -> bool {
        self.stream.as_ref().is_none_or(|stream| stream.body.bytes() < self.stream_buffer)
    }

    fn output(&mut self) -> &mut WriteBuffer {
        self.server.output()
    }

    fn is_finished(&self) -> bool {
        self.server.is_closing()
    }

    fn is_receiving(&self) -> bool {
        self.is_receiving
    }

    fn is_cut_off(&self) -> bool {
        self.is_cut_off
    }

    fn is_half_closed(&self) -> bool {
        self.server.wants_shutdown()
    }

    fn incomplete_head(&self, has_input: bool) -> Option<u64> {
        let is_incomplete = has_input && self.server.is_idle() && self.stream.is_none();
        is_incomplete.then_some(u64::from(self.serial))
    }

    fn configure(&mut self, settings: &SessionSettings) {
        self.server.configure(&config(settings));
        self.stream_buffer = settings.stream_buffer;
    }

    fn on_taken(&mut self, event: &mut Event) {
        if self.find(event.stream.stream).is_some_and(|stream| stream.on_taken(event)) {
            self.stream = None;
        }
    }

    fn set_tag(&mut self, stream: Handle, tag: u64) {
        if let Some(stream) = self.find(stream) {
            stream.set_tag(tag);
        }
    }

    fn read_body(&mut self, handle: Handle, max: usize) -> BodyRead {
        let Some(stream) = self.find(handle) else { return BodyRead::Aborted(Abort::Lost) };
        if stream.is_read {
            return BodyRead::Pending;
        }
        let read = stream.body.read(max);
        if matches!(read, BodyRead::End | BodyRead::Malformed(_)) {
            stream.is_read = true;
            self.remove_if_over();
        }
        read
    }

    fn unread(&self, handle: Handle) -> usize {
        self.stream.as_ref().filter(|stream| stream.id == handle).map_or(0, |stream| stream.body.bytes())
    }

    fn has_unsent(&self, handle: Handle) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.id == handle && stream.has_unsent())
    }

    fn open_streams(&self) -> usize {
        usize::from(self.stream.is_some())
    }

    fn waiting(&self) -> usize {
        self.stream.as_ref().map_or(0, |stream| stream.backlog.bytes())
    }

    fn interim(&mut self, handle: Handle, head: &ResponseHead) {
        if self.find(handle).is_none() {
            return;
        }
        let waiting = self.server.output().len();
        let sent = if waiting <= self.stream_buffer {
            self.server.send_interim(head)
        } else if head.status == CONTINUE {
            // The client may wait for it before it sends the body (RFC 9110 section 10.1.1).
            self.server.send_interim(&ResponseHead::new(CONTINUE))
        } else {
            Err(h1::InvalidHead)
        };
        if sent.is_err() {
            tracing::debug!("Interim response {} dropped: {waiting} bytes wait for the client", head.status);
        }
    }

    fn respond(&mut self, handle: Handle, head: &ResponseHead, body: Body, _: bool) {
        if self.find(handle).is_none() {
            return;
        }
        if self.server.send_head(head, body == Body::None).is_err() {
            tracing::debug!("Response {} cannot be sent by HTTP/1.1", head.status);
            self.is_cut_off = true;
            self.server.abort();
        }
    }

    fn send_body(&mut self, handle: Handle, mut data: Bytes) -> usize {
        let length = data.len();
        let Self { stream: Some(stream), server, .. } = self else { return length };
        if stream.id != handle || length == 0 || !matches!(stream.send_state, SendState::Open) {
            return length;
        }
        let taken = if stream.backlog.is_empty() { server.send_data(&mut data, false) } else { 0 };
        if !data.is_empty() {
            stream.backlog.push_body(data);
        }
        taken
    }

    fn finish(&mut self, handle: Handle, trailers: Option<&Fields>) -> bool {
        let Some(stream) = self.find(handle) else { return true };
        match stream.send_state {
            SendState::Open => {}
            SendState::Ending(_) => return false,
            SendState::Done => return true,
        }
        stream.send_state = SendState::Ending(trailers.map(|trailers| Box::new(trailers.clone())));
        if !stream.backlog.is_empty() {
            return false;
        }
        self.end();
        true
    }

    fn reset(&mut self, handle: Handle, _: ResetReason) {
        if self.find(handle).is_some() {
            self.stream = None;
            self.is_cut_off = true;
            self.server.abort();
        }
    }

    fn abort_streams(&mut self, peer: &Peer, abort: Abort, events: &mut VecDeque<Event>) {
        if let Some(stream) = &mut self.stream {
            stream.close();
            stream.is_last_event_waiting = true;
            events.push_back(Event::new(reference(peer.conn, stream.id), EventKind::Aborted(abort)));
        }
    }

    fn time_out_head(&mut self, peer: &Peer, events: &mut VecDeque<Event>) {
        self.server.refuse_incomplete();
        self.is_receiving = true;
        let stream = reference(peer.conn, self.open(true));
        let kind = EventKind::TimedOut { protocol: message::Protocol::Http1, peer: peer.address };
        events.push_back(Event::new(stream, kind));
    }

    fn drain_step(&mut self, has_input: bool, _: Instant) -> bool {
        // A client does not repeat every request of which it has sent a part.
        self.server.close_after_response(has_input);
        false
    }

    fn on_time(&mut self, _: Instant) {}

    fn due(&self) -> Option<Instant> {
        None
    }

    fn close(&mut self, peer: &Peer, events: &mut VecDeque<Event>) {
        self.is_cut_off |= !self.server.is_idle();
        self.server.abort();
        self.abort_streams(peer, Abort::Closed, events);
    }
}
