//! One client connection: quinn-proto's state machine, the HTTP/3 session, and the limits of both.

use super::congestion::LastLog;
use super::ending;
use super::establish;
use super::outgoing::{Outgoing, Path, StallCheck};
use super::share::TimeShare;
use super::trim_padding;
use crate::{
    ConnectionLimiter, Event as StreamEvent, LimiterSlot,
    h3::Session,
    history::{History, Totals},
    identity, tls_failure,
};
use quinn_proto::{
    Connection, ConnectionError, ConnectionEvent, Event, TransportErrorCode, crypto::rustls::HandshakeData,
};
use rustls::pki_types::CertificateDer;
use spooky_bridge::{h3::Code, message::Protocol};
use spooky_telemetry::{
    ClientProtocol, ConnectionRecord,
    metrics::{ClientCounts, OpenConnection},
};
use std::cell::OnceCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A client connection.
pub(crate) struct Conn {
    pub(crate) quic: Connection,
    pub(crate) session: Session,
    /// The next pass serves it.
    pub(crate) dirty: bool,
    /// Limits of what it buffers for the client.
    pub(crate) outgoing: Outgoing,
    /// Earliest armed deadline.
    pub(crate) armed: Option<Instant>,
    /// When a PING is sent if requests are open and the client is silent.
    pub(crate) keep_alive: Instant,
    /// Time from the last datagram to that.
    pub(crate) keep_alive_every: Duration,
    /// The certificates at the time of its handshake; a reload replaces them for new connections.
    pub(crate) certificates: Arc<spooky_net::tls::CertificateStore>,
    /// Normalised SNI, once it was needed.
    pub(crate) server_name: OnceCell<Option<Box<str>>>,
    /// Subject of the client's certificate, once it was needed.
    pub(crate) subject: OnceCell<Option<Box<str>>>,
    /// `None` once the handshake is complete or has failed.
    pub(crate) handshake: Option<Handshake>,
    /// Slot of the limiter; `None` before the address is validated.
    pub(crate) slot: Option<LimiterSlot>,
    /// A final response was sent.
    pub(crate) is_answered: bool,
    /// For the report about its end.
    pub(crate) history: History,
    /// Where it is counted.
    pub(crate) counts: ClientCounts,
    /// Counts it as open from the end of the handshake on.
    pub(crate) open: Option<OpenConnection>,
    /// Lost packets that were counted.
    pub(crate) lost_packets: u64,
    /// Its share of the worker's time.
    pub(crate) share: TimeShare<ConnectionEvent>,
}

pub(crate) struct Handshake {
    /// Slot of the limiter.
    pub(crate) _slot: LimiterSlot,
    /// When it began.
    pub(crate) since: Instant,
    /// Deadline of the handshake.
    pub(crate) until: Instant,
}

impl Conn {
    /// Subject of the client's verified certificate, as a field value. Valid from the first request on: TLS has then verified
    /// the certificate, in this handshake or in that of the resumed session.
    pub(crate) fn subject(&self) -> Option<&str> {
        self.subject.get_or_init(|| subject(&self.quic)).as_deref()
    }

    /// Normalised SNI of the client.
    pub(crate) fn server_name(&self) -> Option<&str> {
        self.server_name.get_or_init(|| server_name(&self.quic)).as_deref()
    }

    /// Updates the send window of quinn-proto. Must be called before its events are handled.
    pub(crate) fn resize(&mut self, now: Instant) {
        let Self { quic, outgoing, .. } = self;
        let path = Path { window: quic.congestion_state().window(), min_rtt: quic.min_rtt() };
        if let Some(window) = outgoing.resize(now, path, || quic.stats().frame_tx.stream) {
            quic.set_send_window(window);
        }
    }

    /// Updates the buffered bytes in the budget. Called when nothing more can be sent in this turn.
    pub(crate) fn update_buffered(&mut self, now: Instant) {
        let Self { quic, session, outgoing, .. } = self;
        let is_empty = quic.streams().send_streams() <= 1;
        outgoing.update_buffered(now, session.written(), session.waiting(), is_empty, || quic.stats().frame_tx.stream);
    }

    /// Earliest deadline of the connection.
    pub(crate) fn deadline(&mut self) -> Option<Instant> {
        let quic = self.quic.poll_timeout();
        if self.quic.is_closed() {
            return quic;
        }
        let keep_alive = (!self.session.is_idle()).then_some(self.keep_alive);
        let handshake = self.handshake.as_ref().map(|handshake| handshake.until);
        let session = [self.session.drain_at(), self.session.slow_stream_due(), self.outgoing.deadline()];
        [quic, keep_alive, handshake].into_iter().chain(session).flatten().min()
    }

    /// Returns whether the handshake has taken too long.
    pub(crate) fn is_handshake_late(&self, now: Instant) -> bool {
        !self.quic.is_closed() && self.handshake.as_ref().is_some_and(|handshake| handshake.until <= now)
    }

    /// Processes a packet of `len` bytes and postpones the keep-alive. If it completes the handshake of a connection without a
    /// slot, `limiter` provides one or the connection is refused. Returns false if the packet could not be decrypted.
    pub(crate) fn process(
        &mut self,
        event: ConnectionEvent,
        len: u64,
        now: Instant,
        last_log: &LastLog,
        limiter: &Arc<dyn ConnectionLimiter>,
    ) -> bool {
        let before = Instant::now();
        let address = self.quic.remote_address();
        if self.slot.is_none() {
            let client = self.session.client();
            self.slot = establish::while_processing(limiter, client, || self.quic.handle_event(event));
        } else {
            self.quic.handle_event(event);
        }
        if self.quic.remote_address() != address {
            self.counts.worker.migrations.increment();
            if let Some(log) = last_log.take() {
                self.outgoing.follow(log);
            }
        }
        self.share.charge(before.elapsed(), len);
        trim_padding::take_streams(|frame| self.session.on_frame(frame));
        self.keep_alive = now + self.keep_alive_every;
        !trim_padding::take_undecryptable()
    }

    /// Releases the handshake slot and counts the handshake when it is complete or has failed, and logs why the connection ended.
    pub(crate) fn note_handshake(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Connected => {
                if let Some(handshake) = self.handshake.take() {
                    let took = now.saturating_duration_since(handshake.since);
                    self.counts.listener.count_quic_handshake(took, self.quic.rtt());
                    self.open = Some(OpenConnection::new(&self.counts.listener, ClientProtocol::Http3));
                }
                self.history.on_handshake(now);
            }
            Event::ConnectionLost { reason } => {
                self.count_failure(reason);
                (self.handshake, self.open) = (None, None);
                if let ConnectionError::TransportError(error) = reason {
                    ending::log(error, self.session.id(), self.quic.remote_address());
                }
                tracing::debug!("Connection closed: {reason}");
                self.history.on_lost(reason.to_string());
            }
            _ => {}
        }
    }

    /// Returns the report about the connection, which has ended, once. `reason` is used if no other is known.
    pub(crate) fn report(&mut self, now: Instant, reason: &'static str) -> Option<ConnectionRecord> {
        let stats = self.quic.stats();
        let totals = Totals {
            bytes_in: stats.udp_rx.bytes,
            bytes_out: stats.udp_tx.bytes,
            lost_packets: Some(stats.path.lost_packets),
            rtt: Some(stats.path.rtt),
        };
        self.history.report(now, self.quic.remote_address(), Some(Protocol::Http3), totals, reason)
    }

    /// Counts why a connection is lost whose handshake is not complete.
    fn count_failure(&self, reason: &ConnectionError) {
        match tls_failure::of_connection(reason) {
            _ if is_refusal(reason) => self.counts.worker.cap_rejects.increment(),
            Some(failure) if self.handshake.is_some() => self.counts.listener.count_tls_failure(failure),
            _ => {}
        }
    }

    /// Counts the packets that were lost since the last call. To be called when the connection has ended, too.
    pub(crate) fn count_losses(&mut self) {
        let lost = self.quic.stats().path.lost_packets;
        self.counts.worker.lost_packets.add(lost.saturating_sub(self.lost_packets));
        self.lost_packets = lost;
    }

    /// Handles timers that are due. An open request keeps the connection alive (docs/reference/behaviour.md#client-connections).
    pub(crate) fn on_time(&mut self, now: Instant, events: &mut VecDeque<StreamEvent>) {
        self.quic.handle_timeout(now);
        if !self.quic.is_closed() {
            self.session.stop_slow_streams(&mut self.quic, now, events);
            match self.outgoing.on_time(now) {
                StallCheck::Ok => {}
                StallCheck::Ping => self.quic.ping(),
                StallCheck::Close => self.session.fail(&mut self.quic, Code::INTERNAL_ERROR, STALLED, events),
            }
        }
        if now >= self.keep_alive {
            if !self.session.is_idle() && !self.quic.is_closed() {
                self.quic.ping();
            }
            self.keep_alive = now + self.keep_alive_every;
        }
    }
}

fn server_name(quic: &Connection) -> Option<Box<str>> {
    let data = quic.crypto_session().handshake_data()?.downcast::<HandshakeData>().ok()?;
    data.server_name.map(|name| spooky_net::tls::normalize_name(&name).into_boxed_str())
}

/// Returns whether the limiter has refused the connection.
fn is_refusal(reason: &ConnectionError) -> bool {
    matches!(reason, ConnectionError::TransportError(error) if error.code == TransportErrorCode::CONNECTION_REFUSED)
}

/// Reason of the close of a stalled connection (RFC 9114 section 8.1 has no code for that).
const STALLED: &str = "nothing acknowledged for client_stall_timeout_ms";

fn subject(quic: &Connection) -> Option<Box<str>> {
    let chain = quic.crypto_session().peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    identity::subject(&chain)
}
