//! HTTP/2 on one connection: its streams, between [`h2::Server`] and the exchange.

use super::{
    protocol::{Peer, Protocol, SessionError, SessionSettings},
    stream::{SendState, Stream, reference},
};
use crate::{
    body::Body,
    event::{Abort, BodyRead, Event, EventKind, StreamRef},
};
use bytes::{Bytes, BytesMut};
use spooky_bridge::{
    WriteBuffer,
    h2::{self, Code, ServerEvent, StreamId},
    message::{self, Fields, ResetReason, ResponseHead},
};
use spooky_table::{Handle, Table};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The interim response that a client may wait for (RFC 9110 section 15.2.1).
const CONTINUE: u16 = 100;
/// Payload of the PING whose acknowledgement shows that the client has seen the first GOAWAY.
const DRAIN_PING: u64 = u64::from_be_bytes(*b"goaway  ");
/// The second GOAWAY follows at the latest after this time, whether the client acknowledges the PING or not.
const MAX_GOAWAY_GAP: Duration = Duration::from_secs(1);

/// Output above which the socket is not read: the client does not read the responses that its requests cause.
const MAX_OUTPUT: usize = 1024 * 1024;

/// Time from the end of a response to `RST_STREAM` for an upload that goes on. Clients that read both at once, curl 7.88 among
/// them, report an error instead of the response.
const UPLOAD_STOP_DELAY: Duration = Duration::from_secs(1);

/// State of a graceful shutdown (RFC 9113 section 6.8).
enum Drain {
    No,
    /// The first GOAWAY was sent; the second is due at `final_at`.
    Announced {
        final_at: Instant,
    },
    Final,
}

pub(super) struct Http2 {
    server: h2::Server,
    streams: Table<Stream<StreamId>>,
    started: Instant,
    drain: Drain,
    /// When uploads whose responses have ended are stopped.
    stop_uploads_at: Option<Instant>,
    /// Limit of the output above which interim heads are dropped.
    stream_buffer: usize,
    /// No stream is open or accepted any more.
    is_ended: bool,
    /// The client has violated the protocol, or a limit.
    is_failed: bool,
}

impl Http2 {
    pub(super) fn new(settings: &SessionSettings, now: Instant) -> Self {
        let config = h2::ServerConfig {
            initial_stream_window: u32::try_from(settings.stream_buffer).unwrap_or(u32::MAX),
            max_streams: settings.max_streams,
            limits: settings.limits,
            rules: settings.rules_for(message::Protocol::Http2),
            ..h2::ServerConfig::default()
        };
        Self {
            server: h2::Server::new(&config),
            streams: Table::default(),
            started: now,
            drain: Drain::No,
            stop_uploads_at: None,
            stream_buffer: settings.stream_buffer,
            is_ended: false,
            is_failed: false,
        }
    }

    /// Handles one event of the connection.
    fn on_event(&mut self, event: ServerEvent, peer: &Peer, now: Instant, events: &mut VecDeque<Event>) {
        match event {
            ServerEvent::Request { id, head, end } => {
                let stream = self.open(id, end, peer);
                let peer = peer.address;
                let protocol = message::Protocol::Http2;
                events.push_back(Event::new(stream, EventKind::Request { protocol, head, end, peer }));
            }
            ServerEvent::Refused { id, refusal, end } => {
                let stream = self.open(id, end, peer);
                let kind = EventKind::Refused { protocol: message::Protocol::Http2, refusal, peer: peer.address };
                events.push_back(Event::new(stream, kind));
            }
            ServerEvent::MalformedHead { fields, reason, .. } => {
                let protocol = message::Protocol::Http2;
                let kind = EventKind::Malformed { protocol, fields, reason, peer: peer.address };
                events.push_back(Event::new(reference(peer.conn, Handle::default()), kind));
            }
            ServerEvent::Data { tag, data, end, .. } => self.on_body(tag, peer, events, |stream| {
                stream.body.push(data);
                if end {
                    stream.body.complete(None);
                }
            }),
            ServerEvent::Trailers { tag, fields, .. } => self.on_body(tag, peer, events, |stream| {
                stream.body.complete(Some(Box::new(fields)));
            }),
            ServerEvent::Reset { tag, code, .. } => {
                self.on_closed(tag, peer, Abort::Reset(u64::from(code.0)), events);
            }
            ServerEvent::Malformed { tag, reason, .. } => {
                self.on_closed(tag, peer, Abort::Malformed(reason), events);
            }
            ServerEvent::Sendable { tag, .. } => self.on_sendable(Handle::from_bits(tag), peer, events),
            ServerEvent::Pong(DRAIN_PING) => {
                if let Drain::Announced { final_at } = &mut self.drain {
                    *final_at = now;
                }
            }
            ServerEvent::Pong(_) | ServerEvent::GoAway { .. } => {}
        }
    }

    fn open(&mut self, id: StreamId, end: bool, peer: &Peer) -> StreamRef {
        let handle = self.streams.insert(Stream::new(id, end));
        self.server.set_tag(id, handle.to_bits());
        reference(peer.conn, handle)
    }

    fn on_body(
        &mut self,
        tag: u64,
        peer: &Peer,
        events: &mut VecDeque<Event>,
        receive: impl FnOnce(&mut Stream<StreamId>),
    ) {
        let handle = Handle::from_bits(tag);
        let Some(stream) = self.streams.get_mut(handle).filter(|stream| !stream.is_read) else { return };
        receive(stream);
        events.push_back(Event::new(reference(peer.conn, handle), EventKind::Readable));
    }

    /// Reports a stream that the client has closed.
    fn on_closed(&mut self, tag: u64, peer: &Peer, abort: Abort, events: &mut VecDeque<Event>) {
        let handle = Handle::from_bits(tag);
        let Some(stream) = self.streams.get_mut(handle) else { return };
        stream.close();
        stream.is_last_event_waiting = true;
        events.push_back(Event::new(reference(peer.conn, handle), EventKind::Aborted(abort)));
    }

    fn on_sendable(&mut self, handle: Handle, peer: &Peer, events: &mut VecDeque<Event>) {
        let Self { streams, server, .. } = self;
        let Some(stream) = streams.get_mut(handle) else { return };
        let Stream { id, backlog, .. } = stream;
        let taken = backlog.write(|bytes| Some(server.send_data(*id, bytes, false)).filter(|taken| *taken > 0));
        let reference = reference(peer.conn, handle);
        if taken.all > 0 {
            events.push_back(Event::new(reference, EventKind::Accepted(taken.body)));
        }
        if backlog.is_empty() && matches!(stream.send_state, SendState::Ending(_)) {
            self.end(handle);
            if let Some(stream) = self.streams.get_mut(handle) {
                stream.is_last_event_waiting = true;
                events.push_back(Event::new(reference, EventKind::Sent));
            }
        }
    }

    /// Ends the sending half of a stream whose backlog is empty.
    fn end(&mut self, handle: Handle) {
        let Some(stream) = self.streams.get_mut(handle) else { return };
        let id = stream.id;
        match std::mem::replace(&mut stream.send_state, SendState::Done) {
            SendState::Ending(Some(trailers)) => self.server.send_trailers(id, &trailers),
            SendState::Open | SendState::Ending(None) => {
                self.server.send_data(id, &mut Bytes::new(), true);
            }
            SendState::Done => {}
        }
        self.stop_upload(handle);
    }

    /// Drops what the client sent of a request that is not read further, because its response has ended.
    fn stop_upload(&mut self, handle: Handle) {
        if let Some(stream) = self.streams.get_mut(handle).filter(|stream| !stream.is_tunnel) {
            stream.body.clear();
            stream.is_read = true;
        }
    }

    /// Sets the time at which uploads whose responses have ended are stopped.
    fn expect_end_of_uploads(&mut self, now: Instant) {
        if !self.server.has_unwanted_uploads() {
            self.stop_uploads_at = None;
        } else if self.stop_uploads_at.is_none() {
            self.stop_uploads_at = Some(now + UPLOAD_STOP_DELAY);
        }
    }

    fn remove_if_over(&mut self, handle: Handle) {
        if self.streams.get(handle).is_some_and(Stream::is_over) {
            self.streams.remove(handle);
        }
    }
}

impl Protocol for Http2 {
    fn receive(
        &mut self,
        input: &mut BytesMut,
        peer: &Peer,
        now: Instant,
        events: &mut VecDeque<Event>,
    ) -> Result<(), SessionError> {
        let elapsed = now.saturating_duration_since(self.started);
        loop {
            match self.server.recv(input, elapsed) {
                Ok(Some(event)) => self.on_event(event, peer, now, events),
                Ok(None) => {
                    self.expect_end_of_uploads(now);
                    return Ok(());
                }
                Err(error) => {
                    (self.is_ended, self.is_failed) = (true, true);
                    return Err(SessionError(error.to_string()));
                }
            }
        }
    }

    fn on_end(
        &mut self,
        input: &mut BytesMut,
        peer: &Peer,
        now: Instant,
        events: &mut VecDeque<Event>,
    ) -> Result<(), SessionError> {
        self.receive(input, peer, now, events)?;
        // Without the client's control frames no response can be completed.
        self.is_ended = true;
        self.abort_streams(peer, Abort::Lost, events);
        Ok(())
    }

    fn wants_input(&mut self) -> bool {
        self.server.output().len() <= MAX_OUTPUT
    }

    fn output(&mut self) -> &mut WriteBuffer {
        self.server.output()
    }

    fn is_finished(&self) -> bool {
        self.is_ended || self.server.is_drained()
    }

    fn is_receiving(&self) -> bool {
        self.is_failed
    }

    fn is_cut_off(&self) -> bool {
        false // each stream says by itself whether it is complete
    }

    fn is_half_closed(&self) -> bool {
        false
    }

    fn incomplete_head(&self, has_input: bool) -> Option<u64> {
        // Any frame may become a head.
        self.server.incomplete_frame(has_input)
    }

    fn configure(&mut self, settings: &SessionSettings) {
        self.server.configure(settings.limits, settings.rules_for(message::Protocol::Http2));
        self.stream_buffer = settings.stream_buffer;
    }

    fn on_taken(&mut self, event: &mut Event) {
        let handle = event.stream.stream;
        if self.streams.get_mut(handle).is_some_and(|stream| stream.on_taken(event)) {
            self.streams.remove(handle);
        }
    }

    fn set_tag(&mut self, stream: Handle, tag: u64) {
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.set_tag(tag);
        }
    }

    fn read_body(&mut self, handle: Handle, max: usize) -> BodyRead {
        let Some(stream) = self.streams.get_mut(handle) else { return BodyRead::Aborted(Abort::Lost) };
        if stream.is_read {
            return BodyRead::Pending;
        }
        let read = stream.body.read(max);
        match &read {
            BodyRead::Data(data) => self.server.release(stream.id, data.len()),
            BodyRead::End => {
                stream.is_read = true;
                self.remove_if_over(handle);
            }
            BodyRead::Trailers(_) | BodyRead::Pending | BodyRead::Malformed(_) | BodyRead::Aborted(_) => {}
        }
        read
    }

    fn unread(&self, handle: Handle) -> usize {
        self.streams.get(handle).map_or(0, |stream| stream.body.bytes())
    }

    fn has_unsent(&self, handle: Handle) -> bool {
        self.streams.get(handle).is_some_and(Stream::has_unsent)
    }

    fn open_streams(&self) -> usize {
        self.streams.len()
    }

    fn waiting(&self) -> usize {
        self.streams.iter().map(|(_, stream)| stream.backlog.bytes()).sum()
    }

    fn interim(&mut self, handle: Handle, head: &ResponseHead) {
        let Some(stream) = self.streams.get(handle) else { return };
        let waiting = self.server.output().len();
        if waiting <= self.stream_buffer {
            self.server.send_interim(stream.id, head);
        } else if head.status == CONTINUE {
            // The client may wait for it before it sends the body (RFC 9110 section 10.1.1).
            self.server.send_interim(stream.id, &ResponseHead::new(CONTINUE));
        } else {
            tracing::debug!("Interim response {} dropped: {waiting} bytes wait for the client", head.status);
        }
    }

    fn respond(&mut self, handle: Handle, head: &ResponseHead, body: Body, is_tunnel: bool) {
        let Some(stream) = self.streams.get_mut(handle) else { return };
        stream.is_tunnel = is_tunnel;
        // The end is sent with the head if nothing follows, as gRPC requires of a response without messages.
        let end = body == Body::None;
        self.server.send_head(stream.id, head, end);
        if end {
            stream.send_state = SendState::Done;
            self.stop_upload(handle);
        }
    }

    fn send_body(&mut self, handle: Handle, mut data: Bytes) -> usize {
        let length = data.len();
        let Some(stream) = self.streams.get_mut(handle) else { return length };
        if length == 0 || !matches!(stream.send_state, SendState::Open) {
            return length;
        }
        let taken = if stream.backlog.is_empty() { self.server.send_data(stream.id, &mut data, false) } else { 0 };
        if !data.is_empty() {
            stream.backlog.push_body(data);
        }
        taken
    }

    fn finish(&mut self, handle: Handle, trailers: Option<&Fields>) -> bool {
        let Some(stream) = self.streams.get_mut(handle) else { return true };
        match stream.send_state {
            SendState::Open => {}
            SendState::Ending(_) => return false,
            SendState::Done => {
                self.remove_if_over(handle);
                return true;
            }
        }
        stream.send_state = SendState::Ending(trailers.map(|trailers| Box::new(trailers.clone())));
        if !stream.backlog.is_empty() {
            return false;
        }
        self.end(handle);
        self.remove_if_over(handle);
        true
    }

    fn reset(&mut self, handle: Handle, reason: ResetReason) {
        if let Some(stream) = self.streams.get_mut(handle) {
            stream.close();
            self.server.reset(stream.id, reason.into());
            self.remove_if_over(handle);
        }
    }

    fn abort_streams(&mut self, peer: &Peer, abort: Abort, events: &mut VecDeque<Event>) {
        for (handle, stream) in self.streams.iter_mut() {
            stream.close();
            stream.is_last_event_waiting = true;
            events.push_back(Event::new(reference(peer.conn, handle), EventKind::Aborted(abort)));
        }
    }

    fn time_out_head(&mut self, peer: &Peer, events: &mut VecDeque<Event>) {
        self.server.close(Code::ENHANCE_YOUR_CALM);
        (self.is_ended, self.is_failed) = (true, true);
        self.abort_streams(peer, Abort::Lost, events);
    }

    fn drain_step(&mut self, _: bool, now: Instant) -> bool {
        let is_due = match self.drain {
            Drain::No => true,
            Drain::Announced { final_at } => now >= final_at,
            Drain::Final => false,
        };
        if !is_due {
            return false;
        }
        self.server.shut_down_step();
        self.drain = match self.drain {
            Drain::No => {
                self.server.ping(DRAIN_PING);
                Drain::Announced { final_at: now + MAX_GOAWAY_GAP }
            }
            Drain::Announced { .. } | Drain::Final => Drain::Final,
        };
        true
    }

    fn on_time(&mut self, now: Instant) {
        if matches!(self.drain, Drain::Announced { .. }) {
            self.drain_step(false, now);
        }
        if self.stop_uploads_at.is_some_and(|at| now >= at) {
            self.server.stop_uploads();
            self.stop_uploads_at = None;
        }
    }

    fn due(&self) -> Option<Instant> {
        let drain = match self.drain {
            Drain::Announced { final_at } => Some(final_at),
            Drain::No | Drain::Final => None,
        };
        [drain, self.stop_uploads_at].into_iter().flatten().min()
    }

    fn close(&mut self, peer: &Peer, events: &mut VecDeque<Event>) {
        for (_, stream) in self.streams.iter() {
            self.server.reset(stream.id, Code::CANCEL);
        }
        self.server.close(Code::NO_ERROR);
        self.is_ended = true;
        self.abort_streams(peer, Abort::Closed, events);
    }
}
