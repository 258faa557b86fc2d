//! [`TcpEdge`]: the table of TCP connections of one listener on one worker, and the passes that the worker's loop makes over
//! it.
//!
//! A turn is: [`TcpEdge::poll_io`], [`TcpEdge::on_time`], the events, then [`TcpEdge::flush`]. `operations` has the calls of the
//! exchange.

use super::{
    accept::NewConnection,
    acceptor::Acceptor,
    conn::{Conn, Lost, Phase, ReadEnd},
    protocol::SessionSettings,
    settings::{TcpSettings, TimeLimits},
};
use crate::event::{Abort, Event};
use spooky_net::{
    ready::ReadySet,
    tcp,
    timer::{Deadlines, disarm},
};
use spooky_table::{Handle, Table};
use spooky_telemetry::ConnectionRecord;
use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    os::fd::BorrowedFd,
    rc::Rc,
    sync::Arc,
    task::Context,
    time::{Duration, Instant},
};

/// Maximum number of connections of one worker.
const MAX_SLOTS: usize = 131_072;
/// Connections accepted per turn, so that a flood of them does not delay others.
const ACCEPTS_PER_TURN: usize = 32;
/// Processor time for TLS handshakes per turn; further ones wait for the next turn. One may take a millisecond, and new
/// connections must not delay the requests of existing ones.
const HANDSHAKE_TIME_PER_TURN: Duration = Duration::from_millis(1);
/// Bits of a connection's number that count; the others are the number of the worker.
const ID_BITS: u32 = 48;
/// How much longer than `client_stall_timeout_ms` the kernel waits for clients that take nothing: it also ends connections
/// that are closed here.
const KERNEL_PATIENCE: Duration = Duration::from_secs(1);
/// Size of the buffer for one read.
const SCRATCH: usize = 64 * 1024;

/// One listener's TCP connections on one worker.
pub struct TcpEdge {
    settings: TcpSettings,
    session: Rc<SessionSettings>,
    acceptor: Option<Acceptor>,
    pub(super) conns: Table<Box<Conn>>,
    ready: Arc<ReadySet>,
    /// Connections to read in this turn. What is left of it is read in the next one.
    visits: VecDeque<usize>,
    /// Buffer for the slots of the ready set.
    woken: Vec<usize>,
    /// Connections with something to send, or with changed deadlines.
    pub(super) dirty: Vec<Handle>,
    /// Connections whose sockets are closed. They are removed when their events are taken.
    closed: Vec<Handle>,
    deadlines: Deadlines<Handle>,
    events: VecDeque<Event>,
    /// Connections that have ended, if they are reported.
    ended: Vec<ConnectionRecord>,
    reports_connections: bool,
    scratch: Box<[u8]>,
    /// Number of connections so far.
    accepted: u64,
    is_draining: bool,
}

impl TcpEdge {
    /// Creates an edge that does not accept connections yet.
    pub fn new(settings: TcpSettings) -> Self {
        Self {
            session: Rc::new(settings.session()),
            settings,
            acceptor: None,
            conns: Table::default(),
            ready: ReadySet::new(MAX_SLOTS),
            visits: VecDeque::new(),
            woken: Vec::new(),
            dirty: Vec::new(),
            closed: Vec::new(),
            deadlines: Deadlines::default(),
            events: VecDeque::new(),
            ended: Vec::new(),
            reports_connections: false,
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            accepted: 0,
            is_draining: false,
        }
    }

    /// Accepts connections from a listening socket from now on. Must be called within the worker's runtime.
    pub fn listen(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let acceptor = Acceptor::new(tcp::listener(socket)?);
        acceptor.limit_silence(self.settings.stall_timeout + KERNEL_PATIENCE);
        self.acceptor = Some(acceptor);
        self.is_draining = false;
        Ok(())
    }

    /// Connections that are not closed.
    pub fn connections(&self) -> usize {
        self.conns.len() - self.closed.len()
    }

    /// When [`TcpEdge::on_time`] must be called if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        let accept = self.acceptor.as_ref().and_then(Acceptor::deadline);
        [self.deadlines.next(), accept].into_iter().flatten().min()
    }

    /// Returns whether there is something to do that nothing else wakes the worker for.
    pub fn has_work(&self) -> bool {
        !self.visits.is_empty() || !self.dirty.is_empty() || !self.closed.is_empty() || !self.events.is_empty()
    }

    /// Accepts connections and reads those that are ready. Returns true if more connections may wait.
    pub fn poll_io(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        self.ready.register(cx.waker());
        let has_more = self.accept(cx, now);
        self.ready.take(&mut self.woken);
        self.visits.extend(self.woken.drain(..));
        let mut handshakes = Duration::ZERO;
        for _ in 0..self.visits.len() {
            let Some(index) = self.visits.pop_front() else { break };
            if !self.is_handshaking(index) {
                self.visit(index, now);
            } else if handshakes < HANDSHAKE_TIME_PER_TURN {
                let begun = Instant::now();
                self.visit(index, now);
                handshakes += begun.elapsed();
            } else {
                self.visits.push_back(index);
            }
        }
        has_more
    }

    fn is_handshaking(&self, index: usize) -> bool {
        let conn = self.conns.at(index).and_then(|handle| self.conns.get(handle));
        conn.is_some_and(|conn| !matches!(conn.phase, Phase::Open(_)))
    }

    /// Accepts waiting connections. Returns true if there may be more.
    fn accept(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Self { acceptor: Some(acceptor), conns, settings, session, ready, visits, accepted, .. } = self else {
            return false;
        };
        for _ in 0..ACCEPTS_PER_TURN {
            if conns.len() >= MAX_SLOTS {
                return false;
            }
            let Some((stream, peer)) = acceptor.poll(cx, now) else { return false };
            let Some(new) = NewConnection::admit(stream, peer, settings, now) else { continue };
            *accepted += 1;
            let id = u64::from(settings.worker) << ID_BITS | *accepted;
            let handle = conns.insert_with(|handle| new.into_conn(handle, id, settings, session, ready));
            // The ClientHello has often arrived already; if not, reading registers the waker.
            visits.push_back(handle.index());
        }
        true
    }

    /// Reads a connection, and sends what it could not send before.
    fn visit(&mut self, index: usize, now: Instant) {
        let Self { conns, events, settings, scratch, dirty, visits, .. } = self;
        let Some(handle) = conns.at(index) else { return };
        let Some(conn) = conns.get_mut(handle).filter(|conn| !conn.is_closed) else { return };
        let establish = |client: SocketAddr| settings.limiter.establish(client.ip());
        let result = conn.read(now, scratch, events, &establish);
        mark(dirty, conn);
        match result {
            Ok(ReadEnd::Blocked) => {}
            Ok(ReadEnd::More) => visits.push_back(index),
            Err(lost) => self.end_connection(handle, &lost, now),
        }
    }

    /// Handles time limits that have passed.
    pub fn on_time(&mut self, now: Instant) {
        let limits = self.settings.time_limits();
        while let Some((at, handle)) = self.deadlines.pop_due(now) {
            let Self { conns, events, dirty, .. } = self;
            let Some(conn) = conns.get_mut(handle).filter(|conn| !conn.is_closed) else { continue };
            if !disarm(&mut conn.armed, at) {
                continue;
            }
            mark(dirty, conn);
            if let Err(lost) = conn.on_time(&limits, now, events) {
                self.end_connection(handle, &lost, now);
            }
        }
    }

    /// Returns the next event of a stream, if there is one.
    pub fn next_event(&mut self) -> Option<Event> {
        let mut event = self.events.pop_front()?;
        if let Some(conn) = self.conns.get_mut(event.stream.conn) {
            conn.history.on_event(&event);
            if let Phase::Open(open) = &mut conn.phase {
                open.session.protocol_mut().on_taken(&mut event);
            }
        }
        Some(event)
    }

    /// Returns the reports about connections that have ended since the last call. From now on, there is one for each if
    /// `is_wanted`.
    pub fn take_ended(&mut self, is_wanted: bool) -> impl Iterator<Item = ConnectionRecord> {
        self.reports_connections = is_wanted;
        self.ended.drain(..)
    }

    /// Sends what the connections have for their clients, each once.
    pub fn flush(&mut self, now: Instant) {
        // All events of earlier turns were taken.
        for handle in self.closed.drain(..) {
            self.conns.remove(handle);
        }
        let limits = self.settings.time_limits();
        let mut dirty = std::mem::take(&mut self.dirty);
        for handle in dirty.drain(..) {
            self.flush_connection(handle, &limits, now);
        }
        // Those that have reached the limit of the turn were added again.
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
    }

    fn flush_connection(&mut self, handle: Handle, limits: &TimeLimits, now: Instant) {
        let Self { conns, events, dirty, deadlines, visits, is_draining, .. } = self;
        let Some(conn) = conns.get_mut(handle).filter(|conn| !conn.is_closed) else { return };
        conn.is_dirty = false;
        match conn.flush(now, events) {
            Ok(has_more) => {
                if has_more || *is_draining && conn.drain_step(now) {
                    mark(dirty, conn);
                }
                if conn.paused.is_some() && conn.wants_input() {
                    conn.paused = None;
                    visits.push_back(handle.index());
                }
                if let Some(at) = conn.deadline(limits) {
                    deadlines.arm(handle, at, &mut conn.armed);
                }
            }
            Err(lost) => self.end_connection(handle, &lost, now),
        }
    }

    /// Closes a connection at once.
    fn end_connection(&mut self, handle: Handle, lost: &Lost, now: Instant) {
        let Self { conns, events, closed, ended, reports_connections, .. } = self;
        let Some(conn) = conns.get_mut(handle).filter(|conn| !conn.is_closed) else { return };
        tracing::debug!("Connection closed: {lost}, from {}", conn.peer.address);
        if let Phase::Open(open) = &mut conn.phase {
            open.session.protocol_mut().abort_streams(&conn.peer, Abort::Lost, events);
        }
        if matches!(lost, Lost::TimedOut(_)) {
            conn.count_late_handshake();
            // Otherwise the kernel would keep what the client does not take.
            tcp::reset_on_close(&conn.socket.stream);
        }
        if *reports_connections {
            ended.extend(conn.report(lost, now));
        }
        conn.is_closed = true;
        closed.push(handle);
    }

    /// Applies new settings. New connections use all of them; existing ones the time limits, and the rules and limits of
    /// request heads.
    pub fn configure(&mut self, settings: TcpSettings) {
        self.session = Rc::new(settings.session());
        if let Some(acceptor) = &self.acceptor {
            acceptor.limit_silence(settings.stall_timeout + KERNEL_PATIENCE);
        }
        self.settings = settings;
        for (_, conn) in self.conns.iter_mut() {
            conn.settings = self.session.clone();
            if let Phase::Open(open) = &mut conn.phase {
                open.session.protocol_mut().configure(&self.session);
            }
            mark(&mut self.dirty, conn);
        }
    }

    /// Refuses new connections and ends existing ones gracefully: by two GOAWAY frames, or by `connection: close`.
    pub fn drain(&mut self, now: Instant) {
        self.is_draining = true;
        self.stop_listening();
        for (_, conn) in self.conns.iter_mut() {
            conn.drain_step(now);
            mark(&mut self.dirty, conn);
        }
    }

    /// Accepts no further connections and leaves them to another process that shares the socket.
    pub fn hand_over(&mut self) {
        self.acceptor = None;
    }

    /// Makes the kernel refuse connections, although other parts of the process hold the socket.
    fn stop_listening(&mut self) {
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.stop();
        }
    }

    /// Resets open requests, each with an event, and closes all connections.
    pub fn close(&mut self, now: Instant) {
        self.stop_listening();
        for (_, conn) in self.conns.iter_mut() {
            conn.close(now, &mut self.events);
            mark(&mut self.dirty, conn);
        }
    }
}

/// Adds a connection to those that the next flush serves.
pub(super) fn mark(dirty: &mut Vec<Handle>, conn: &mut Conn) {
    if !conn.is_dirty {
        conn.is_dirty = true;
        dirty.push(conn.peer.conn);
    }
}
