//! [`Edge`]: the table of connections of one listener on one worker, and the passes that the worker's loop makes over it.
//!
//! A turn is: [`Edge::on_datagram`] for each, [`Edge::on_time`], [`Edge::serve`] and the events, then [`Edge::transmit`].

use super::{cid::FirstCid, congestion::LastLog, conn::Conn, drops::Drops, resets::ResetRate};
use crate::{
    ConnectionLimiter,
    body::Body,
    budget::ResponseBudget,
    event::{Abort, BodyRead, Event, StreamRef},
    h3::{self, Session, SessionSettings},
    identity,
    settings::{EdgeError, EdgeSettings, ServerConfigs},
};
use bytes::Bytes;
use quinn_proto::{ConnectionHandle, Endpoint, Transmit, VarInt};
use spooky_bridge::{
    h3::Code,
    message::{Fields, ResetReason, ResponseHead},
};
use spooky_net::timer::Deadlines;
use spooky_net::tls::CertificateStore;
use spooky_telemetry::{ConnectionRecord, metrics::ClientCounts};
use std::{
    collections::VecDeque,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

/// One listener's connections on one worker.
pub struct Edge {
    pub(super) endpoint: Endpoint,
    pub(super) server: ServerConfigs,
    pub(super) certificates: Arc<CertificateStore>,
    pub(super) session: Rc<SessionSettings>,
    pub(super) conns: Vec<Option<Box<Conn>>>,
    pub(super) open: usize,
    pub(super) limiter: Arc<dyn ConnectionLimiter>,
    pub(super) dirty: VecDeque<u32>,
    /// Connections with packets that wait for a later turn.
    pub(super) throttled: Vec<u32>,
    pub(super) deadlines: Deadlines<u32>,
    pub(super) events: VecDeque<Event>,
    /// Connections that have ended, if they are reported.
    pub(super) ended: Vec<ConnectionRecord>,
    pub(super) reports_connections: bool,
    staged: h3::Staging,
    pub(super) replies: Vec<(Transmit, Vec<u8>)>,
    pub(super) resets: ResetRate,
    pub(super) drops: Drops,
    pub(super) counts: ClientCounts,
    pub(super) keep_alive_every: Duration,
    pub(super) handshake_timeout: Duration,
    /// `max_udp_payload_size` as announced to clients, bytes.
    pub(super) max_datagram: usize,
    pub(super) draining: bool,
    pub(super) epoch: u32,
    pub(super) first_cid: FirstCid,
    pub(super) last_log: LastLog,
    pub(super) responses: Arc<ResponseBudget>,
    pub(super) stall_timeout: Duration,
}

/// Keep-alive PINGs sent within one idle timeout.
const KEEP_ALIVES_PER_IDLE_TIMEOUT: u32 = 3;

impl Edge {
    /// Creates an edge without connections.
    pub fn new(settings: &EdgeSettings) -> Result<Self, EdgeError> {
        let last_log = LastLog::default();
        let server = settings.server_configs(&last_log)?;
        let first_cid = FirstCid::default();
        let endpoint_config = settings.endpoint_config(&first_cid);
        let max_datagram = usize::try_from(endpoint_config.get_max_udp_payload_size()).unwrap_or(usize::MAX);
        let endpoint = Endpoint::new(Arc::new(endpoint_config), Some(server.validated.clone()), true, None);
        Ok(Self {
            endpoint,
            server,
            certificates: settings.certificates.clone(),
            session: Rc::new(settings.session()),
            conns: Vec::new(),
            open: 0,
            limiter: settings.limiter.clone(),
            dirty: VecDeque::new(),
            throttled: Vec::new(),
            deadlines: Deadlines::default(),
            events: VecDeque::new(),
            ended: Vec::new(),
            reports_connections: false,
            staged: h3::Staging::default(),
            replies: Vec::new(),
            resets: ResetRate::new(),
            drops: Drops::new(settings.counts.worker.clone()),
            counts: settings.counts.clone(),
            keep_alive_every: settings.idle_timeout / KEEP_ALIVES_PER_IDLE_TIMEOUT,
            handshake_timeout: settings.handshake_timeout,
            max_datagram,
            draining: false,
            epoch: 0,
            first_cid,
            last_log,
            responses: settings.responses.clone(),
            stall_timeout: settings.stall_timeout,
        })
    }

    /// Connections that are not closed.
    pub fn connections(&self) -> usize {
        self.open
    }

    /// Number of packets, connections and answers dropped for this reason.
    #[cfg(test)]
    pub(crate) fn dropped(&self, reason: spooky_telemetry::metrics::Dropped) -> u64 {
        self.drops.count(reason)
    }

    /// When [`Edge::on_time`] must be called if nothing arrives before.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Turns what happened on connections in this turn into events of their streams.
    pub fn serve(&mut self, now: Instant) {
        for at in 0..self.dirty.len() {
            let Some(&index) = self.dirty.get(at) else { break };
            let Some(conn) = self.conns.get_mut(index as usize).and_then(Option::as_mut) else { continue };
            conn.resize(now);
            conn.session.on_early_data(&mut conn.quic);
            let mut taken = 0;
            while let Some(event) = conn.quic.poll() {
                conn.note_handshake(&event, now);
                conn.session.on_event(&mut conn.quic, &event, now, &mut self.events);
                taken += 1;
            }
            conn.session.on_served();
            conn.share.charge_events(taken);
        }
    }

    /// Returns the next event of a stream, if there is one.
    pub fn next_event(&mut self) -> Option<Event> {
        let mut event = self.events.pop_front()?;
        if let Some(conn) = self.conns.get_mut(event.stream.conn.index()).and_then(Option::as_mut) {
            conn.session.on_taken(&mut event);
            conn.history.on_event(&event);
        }
        Some(event)
    }

    /// Returns the reports about connections that have ended since the last call. From now on, there is one for each if
    /// `is_wanted`.
    pub fn take_ended(&mut self, is_wanted: bool) -> impl Iterator<Item = ConnectionRecord> {
        self.reports_connections = is_wanted;
        self.ended.drain(..)
    }

    /// Returns whether a connection waits for [`Edge::serve`] or [`Edge::transmit`].
    pub fn has_work(&self) -> bool {
        !self.dirty.is_empty() || !self.replies.is_empty() || !self.throttled.is_empty()
    }

    /// Fills `buffer` with datagrams of one connection, at most `max_segments(destination, datagram size)` of them. The
    /// caller must send them and call again, with an empty buffer, until it returns `None`.
    pub fn transmit(
        &mut self,
        now: Instant,
        max_segments: impl Fn(SocketAddr, usize) -> usize,
        buffer: &mut Vec<u8>,
    ) -> Option<Transmit> {
        self.flush();
        if let Some((transmit, data)) = self.replies.pop() {
            buffer.extend_from_slice(&data);
            return Some(transmit);
        }
        while let Some(&index) = self.dirty.front() {
            if let Some(conn) = self.conns.get_mut(index as usize).and_then(Option::as_mut) {
                let mtu = usize::from(conn.quic.current_mtu());
                let segments = max_segments(conn.quic.remote_address(), mtu);
                if let Some(transmit) = conn.quic.poll_transmit(now, segments, buffer) {
                    return Some(transmit);
                }
                conn.dirty = false;
                self.after_transmit(now, index);
            }
            self.dirty.pop_front();
        }
        None
    }

    /// Handles endpoint events, arms the next deadline and removes a drained connection. Called after the last transmit of a
    /// connection in a turn.
    fn after_transmit(&mut self, now: Instant, index: u32) {
        let Some(conn) = self.conns.get_mut(index as usize).and_then(Option::as_mut) else { return };
        let handle = ConnectionHandle(index as usize);
        while let Some(event) = conn.quic.poll_endpoint_events() {
            if let Some(answer) = self.endpoint.handle_event(handle, event) {
                conn.quic.handle_event(answer);
                mark(&mut self.dirty, conn);
            }
        }
        if self.reports_connections && conn.quic.is_closed() {
            self.ended.extend(conn.report(now, "closed by Spooky"));
        }
        let is_drained = conn.quic.is_drained();
        if is_drained || conn.outgoing.take_loss() {
            conn.count_losses();
        }
        if is_drained {
            if let Some(slot) = self.conns.get_mut(index as usize) {
                *slot = None;
                self.open -= 1;
            }
            return;
        }
        conn.update_buffered(now);
        if let Some(at) = conn.deadline() {
            self.deadlines.arm(index, at, &mut conn.armed);
        }
        if self.draining && conn.session.drain_step(&mut conn.quic, now) {
            mark(&mut self.dirty, conn);
        }
    }

    /// First connection id that was issued for the stream's connection, as a number; 0 if the connection is gone.
    pub fn connection_id(&self, stream: StreamRef) -> u64 {
        self.session(stream).map_or(0, Session::id)
    }

    /// Subject (RFC 4514) of the client's verified certificate: ASCII, valid as a field value, not empty. Parsed once for a
    /// connection, at the first call.
    pub fn client_subject(&self, stream: StreamRef) -> Option<&str> {
        let conn = self.conns.get(stream.conn.index())?.as_ref()?;
        if conn.session.is_of(stream) { conn.subject() } else { None }
    }

    /// Returns whether `authority` needs another certificate than the one of the handshake (RFC 9110 section 15.5.20). False
    /// if the client sent no SNI. `scratch` is a buffer that the caller reuses.
    pub fn is_misdirected(&self, stream: StreamRef, authority: &[u8], scratch: &mut Vec<u8>) -> bool {
        let conn = self.conns.get(stream.conn.index()).and_then(Option::as_ref);
        let Some(conn) = conn.filter(|conn| conn.session.is_of(stream)) else { return false };
        conn.server_name().is_some_and(|name| identity::is_misdirected(&conn.certificates, name, authority, scratch))
    }

    /// Returns whether no final response was sent on the stream's connection before this call, which counts as one.
    pub fn take_first_answer(&mut self, stream: StreamRef) -> bool {
        self.parts(stream).is_some_and(|(conn, _)| !std::mem::replace(&mut conn.is_answered, true))
    }

    /// Returns whether the handshake of the stream's connection is not complete. What has arrived until then is early data,
    /// which an attacker can have recorded and sent again (RFC 8470 section 3).
    pub fn is_early(&self, stream: StreamRef) -> bool {
        let conn = self.conns.get(stream.conn.index()).and_then(Option::as_ref);
        conn.is_some_and(|conn| conn.session.is_of(stream) && conn.quic.is_handshaking())
    }

    /// Returns the backend that the stream's connection uses for an upstream (sticky-cid).
    pub fn sticky_backend(&self, stream: StreamRef, upstream: u64) -> Option<u64> {
        self.session(stream)?.sticky_backend(upstream)
    }

    /// Sets the backend that the stream's connection uses for an upstream until it ends. Does nothing if the connection
    /// already has too many.
    pub fn set_sticky_backend(&mut self, stream: StreamRef, upstream: u64, backend: u64) {
        if let Some((conn, _)) = self.parts(stream) {
            conn.session.set_sticky_backend(stream, upstream, backend);
        }
    }

    fn session(&self, stream: StreamRef) -> Option<&Session> {
        let session = &self.conns.get(stream.conn.index())?.as_ref()?.session;
        session.is_of(stream).then_some(session)
    }

    /// Sets the number that every event of a stream carries from now on, queued events included.
    pub fn set_tag(&mut self, stream: StreamRef, tag: u64) {
        if let Some((conn, _)) = self.parts(stream) {
            conn.session.set_tag(stream, tag);
        }
    }

    /// Reads at most `max` bytes of the request body, and gives the client flow control credit for them.
    pub fn read_body(&mut self, stream: StreamRef, max: usize) -> BodyRead {
        match self.parts(stream) {
            Some((conn, dirty)) => {
                mark(dirty, conn); // flow control credit may have to be sent
                let read = conn.session.read_body(&mut conn.quic, stream, max);
                if conn.quic.is_closed() {
                    self.abort_streams(stream); // the read closed the connection, for which quinn-proto has no event
                }
                read
            }
            None => BodyRead::Aborted(Abort::Lost),
        }
    }

    /// Upper bound of the body bytes of this stream that have been received but not read.
    pub fn unread(&self, stream: StreamRef) -> u64 {
        self.session(stream).map_or(0, |session| session.unread(stream))
    }

    /// Returns whether response bytes of earlier turns wait for the client's flow control or congestion window.
    pub fn has_unsent(&self, stream: StreamRef) -> bool {
        self.session(stream).is_some_and(|session| session.has_unsent(stream))
    }

    /// Bytes of one response that may be buffered between its backend and this client.
    pub fn stream_share(&self, stream: StreamRef) -> usize {
        let conn = self.conns.get(stream.conn.index()).and_then(Option::as_ref);
        conn.map_or(0, |conn| conn.outgoing.stream_share(conn.session.open_streams()))
    }

    fn abort_streams(&mut self, stream: StreamRef) {
        let Self { conns, events, .. } = self;
        if let Some(conn) = conns.get_mut(stream.conn.index()).and_then(Option::as_mut) {
            conn.session.abort_streams(Abort::Lost, events);
        }
    }

    /// Sends an interim response (1xx).
    pub fn interim(&mut self, stream: StreamRef, head: &ResponseHead) {
        self.flush(); // so that only what QUIC does not take counts as waiting
        self.stage(stream, |session, out| session.interim(stream, head, out));
    }

    /// Sends the response head. `body` says how the body will be framed.
    pub fn respond(&mut self, stream: StreamRef, head: &ResponseHead, body: Body) {
        self.stage(stream, |session, out| session.respond(stream, head, body, out));
    }

    /// Makes the stream a tunnel, whose directions end independently. Must be called before [`Edge::finish`].
    pub fn open_tunnel(&mut self, stream: StreamRef) {
        if let Some((conn, _)) = self.parts(stream) {
            conn.session.open_tunnel(stream);
        }
    }

    fn stage(&mut self, stream: StreamRef, write: impl FnOnce(&mut Session, &mut Vec<u8>)) {
        self.flush_for(stream);
        let Self { conns, staged, .. } = self;
        if let Some(conn) = conns.get_mut(stream.conn.index()).and_then(Option::as_mut) {
            write(&mut conn.session, staged.open(stream));
        }
    }

    /// Sends body bytes. Returns how many quinn-proto accepted at once, of these and of earlier ones;
    /// [`crate::EventKind::Accepted`] reports the others.
    pub fn send_body(&mut self, stream: StreamRef, data: Bytes) -> usize {
        self.flush_for(stream);
        let Self { conns, staged, dirty, .. } = self;
        let Some(conn) = conns.get_mut(stream.conn.index()).and_then(Option::as_mut) else { return 0 };
        mark(dirty, conn);
        conn.session.send_body(&mut conn.quic, stream, data, staged)
    }

    /// Ends the response, with trailers if there are any. Returns true if quinn-proto has accepted all of it; otherwise
    /// [`crate::EventKind::Sent`] follows.
    pub fn finish(&mut self, stream: StreamRef, trailers: Option<&Fields>) -> bool {
        self.flush_for(stream);
        let Self { conns, staged, dirty, .. } = self;
        let Some(conn) = conns.get_mut(stream.conn.index()).and_then(Option::as_mut) else { return true };
        mark(dirty, conn);
        conn.session.finish(&mut conn.quic, stream, trailers, staged)
    }

    /// Resets the stream in both directions. No event of it follows.
    pub fn reset(&mut self, stream: StreamRef, reason: ResetReason) {
        if self.staged.is_of(stream) {
            self.staged.clear();
        }
        if let Some((conn, dirty)) = self.parts(stream) {
            mark(dirty, conn);
            conn.session.reset(&mut conn.quic, stream, reason);
        }
    }

    /// Applies new settings. New connections use all of them; existing ones only the rules and limits of request heads, because
    /// transport parameters are negotiated once.
    ///
    /// Changes nothing if it fails, as [`Edge::new`] may.
    pub fn configure(&mut self, settings: &EdgeSettings) -> Result<(), EdgeError> {
        let server = settings.server_configs(&self.last_log)?;
        self.endpoint.set_server_config(Some(server.validated.clone()));
        self.server = server;
        self.session = Rc::new(settings.session());
        self.certificates = settings.certificates.clone();
        self.limiter = settings.limiter.clone();
        self.handshake_timeout = settings.handshake_timeout;
        self.responses = settings.responses.clone();
        self.stall_timeout = settings.stall_timeout;
        self.keep_alive_every = settings.idle_timeout / KEEP_ALIVES_PER_IDLE_TIMEOUT;
        for conn in self.conns.iter_mut().flatten() {
            conn.session.configure(&self.session);
        }
        Ok(())
    }

    /// Refuses new connections and shuts existing ones down gracefully, with two GOAWAY frames (RFC 9114 section 5.2).
    pub fn drain(&mut self, now: Instant) {
        self.draining = true;
        self.for_each(|conn, _| {
            conn.session.drain_step(&mut conn.quic, now);
        });
    }

    /// Resets open requests with `H3_REQUEST_CANCELLED`, each with an event, and closes all connections with `H3_NO_ERROR`.
    pub fn close(&mut self, now: Instant) {
        let code = VarInt::from_u64(Code::NO_ERROR.0).unwrap_or_default();
        self.for_each(|conn, events| {
            conn.session.reset_streams(&mut conn.quic, Code::REQUEST_CANCELLED, events);
            conn.quic.close(now, code, Bytes::new());
        });
    }

    fn for_each(&mut self, mut act: impl FnMut(&mut Conn, &mut VecDeque<Event>)) {
        let Self { conns, dirty, events, .. } = self;
        for conn in conns.iter_mut().flatten() {
            act(conn, events);
            mark(dirty, conn);
        }
    }

    fn parts(&mut self, stream: StreamRef) -> Option<(&mut Conn, &mut VecDeque<u32>)> {
        let conn = self.conns.get_mut(stream.conn.index())?.as_mut()?;
        Some((conn, &mut self.dirty))
    }

    fn flush_for(&mut self, stream: StreamRef) {
        if !self.staged.is_of(stream) {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let Some(stream) = self.staged.stream() else { return };
        let Self { conns, staged, dirty, .. } = self;
        if let Some(conn) = conns.get_mut(stream.conn.index()).and_then(Option::as_mut) {
            mark(dirty, conn);
            let _none = conn.session.flush(&mut conn.quic, stream, staged); // no body waits before what is staged
        }
        self.staged.clear();
    }
}

/// Adds a connection to those that the next pass serves.
pub(super) fn mark(dirty: &mut VecDeque<u32>, conn: &mut Conn) {
    if !conn.dirty {
        conn.dirty = true;
        dirty.push_back(conn.session.conn().index() as u32);
    }
}
