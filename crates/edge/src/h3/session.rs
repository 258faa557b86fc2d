//! The HTTP/3 session of one connection: control streams, the table of request streams, GOAWAY.
//!
//! What QUIC tells comes in through `dispatch.rs`; what happens on a request stream in detail is in `request.rs` (receiving)
//! and `response.rs` (sending).

use super::arrivals::Unannounced;
use super::stream::{Intake, Output, Stream, varint};
use super::untyped::Untyped;
use crate::event::{Abort, Event, EventKind, StreamRef};
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

/// What all sessions of an edge have in common.
pub(crate) struct SessionSettings {
    pub(crate) limits: HeadLimits,
    pub(crate) rules: RequestRules,
    pub(crate) header_timeout: Duration,
    /// Credit of a stream, bytes.
    pub(crate) stream_window: u64,
    /// Bytes of interim heads that may wait for the client of one stream.
    pub(crate) stream_buffer: usize,
}

/// Where a session's streams come from.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) conn: Handle,
    /// The first connection id that we gave.
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) local_ip: Option<IpAddr>,
}

/// How far the session is on its way out (RFC 9114 5.2).
pub(super) enum Drain {
    /// Not asked to.
    No,
    /// The client was told that the end is near; the final id follows.
    Announced { final_at: Instant },
    /// Requests from this stream id on are rejected.
    Final { limit: u64 },
}

/// The first GOAWAY names the largest request stream id that there can be.
const LAST_REQUEST_ID: u64 = (1 << 62) - 4;
/// The final GOAWAY follows after a round trip, but not before this.
const MIN_GOAWAY_GAP: Duration = Duration::from_millis(10);

/// Values that are kept for one connection; more are not kept.
const MAX_KEPT: usize = 64;

/// The session.
pub(crate) struct Session {
    pub(super) origin: Origin,
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
    /// How long after that the last event came.
    pub(super) elapsed: Duration,
    /// What the exchange keeps for this connection, by name; most connections have nothing here.
    kept: Vec<(u64, u64)>,
    /// What came on streams that the engine has not announced yet.
    pub(super) unannounced: Unannounced,
    /// Bytes that were given to QUIC.
    written: u64,
    /// Bytes may wait for QUIC.
    pub(super) has_backlog: bool,
    /// When the first of the heads that are not complete is overdue, or was before it became complete.
    pub(super) head_due: Option<Instant>,
    pub(super) untyped: Untyped,
}

impl Session {
    /// Takes over the rules and limits of request heads. The window of its streams stays what was announced.
    pub(crate) fn configure(&mut self, settings: &Rc<SessionSettings>) {
        let stream_window = self.settings.stream_window;
        self.settings = if settings.stream_window == stream_window {
            settings.clone()
        } else {
            Rc::new(SessionSettings { stream_window, ..**settings })
        };
    }

    pub(crate) fn new(origin: Origin, settings: Rc<SessionSettings>, now: Instant) -> Self {
        let local = h3::Settings { max_field_section_size: settings.limits.section_size(), ..h3::Settings::default() };
        Self {
            origin,
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
            kept: Vec::new(),
            unannounced: Unannounced::default(),
            written: 0,
            has_backlog: false,
            head_due: None,
            untyped: Untyped::default(),
        }
    }

    /// The end of the response will not end the upload.
    pub(crate) fn open_tunnel(&mut self, stream: StreamRef) {
        if let Some(found) = self.find(stream) {
            found.is_tunnel = true;
            if let Intake::Body { frames, .. } = &mut found.intake {
                frames.enter_tunnel();
            }
        }
    }

    /// The address that the client had when the connection began.
    pub(crate) fn client(&self) -> IpAddr {
        self.origin.peer.ip()
    }

    /// The handle of the connection.
    pub(crate) fn conn(&self) -> Handle {
        self.origin.conn
    }

    pub(crate) fn id(&self) -> u64 {
        self.origin.id
    }

    /// Whether the stream is, or was, one of this connection.
    pub(crate) fn is_of(&self, stream: StreamRef) -> bool {
        self.origin.conn == stream.conn
    }

    pub(crate) fn kept(&self, name: u64) -> Option<u64> {
        self.kept.iter().find(|entry| entry.0 == name).map(|entry| entry.1)
    }

    pub(crate) fn keep(&mut self, stream: StreamRef, name: u64, value: u64) {
        if !self.is_of(stream) {
            return;
        }
        if let Some(entry) = self.kept.iter_mut().find(|entry| entry.0 == name) {
            entry.1 = value;
        } else if self.kept.len() < MAX_KEPT {
            self.kept.push((name, value));
        }
    }

    /// When [`Session::stop_slow_streams`] has something to look for.
    pub(crate) fn slow_stream_due(&self) -> Option<Instant> {
        [self.head_due, self.untyped.due()].into_iter().flatten().min()
    }

    /// Bytes that were given to QUIC so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// QUIC took so many bytes.
    pub(super) fn note_written(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    /// Bytes that wait for QUIC.
    pub(crate) fn waiting(&mut self) -> u64 {
        if !self.has_backlog {
            return 0;
        }
        let waiting = self.streams.iter().map(|(_, stream)| stream.backlog.bytes() as u64).sum();
        self.has_backlog = waiting > 0;
        waiting
    }

    /// Streams whose request or answer is under way.
    pub(crate) fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// No request is open.
    pub(crate) fn is_idle(&self) -> bool {
        self.streams.is_empty()
    }

    pub(crate) fn set_tag(&mut self, stream: StreamRef, tag: u64) {
        if let Some(found) = self.find(stream) {
            found.tag = Some(tag);
        }
    }

    /// Completes an event that is taken now. The stream is forgotten with the last event of it, and not before.
    pub(crate) fn on_taken(&mut self, event: &mut Event) {
        let Some(found) = self.find(event.stream) else { return };
        event.tag = found.tag;
        if matches!(event.kind, EventKind::Sent | EventKind::Aborted(_)) {
            found.is_last_event_waiting = false;
            self.sweep(event.stream.stream);
        }
    }

    pub(super) fn find(&mut self, stream: StreamRef) -> Option<&mut Stream> {
        if self.is_of(stream) { self.streams.get_mut(stream.stream) } else { None }
    }

    pub(super) fn reference(&self, slot: Handle) -> StreamRef {
        StreamRef { conn: self.origin.conn, stream: slot }
    }

    /// A STREAM frame of a request came.
    pub(crate) fn on_frame(&mut self, frame: &StreamFrame) {
        let slot = self.by_id.get(&frame.stream).copied();
        match slot.and_then(|slot| self.streams.get_mut(slot)) {
            Some(stream) => stream.arrivals.on_frame(frame),
            None => self.unannounced.on_frame(frame),
        }
    }

    /// All events are taken: every stream that has begun is known.
    pub(crate) fn on_served(&mut self) {
        self.unannounced.clear();
    }

    /// At most so many body bytes of a stream have arrived and were not read.
    pub(crate) fn unread(&self, stream: StreamRef) -> u64 {
        let Some(found) = self.streams.get(stream.stream) else { return 0 };
        match &found.intake {
            Intake::Body { rest, .. } => rest.len() as u64 + found.arrivals.unread(self.settings.stream_window),
            Intake::Head { .. } | Intake::Done => 0,
        }
    }

    /// Whether bytes of the response wait because QUIC has no room for them.
    pub(crate) fn has_unsent(&self, stream: StreamRef) -> bool {
        self.streams.get(stream.stream).is_some_and(Stream::has_unsent)
    }

    /// Counts a request that ended by the client's doing. Too many of them end the connection (RFC 9114 section 10.5).
    pub(super) fn count_ended_by_client(&mut self, quic: &mut Connection, events: &mut VecDeque<Event>) {
        if let Err(error) = self.h3.request_aborted(self.elapsed) {
            self.fail(quic, error.code, error.reason, events);
        }
    }

    /// Forgets a stream if nothing more can happen on it.
    pub(super) fn sweep(&mut self, slot: Handle) {
        if self.streams.get(slot).is_some_and(Stream::is_over)
            && let Some(stream) = self.streams.remove(slot)
        {
            self.by_id.remove(&u64::from(stream.id));
        }
    }

    pub(super) fn slot_of(&self, id: StreamId) -> Option<Handle> {
        self.by_id.get(&u64::from(id)).copied()
    }

    /// The connection is over: every open request is told.
    pub(crate) fn lose_streams(&mut self, abort: Abort, events: &mut VecDeque<Event>) {
        let conn = self.origin.conn;
        for (handle, stream) in self.streams.iter_mut() {
            stream.intake = Intake::Done;
            stream.output = Output::Done;
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
        self.lose_streams(Abort::Lost, events);
    }

    pub(super) fn open_control(&mut self, quic: &mut Connection) {
        let Some(id) = quic.streams().open(Dir::Uni) else { return };
        self.control = Some(id);
        let mut opening = Vec::with_capacity(32);
        self.h3.encode_opening(&mut opening);
        match self.drain {
            Drain::No => {}
            Drain::Announced { .. } => self.h3.encode_goaway(LAST_REQUEST_ID, &mut opening),
            Drain::Final { limit } => self.h3.encode_goaway(limit, &mut opening),
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

    pub(super) fn read_uni(&mut self, quic: &mut Connection, id: StreamId, events: &mut VecDeque<Event>) {
        let number = u64::from(id);
        let mut is_over = false;
        let result = {
            let mut stream = quic.recv_stream(id);
            let Ok(mut chunks) = stream.read(true) else { return };
            loop {
                match chunks.next(usize::MAX) {
                    Ok(Some(chunk)) => match self.feed_uni(number, chunk.bytes) {
                        Ok(None) => {}
                        unwanted_or_wrong => break unwanted_or_wrong,
                    },
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
            Ok(None) => {}
            Ok(Some(code)) => {
                self.untyped.remove(id);
                self.stop_uni(quic, id, code, events);
            }
            Err(error) => self.fail(quic, error.code, error.reason, events),
        }
    }

    /// Stops a unidirectional stream that means nothing here. A flood of them ends the connection.
    pub(super) fn stop_uni(&mut self, quic: &mut Connection, id: StreamId, code: Code, events: &mut VecDeque<Event>) {
        let _stopped = quic.recv_stream(id).stop(varint(code)); // fails only if the client has ended it
        self.h3.remove_uni(u64::from(id));
        if let Err(error) = self.h3.note_useless_uni(self.elapsed) {
            self.fail(quic, error.code, error.reason, events);
        }
    }

    /// Takes bytes of a unidirectional stream; gives the code with which to stop one that means nothing here.
    fn feed_uni(&mut self, id: u64, mut bytes: Bytes) -> Result<Option<Code>, h3::Error> {
        while !bytes.is_empty() {
            if let Some(UniEvent::StopSending(code)) = self.h3.recv_uni(id, &mut bytes, self.elapsed)? {
                return Ok(Some(code));
            }
        }
        Ok(None)
    }

    /// When the next step of a drain is due.
    pub(crate) fn drain_at(&self) -> Option<Instant> {
        match self.drain {
            Drain::Announced { final_at } => Some(final_at),
            Drain::No | Drain::Final { .. } => None,
        }
    }

    /// Takes the next step of a drain, if it is time. True if there is something to transmit.
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
                self.drain = Drain::Final { limit: self.next_request };
                true
            }
            Drain::Final { .. } if self.is_idle() && quic.streams().send_streams() <= 1 => {
                quic.close(now, varint(Code::NO_ERROR), Bytes::new());
                true
            }
            Drain::Announced { .. } | Drain::Final { .. } => false,
        }
    }

    /// Sends GOAWAY; before the control stream is open, opening it will.
    fn send_goaway(&mut self, quic: &mut Connection, id: u64) {
        if self.control.is_none() {
            return;
        }
        let mut frame = Vec::with_capacity(16);
        self.h3.encode_goaway(id, &mut frame);
        self.send_control(quic, &frame);
    }

    /// Resets every open request, and says so.
    pub(crate) fn abandon(&mut self, quic: &mut Connection, code: Code, events: &mut VecDeque<Event>) {
        for (_, stream) in self.streams.iter_mut() {
            stream.reset(quic, code);
        }
        self.lose_streams(Abort::Closed, events);
    }
}
