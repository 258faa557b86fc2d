//! One TCP connection: its phases from the PROXY header to the end, and what it receives.
//!
//! `send` is its other half.

use super::{
    closing::Closing,
    count::CountedConnection,
    outgoing::Outgoing,
    protocol::{Peer, SessionError, SessionSettings},
    session::Session,
    socket::Socket,
};
use crate::{
    event::{Abort, Event},
    history::{History, Totals},
    identity,
    limiter::LimiterSlot,
    sticky::StickyBackends,
    tls_failure,
};
use bytes::BytesMut;
use spooky_bridge::{
    message::Protocol,
    proxy_protocol::{self, InvalidHeader},
};
use spooky_net::{tcp, tls::CertificateStore};
use spooky_telemetry::{
    ClientProtocol, ConnectionRecord,
    metrics::{OpenConnection, TlsFailure},
};
use std::{
    cell::OnceCell,
    collections::VecDeque,
    fmt,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

/// Bytes that one connection may receive per turn, so that others are not delayed.
const READ_PER_TURN: usize = 256 * 1024;
/// Received and unhandled bytes above which the socket is not read.
const MAX_INBOUND: usize = 64 * 1024;
/// Time between two checks for a reset of a connection whose socket is not read.
const RESET_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A client's connection.
pub(super) struct Conn {
    pub(super) peer: Peer,
    /// Number of the connection for balancing.
    pub(super) id: u64,
    pub(super) socket: Socket,
    pub(super) waker: Waker,
    pub(super) phase: Phase,
    /// Set when the session has ended or failed: nothing that the client sends is handled any more.
    pub(super) closing: Option<Closing>,
    /// The socket is of no more use. The connection is removed when its events are taken.
    pub(super) is_closed: bool,
    /// Content that the session has not handled yet.
    pub(super) inbound: BytesMut,
    pub(super) outgoing: Outgoing,
    /// The connection is in the list of those to flush.
    pub(super) is_dirty: bool,
    /// Set while the socket is not read because nothing more can be handled: when it is next checked for a reset, which is
    /// noticed by reading only.
    pub(super) paused: Option<Instant>,
    /// The earliest armed deadline.
    pub(super) armed: Option<Instant>,
    /// Slot of the limiter; `None` until the client's address is known.
    pub(super) slot: Option<LimiterSlot>,
    pub(super) _counted: CountedConnection,
    /// For the report about its end.
    pub(super) history: History,
    pub(super) totals: Totals,
    /// The certificates at the time of its handshake.
    pub(super) certificates: Arc<CertificateStore>,
    pub(super) settings: Rc<SessionSettings>,
    pub(super) sticky: StickyBackends,
    pub(super) server_name: OnceCell<Option<Box<str>>>,
    pub(super) subject: OnceCell<Option<Box<str>>>,
}

pub(super) enum Phase {
    /// The header of a trusted proxy is incomplete.
    ProxyHeader {
        until: Instant,
        header: BytesMut,
    },
    /// The TLS handshake is incomplete.
    Handshake {
        until: Instant,
    },
    /// The handshake has failed.
    Failed,
    Open(Open),
}

pub(super) struct Open {
    pub(super) session: Session,
    pub(super) waits_for: WaitsFor,
    pub(super) waiting_since: Instant,
    _counted: OpenConnection,
}

/// What an open connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// The first byte of a request.
    Request,
    /// The rest of the request head with this number.
    Head(u64),
    /// The exchange, or the body of a request.
    Response,
}

/// Why a connection ends at once.
#[derive(Debug)]
pub(super) enum Lost {
    /// The client has closed it.
    Ended,
    Failed(std::io::Error),
    Tls(rustls::Error),
    /// There is no valid PROXY header.
    ProxyHeader(InvalidHeader),
    /// A limit of connections is reached.
    Limit,
    /// A time limit, by its key.
    TimedOut(&'static str),
    /// The response was cut off.
    CutOff,
    /// The end of the connection is complete.
    Closed,
}

impl fmt::Display for Lost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => out.write_str("closed by the client"),
            Self::Failed(error) => error.fmt(out),
            Self::Tls(error) => write!(out, "TLS: {error}"),
            Self::ProxyHeader(InvalidHeader(reason)) => write!(out, "invalid PROXY header: {reason}"),
            Self::Limit => out.write_str("too many connections"),
            Self::TimedOut(key) => write!(out, "{key} expired"),
            Self::CutOff => out.write_str("response cut off"),
            Self::Closed => out.write_str("in order"),
        }
    }
}

/// What reading has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadEnd {
    /// The socket wakes the task, or the connection is paused.
    Blocked,
    /// There may be more.
    More,
}

/// Returns the slot of a client whose address has become known.
pub(super) type Establish<'a> = &'a dyn Fn(SocketAddr) -> Option<LimiterSlot>;

impl Conn {
    /// Reads and handles what the client sent, as far as the turn allows. `scratch` is a buffer for one read.
    pub(super) fn read(
        &mut self,
        now: Instant,
        scratch: &mut [u8],
        events: &mut VecDeque<Event>,
        establish: Establish<'_>,
    ) -> Result<ReadEnd, Lost> {
        let mut budget = READ_PER_TURN;
        self.paused = None;
        loop {
            if !self.wants_input() {
                self.paused = Some(now + RESET_CHECK_INTERVAL);
                return Ok(ReadEnd::Blocked);
            }
            let length = match self.socket.poll_read(&mut Context::from_waker(&self.waker), scratch) {
                Poll::Pending => return Ok(ReadEnd::Blocked),
                Poll::Ready(Ok(length)) => length,
                Poll::Ready(Err(error)) => return Err(Lost::Failed(error)),
            };
            self.totals.bytes_in += length as u64;
            if length == 0 {
                return self.on_socket_end(now, events).map(|()| ReadEnd::Blocked);
            }
            match &mut self.closing {
                Some(closing) => closing.on_discarded(length),
                None => self.on_received(scratch.get(..length).unwrap_or_default(), now, events, establish)?,
            }
            budget = budget.saturating_sub(length);
            if budget == 0 {
                return Ok(ReadEnd::More);
            }
        }
    }

    /// Fails if the client has reset the connection, whose socket is not read.
    pub(super) fn check_paused(&mut self, now: Instant) -> Result<(), Lost> {
        self.paused = Some(now + RESET_CHECK_INTERVAL);
        match self.socket.stream.take_error() {
            Ok(Some(error)) | Err(error) => Err(Lost::Failed(error)),
            Ok(None) => Ok(()),
        }
    }

    /// Returns whether received bytes can be handled now.
    pub(super) fn wants_input(&mut self) -> bool {
        if let Some(closing) = &self.closing {
            return closing.discards() && !self.socket.is_at_end;
        }
        match &mut self.phase {
            Phase::Open(open) => {
                !self.socket.is_at_end && self.inbound.len() < MAX_INBOUND && open.session.protocol_mut().wants_input()
            }
            Phase::ProxyHeader { .. } | Phase::Handshake { .. } => true,
            Phase::Failed => false,
        }
    }

    fn on_received(
        &mut self,
        received: &[u8],
        now: Instant,
        events: &mut VecDeque<Event>,
        establish: Establish<'_>,
    ) -> Result<(), Lost> {
        let Phase::ProxyHeader { until, header } = &mut self.phase else {
            return self.on_tls(received, now, events);
        };
        header.extend_from_slice(received);
        let Some(parsed) = proxy_protocol::parse(header).map_err(Lost::ProxyHeader)? else { return Ok(()) };
        // A segment may contain the header and the beginning of TLS.
        let until = *until;
        let rest = std::mem::take(header).split_off(parsed.length);
        self.phase = Phase::Handshake { until };
        self.peer.address = parsed.client.unwrap_or(self.peer.address);
        self.slot = establish(self.peer.address);
        if self.slot.is_none() {
            self.settings.counts.worker.cap_rejects.increment();
            return Err(Lost::Limit);
        }
        self.on_tls(&rest, now, events)
    }

    fn on_tls(&mut self, received: &[u8], now: Instant, events: &mut VecDeque<Event>) -> Result<(), Lost> {
        let decrypted = self.socket.decrypt(received, &mut self.inbound);
        match (&self.phase, decrypted) {
            (Phase::Handshake { .. }, Ok(())) if self.socket.is_handshaking() => return Ok(()),
            (Phase::Handshake { .. }, Ok(())) => self.open(now),
            (Phase::Handshake { .. }, Err(error)) => {
                self.log_failed_handshake(&error);
                self.settings.counts.listener.count_tls_failure(tls_failure::of_error(&error));
                self.phase = Phase::Failed;
                self.closing = Some(Closing::new(now, true));
                return Ok(());
            }
            (_, Ok(())) => {}
            (_, Err(error)) => return Err(Lost::Tls(error)),
        }
        self.process(now, events);
        Ok(())
    }

    /// Counts the handshake as failed if it is not complete.
    pub(super) fn count_late_handshake(&self) {
        if matches!(self.phase, Phase::Handshake { .. }) && self.socket.tls.is_some() {
            self.settings.counts.listener.count_tls_failure(TlsFailure::Handshake);
        }
    }

    fn log_failed_handshake(&self, error: &rustls::Error) {
        tracing::debug!("TLS handshake failed: {} from {}", spooky_net::tls::explain(error), self.peer.address);
        if matches!(error, rustls::Error::NoCertificatesPresented) {
            let id = self.id;
            tracing::debug!("closing connection {id:016x}: downstream mTLS requires a client certificate");
        }
    }

    /// Starts the session.
    pub(super) fn open(&mut self, now: Instant) {
        let alpn = self.socket.alpn();
        let counts = &self.settings.counts.listener;
        if self.socket.tls.is_some() {
            counts.count_tls_success(alpn);
        }
        let session = Session::new(alpn, &self.settings, now);
        let protocol = if session.is_http2() { ClientProtocol::Http2 } else { ClientProtocol::Http1 };
        let counted = OpenConnection::new(counts, protocol);
        self.history.on_handshake(now);
        self.phase = Phase::Open(Open { session, waits_for: WaitsFor::Request, waiting_since: now, _counted: counted });
    }

    /// Lets the session handle the received bytes. To be called again when it may handle more of them.
    pub(super) fn process(&mut self, now: Instant, events: &mut VecDeque<Event>) {
        let Self { phase: Phase::Open(open), inbound, peer, socket, closing: None, .. } = self else { return };
        let protocol = open.session.protocol_mut();
        let result = if socket.is_ended {
            protocol.on_end(inbound, peer, now, events)
        } else {
            protocol.receive(inbound, peer, now, events)
        };
        if let Err(SessionError(reason)) = result {
            tracing::debug!("Connection closed: {reason}, from {}", peer.address);
            protocol.abort_streams(peer, Abort::Lost, events);
            inbound.clear();
        }
        if inbound.is_empty() {
            *inbound = BytesMut::new(); // an idle connection owns no buffer
        }
        self.update_wait(now);
    }

    /// Notes what the connection waits for from now on.
    pub(super) fn update_wait(&mut self, now: Instant) {
        let Phase::Open(open) = &mut self.phase else { return };
        let protocol = open.session.protocol_mut();
        let head = protocol.incomplete_head(!self.inbound.is_empty());
        let waits_for = if let Some(number) = head.filter(|_| protocol.wants_input()) {
            WaitsFor::Head(number)
        } else if protocol.open_streams() > 0 || !protocol.output().is_empty() || self.socket.has_unsent() {
            WaitsFor::Response
        } else {
            WaitsFor::Request
        };
        if open.waits_for != waits_for {
            (open.waits_for, open.waiting_since) = (waits_for, now);
        }
    }

    /// Handles the end of TCP. Without `close_notify` the client may have died, so that an answer would be of no use.
    fn on_socket_end(&mut self, now: Instant, events: &mut VecDeque<Event>) -> Result<(), Lost> {
        self.socket.is_at_end = true;
        if self.socket.tls.is_none() {
            self.socket.is_ended = true;
        }
        if !self.socket.is_ended || !matches!(self.phase, Phase::Open(_)) || self.is_shut() {
            return Err(if self.is_shut() { Lost::Closed } else { Lost::Ended });
        }
        // There is nothing more to read, but a client that waits for its response may still reset the connection.
        self.paused = Some(now + RESET_CHECK_INTERVAL);
        self.process(now, events);
        Ok(())
    }

    /// Returns whether everything was sent and the client's end is awaited.
    fn is_shut(&self) -> bool {
        self.closing.as_ref().is_some_and(|closing| closing.is_shut)
    }

    /// Returns the report about the connection, which has ended because of `lost`.
    pub(super) fn report(&mut self, lost: &Lost, now: Instant) -> Option<ConnectionRecord> {
        let protocol = match &self.phase {
            Phase::Open(Open { session: Session::Http2(_), .. }) => Some(Protocol::Http2),
            Phase::Open(Open { session: Session::Http1(_), .. }) => Some(Protocol::Http1),
            Phase::ProxyHeader { .. } | Phase::Handshake { .. } | Phase::Failed => None,
        };
        self.history.on_lost(lost.to_string());
        let path = tcp::path_stats(&self.socket.stream);
        let totals = Totals {
            lost_packets: path.map(|path| path.retransmitted),
            rtt: path.and_then(|path| path.rtt),
            ..self.totals
        };
        self.history.report(now, self.peer.address, protocol, totals, "")
    }

    /// Normalised SNI of the client.
    pub(super) fn server_name(&self) -> Option<&str> {
        let name = || self.socket.tls.as_ref()?.server_name().map(spooky_net::tls::normalize_name);
        self.server_name.get_or_init(|| name().map(String::into_boxed_str)).as_deref()
    }

    /// Subject of the client's verified certificate, as a field value.
    pub(super) fn subject(&self) -> Option<&str> {
        let subject = || identity::subject(self.socket.tls.as_ref()?.peer_certificates()?);
        self.subject.get_or_init(subject).as_deref()
    }
}
