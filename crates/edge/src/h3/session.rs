//! The HTTP/3 session of one connection: control streams, the table of request streams, GOAWAY.
//!
//! `dispatch.rs` handles quinn-proto's events, `request.rs` receives on request streams and `response.rs` sends on them.

use super::stream::{RecvState, SendState, Stream, varint};
use super::unread::Unannounced;
use super::untyped::Untyped;
use crate::event::{Abort, Event, EventKind, StreamRef};
use crate::sticky::StickyBackends;
use bytes::Bytes;
use quinn_proto::{Connection, Dir, ReadError, StreamId};
use rustc_hash::FxHashMap;
use spooky_bridge::{
    h3::{self, Code, UniEvent},
    message::check::{HeadLimits, RequestRules},
    padding::StreamFrame,
};
use spooky_table::{Handle, Table};
use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

/// Settings shared by all sessions of an edge.
pub(crate) struct SessionSettings {
    pub(crate) limits: HeadLimits,
    pub(crate) rules: RequestRules,
    pub(crate) header_timeout: Duration,
    /// Flow control window of a stream, bytes.
    pub(crate) stream_window: u64,
    /// Limit of interim heads that are buffered for one stream, bytes.
    pub(crate) stream_buffer: usize,
}

/// Identity and client of a connection.
#[derive(Clone, Copy)]
pub(crate) struct ConnectionInfo {
    pub(crate) conn: Handle,
    /// The first connection id that was issued for it.
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
}

/// State of a graceful shutdown (RFC 9114 section 5.2).
pub(super) enum Drain {
    No,
    /// The first GOAWAY was sent; the final one is due at `final_at`.
    Announced {
        final_at: Instant,
    },
    /// Requests from this stream id on are rejected. The connection stays open until `close_at`, which is `None` once that is
    /// over, and until all requests have ended.
    Final {
        limit: u64,
        close_at: Option<Instant>,
    },
}

/// The first GOAWAY names the largest request stream id that there can be.
const LAST_REQUEST_ID: u64 = (1 << 62) - 4;
/// Minimum time between the two GOAWAY frames; it is a round trip if that is longer.
const MIN_GOAWAY_GAP: Duration = Duration::from_millis(10);
/// Maximum time for which a client delays acknowledgements (the default of RFC 9000 section 18.2).
const MAX_ACK_DELAY: Duration = Duration::from_millis(25);
/// A connection stays open for so many round trips after the final GOAWAY. A request that the client has sent before it has
/// read the frame is then rejected as not processed, instead of ending with the connection, also if a packet is lost.
const LAST_ROUND_TRIPS: u32 = 3;

pub(crate) struct Session {
    pub(super) info: ConnectionInfo,
    pub(super) settings: Rc<SessionSettings>,
    pub(super) h3: h3::Connection,
    pub(super) streams: Table<Stream>,
    /// Stream ids are sequential by protocol, so a hash without a secret spreads them well enough.
    pub(super) by_id: FxHashMap<u64, Handle>,
    pub(super) control: Option<StreamId>,
    control_backlog: Bytes,
    pub(super) next_request: u64,
    pub(super) drain: Drain,
    pub(super) started: Instant,
    /// Time from `started` to the last event.
    pub(super) elapsed: Duration,
    sticky_backends: StickyBackends,
    /// Frames of streams that quinn-proto has not announced yet.
    pub(super) unannounced: Unannounced,
    /// Total bytes written to quinn-proto.
    written: u64,
    /// False only if no stream has a backlog.
    pub(super) has_backlog: bool,
    /// Earliest deadline of an incomplete request head; may be that of a head that has been completed since.
    pub(super) head_due: Option<Instant>,
    pub(super) untyped: Untyped,
}

impl Session {
    /// Applies new rules and limits of request heads. Keeps the stream window that was announced to the client.
    pub(crate) fn configure(&mut self, settings: &Rc<SessionSettings>) {
        let stream_window = self.settings.stream_window;
        self.settings = if settings.stream_window == stream_window {
            settings.clone()
        } else {
            Rc::new(SessionSettings { stream_window, ..**settings })
        };
    }

    pub(crate) fn new(info: ConnectionInfo, settings: Rc<SessionSettings>, now: Instant) -> Self {
        let local = h3::Settings {
            max_field_section_size: settings.limits.section_size(),
            enable_connect_protocol: settings.rules.extended_connect,
        };
        Self {
            info,
            settings,
            h3: h3::Connection::new(local),
            streams: Table::default(),
            by_id: FxHashMap::default(),
            control: None,
            control_backlog: Bytes::new(),
            next_request: 0,
            drain: Drain::No,
            started: now,
            elapsed: Duration::ZERO,
            sticky_backends: StickyBackends::default(),
            unannounced: Unannounced::default(),
            written: 0,
            has_backlog: false,
            head_due: None,
            untyped: Untyped::default(),
        }
    }

    /// Lets the upload go on after the response has ended.
    pub(crate) fn open_tunnel(&mut self, stream: StreamRef) {
        if let Some(found) = self.find(stream) {
            found.is_tunnel = true;
            if let RecvState::Body { frames, .. } = &mut found.recv_state {
                frames.enter_tunnel();
            }
        }
    }

    /// Address of the client when the connection began.
    pub(crate) fn client(&self) -> IpAddr {
        self.info.peer.ip()
    }

    pub(crate) fn conn(&self) -> Handle {
        self.info.conn
    }

    pub(crate) fn id(&self) -> u64 {
        self.info.id
    }

    /// Returns whether the stream belongs, or belonged, to this connection.
    pub(crate) fn is_of(&self, stream: StreamRef) -> bool {
        self.info.conn == stream.conn
    }

    pub(crate) fn sticky_backend(&self, upstream: u64) -> Option<u64> {
        self.sticky_backends.get(upstream)
    }

    pub(crate) fn set_sticky_backend(&mut self, stream: StreamRef, upstream: u64, backend: u64) {
        if self.is_of(stream) {
            self.sticky_backends.set(upstream, backend);
        }
    }

    /// When [`Session::stop_slow_streams`] must be called.
    pub(crate) fn slow_stream_due(&self) -> Option<Instant> {
        [self.head_due, self.untyped.due()].into_iter().flatten().min()
    }

    /// Total bytes written to quinn-proto.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn note_written(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    /// Bytes in the backlogs of all streams.
    pub(crate) fn waiting(&mut self) -> u64 {
        if !self.has_backlog {
            return 0;
        }
        let waiting = self.streams.iter().map(|(_, stream)| stream.backlog.bytes() as u64).sum();
        self.has_backlog = waiting > 0;
        waiting
    }

    pub(crate) fn open_streams(&self) -> usize {
        self.streams.len()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }

    pub(crate) fn set_tag(&mut self, stream: StreamRef, tag: u64) {
        if let Some(found) = self.find(stream) {
            found.tag = Some(tag);
        }
    }

    /// Adds the tag to an event that the exchange takes now. Removes the stream with its last event, not before.
    pub(crate) fn on_taken(&mut self, event: &mut Event) {
        let Some(found) = self.find(event.stream) else { return };
        event.tag = found.tag;
        if matches!(event.kind, EventKind::Sent | EventKind::Aborted(_)) {
            found.is_last_event_waiting = false;
            self.remove_if_done(event.stream.stream);
        }
    }

    pub(super) fn find(&mut self, stream: StreamRef) -> Option<&mut Stream> {
        if self.is_of(stream) { self.streams.get_mut(stream.stream) } else { None }
    }

    pub(super) fn reference(&self, slot: Handle) -> StreamRef {
        StreamRef { conn: self.info.conn, stream: slot }
    }

    pub(crate) fn on_frame(&mut self, frame: &StreamFrame) {
        let slot = self.by_id.get(&frame.stream).copied();
        match slot.and_then(|slot| self.streams.get_mut(slot)) {
            Some(stream) => stream.unread.on_frame(frame),
            None => self.unannounced.on_frame(frame),
        }
    }

    /// Called when quinn-proto has no more events, so that it has announced every stream.
    pub(crate) fn on_served(&mut self) {
        self.unannounced.clear();
    }

    /// Upper bound of the body bytes of a stream that have been received but not read.
    pub(crate) fn unread(&self, stream: StreamRef) -> u64 {
        let Some(found) = self.streams.get(stream.stream) else { return 0 };
        match &found.recv_state {
            RecvState::Body { rest, .. } => rest.len() as u64 + found.unread.unread(self.settings.stream_window),
            RecvState::Head { .. } | RecvState::Done => 0,
        }
    }

    /// Returns whether response bytes wait because quinn-proto's send window is full.
    pub(crate) fn has_unsent(&self, stream: StreamRef) -> bool {
        self.streams.get(stream.stream).is_some_and(Stream::has_unsent)
    }

    /// Counts a request that the client ended early. Closes the connection after too many of them (RFC 9114 section 10.5).
    pub(super) fn count_ended_by_client(&mut self, quic: &mut Connection, events: &mut VecDeque<Event>) {
        if let Err(error) = self.h3.request_aborted(self.elapsed) {
            self.fail(quic, error.code, error.reason, events);
        }
    }

    /// Removes a stream if nothing more can happen on it.
    pub(super) fn remove_if_done(&mut self, slot: Handle) {
        if self.streams.get(slot).is_some_and(Stream::is_over)
            && let Some(stream) = self.streams.remove(slot)
        {
            self.by_id.remove(&u64::from(stream.id));
        }
    }

    pub(super) fn slot_of(&self, id: StreamId) -> Option<Handle> {
        self.by_id.get(&u64::from(id)).copied()
    }

    /// Ends every stream with an `Aborted` event. Called when the connection has ended.
    pub(crate) fn abort_streams(&mut self, abort: Abort, events: &mut VecDeque<Event>) {
        let conn = self.info.conn;
        for (handle, stream) in self.streams.iter_mut() {
            stream.recv_state = RecvState::Done;
            stream.send_state = SendState::Done;
            stream.backlog.clear();
            stream.is_last_event_waiting = true;
            let stream = StreamRef { conn, stream: handle };
            events.push_back(Event::new(stream, EventKind::Aborted(abort)));
        }
    }

    /// Closes the connection with an HTTP/3 error.
    pub(crate) fn fail(
        &mut self,
        quic: &mut Connection,
        code: Code,
        reason: &'static str,
        events: &mut VecDeque<Event>,
    ) {
        quic.close(Instant::now(), varint(code), Bytes::from_static(reason.as_bytes()));
        self.abort_streams(Abort::Lost, events);
    }

    /// Begins the session before the handshake is complete, if the client has sent early data that was accepted. Does nothing
    /// otherwise.
    pub(crate) fn on_early_data(&mut self, quic: &mut Connection) {
        if self.control.is_none() && quic.has_0rtt() && quic.is_handshaking() {
            self.open_control(quic);
        }
    }

    /// Opens the control stream, unless it is open.
    pub(super) fn open_control(&mut self, quic: &mut Connection) {
        if self.control.is_some() {
            return;
        }
        let Some(id) = quic.streams().open(Dir::Uni) else { return };
        self.control = Some(id);
        let mut opening = Vec::with_capacity(32);
        self.h3.encode_opening(&mut opening);
        match self.drain {
            Drain::No => {}
            Drain::Announced { .. } => self.h3.encode_goaway(LAST_REQUEST_ID, &mut opening),
            Drain::Final { limit, .. } => self.h3.encode_goaway(limit, &mut opening),
        }
        self.send_control(quic, &opening);
    }

    fn send_control(&mut self, quic: &mut Connection, bytes: &[u8]) {
        let mut all = std::mem::take(&mut self.control_backlog).to_vec();
        all.extend_from_slice(bytes);
        self.control_backlog = all.into();
        self.write_control(quic);
    }

    pub(super) fn write_control(&mut self, quic: &mut Connection) {
        let Some(id) = self.control else { return };
        if !self.control_backlog.is_empty() {
            // Blocked: `Writable` follows. Stopped: the connection fails by that event.
            let written = quic.send_stream(id).write_chunks(std::slice::from_mut(&mut self.control_backlog));
            self.note_written(written.map_or(0, |written| written.bytes));
        }
    }

    /// Reads a unidirectional stream. If it `has_data`, its type must be complete within the timeout of request heads.
    pub(super) fn read_uni(
        &mut self,
        quic: &mut Connection,
        id: StreamId,
        mut has_data: bool,
        now: Instant,
        events: &mut VecDeque<Event>,
    ) {
        let number = u64::from(id);
        let mut is_over = false;
        let result = {
            let mut stream = quic.recv_stream(id);
            let Ok(mut chunks) = stream.read(true) else { return };
            loop {
                match chunks.next(usize::MAX) {
                    Ok(Some(chunk)) => {
                        has_data = true;
                        match self.feed_uni(number, chunk.bytes) {
                            Ok(None) => {}
                            unwanted_or_wrong => break unwanted_or_wrong,
                        }
                    }
                    Ok(None) | Err(ReadError::Reset(_)) => {
                        is_over = true;
                        break self.h3.uni_finished(number, self.elapsed).map(|()| None);
                    }
                    Err(ReadError::Blocked) => break Ok(None),
                }
            }
        };
        match result {
            Ok(None) if is_over || self.h3.is_typed(number) => self.untyped.remove(id),
            Ok(None) if has_data => self.untyped.expect(id, now + self.settings.header_timeout),
            Ok(None) => {}
            Ok(Some(code)) => {
                self.untyped.remove(id);
                self.stop_uni(quic, id, code, events);
            }
            Err(error) => self.fail(quic, error.code, error.reason, events),
        }
    }

    /// Sends `STOP_SENDING` for a unidirectional stream of an unknown type. Closes the connection after too many of them.
    pub(super) fn stop_uni(&mut self, quic: &mut Connection, id: StreamId, code: Code, events: &mut VecDeque<Event>) {
        let _stopped = quic.recv_stream(id).stop(varint(code)); // fails only if the client has ended it
        self.h3.remove_uni(u64::from(id));
        if let Err(error) = self.h3.note_useless_uni(self.elapsed) {
            self.fail(quic, error.code, error.reason, events);
        }
    }

    /// Feeds bytes of a unidirectional stream to `h3`. Returns a code if the stream must be stopped.
    fn feed_uni(&mut self, id: u64, mut bytes: Bytes) -> Result<Option<Code>, h3::Error> {
        while !bytes.is_empty() {
            if let Some(UniEvent::StopSending(code)) = self.h3.recv_uni(id, &mut bytes, self.elapsed)? {
                return Ok(Some(code));
            }
        }
        Ok(None)
    }

    pub(crate) fn drain_at(&self) -> Option<Instant> {
        match self.drain {
            Drain::Announced { final_at } => Some(final_at),
            Drain::Final { close_at, .. } => close_at,
            Drain::No => None,
        }
    }

    /// Does the next step of a drain if it is due. Returns whether there is something to transmit.
    pub(crate) fn drain_step(&mut self, quic: &mut Connection, now: Instant) -> bool {
        if quic.is_closed() {
            return false;
        }
        match self.drain {
            Drain::No => {
                self.send_goaway(quic, LAST_REQUEST_ID);
                self.drain = Drain::Announced { final_at: now + quic.rtt().max(MIN_GOAWAY_GAP) };
                true
            }
            Drain::Announced { final_at } if now >= final_at => {
                self.send_goaway(quic, self.next_request);
                let close_at = now + (quic.rtt() + MAX_ACK_DELAY) * LAST_ROUND_TRIPS;
                self.drain = Drain::Final { limit: self.next_request, close_at: Some(close_at) };
                true
            }
            Drain::Final { limit, close_at } if close_at.is_none_or(|at| now >= at) => {
                self.drain = Drain::Final { limit, close_at: None };
                let is_done = self.is_idle() && quic.streams().send_streams() <= 1;
                if is_done {
                    quic.close(now, varint(Code::NO_ERROR), Bytes::new());
                }
                is_done
            }
            Drain::Announced { .. } | Drain::Final { .. } => false,
        }
    }

    /// Sends GOAWAY. Does nothing before the control stream is open: `open_control` sends it then.
    fn send_goaway(&mut self, quic: &mut Connection, id: u64) {
        if self.control.is_none() {
            return;
        }
        let mut frame = Vec::with_capacity(16);
        self.h3.encode_goaway(id, &mut frame);
        self.send_control(quic, &frame);
    }

    /// Resets every open request and reports it as aborted.
    pub(crate) fn reset_streams(&mut self, quic: &mut Connection, code: Code, events: &mut VecDeque<Event>) {
        for (_, stream) in self.streams.iter_mut() {
            stream.reset(quic, code);
        }
        self.abort_streams(Abort::Closed, events);
    }
}
