//! One client connection: quinn-proto, the HTTP/3 session on it, and what the endpoint must remember of both.

use super::congestion::LastLog;
use super::ending;
use super::establish;
use super::outgoing::{Outgoing, Path, StallCheck};
use super::share::TimeShare;
use super::trim_padding;
use crate::{ConnectionLimiter, Event as StreamEvent, LimiterSlot, h3::Session};
use quinn_proto::{Connection, ConnectionError, ConnectionEvent, Event, crypto::rustls::HandshakeData};
use rustls::pki_types::CertificateDer;
use spooky_bridge::h3::Code;
use std::cell::OnceCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of a subject, as text; that of a longer one is not told. Requests carry it, and backends bound their heads.
const MAX_SUBJECT: usize = 8 * 1024;

/// A client connection.
pub(crate) struct Conn {
    /// The QUIC state machine.
    pub(crate) quic: Connection,
    /// The HTTP/3 session.
    pub(crate) session: Session,
    /// It is on the list of connections that the next pass serves.
    pub(crate) dirty: bool,
    /// What it buffers for its client.
    pub(crate) outgoing: Outgoing,
    /// The earliest deadline entered for it.
    pub(crate) armed: Option<Instant>,
    /// When a keep-alive is due although the client is silent, because requests are open.
    pub(crate) keep_alive: Instant,
    /// How long after the last datagram that is.
    pub(crate) keep_alive_every: Duration,
    /// The certificates that one was chosen from for it: a reload brings others for new connections.
    pub(crate) certificates: Arc<spooky_net::tls::CertificateStore>,
    /// The name that the client asked for in its first flight, in normal form, once somebody has asked.
    pub(crate) server_name: OnceCell<Option<Box<str>>>,
    /// The subject of its certificate, once somebody has asked.
    pub(crate) subject: OnceCell<Option<Box<str>>>,
    /// Its handshake, until that is complete or has failed.
    pub(crate) handshake: Option<Handshake>,
    /// Its place among the connections of the process; `None` before its address is validated.
    pub(crate) slot: Option<LimiterSlot>,
    /// Its share of the worker's time.
    pub(crate) share: TimeShare<ConnectionEvent>,
}

/// A handshake that is not complete.
pub(crate) struct Handshake {
    /// Its place among the handshakes of the process; given back by drop.
    pub(crate) _slot: LimiterSlot,
    /// When it is dropped.
    pub(crate) until: Instant,
}

impl Conn {
    /// The subject of the client's verified certificate, as a field value. To be asked from the first request on: TLS has
    /// then verified all that the client sent, in this handshake or in the one that a resumed session began with.
    pub(crate) fn subject(&self) -> Option<&str> {
        self.subject.get_or_init(|| subject(&self.quic)).as_deref()
    }

    /// The name that the client asked for by SNI, in the form in which hosts are compared.
    pub(crate) fn server_name(&self) -> Option<&str> {
        self.server_name.get_or_init(|| server_name(&self.quic)).as_deref()
    }

    /// Lets quinn-proto take as much as the connection may buffer now. To be called before its events are taken.
    pub(crate) fn resize(&mut self, now: Instant) {
        let Self { quic, outgoing, .. } = self;
        let path = Path { window: quic.congestion_state().window(), min_rtt: quic.min_rtt() };
        if let Some(window) = outgoing.resize(now, path, || quic.stats().frame_tx.stream) {
            quic.set_send_window(window);
        }
    }

    /// Notes what it holds after all was sent that could be.
    pub(crate) fn update_buffered(&mut self, now: Instant) {
        let Self { quic, session, outgoing, .. } = self;
        let is_empty = quic.streams().send_streams() <= 1;
        outgoing.update_buffered(now, session.written(), session.waiting(), is_empty, || quic.stats().frame_tx.stream);
    }

    /// The moment at which something must be done even if nothing arrives.
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

    /// Whether the handshake has taken too long.
    pub(crate) fn is_handshake_late(&self, now: Instant) -> bool {
        !self.quic.is_closed() && self.handshake.as_ref().is_some_and(|handshake| handshake.until <= now)
    }

    /// Processes a packet of `len` bytes, which puts off the keep-alive. If it completes the handshake of a connection without
    /// a place, `limiter` gives it one, or it is refused. Returns false if the packet could not be decrypted.
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
        if self.quic.remote_address() != address
            && let Some(log) = last_log.take()
        {
            self.outgoing.follow(log);
        }
        self.share.charge(before.elapsed(), len);
        trim_padding::take_streams(|frame| self.session.on_frame(frame));
        self.keep_alive = now + self.keep_alive_every;
        !trim_padding::take_undecryptable()
    }

    /// Ends the handshake's count when it is complete or has failed, and logs why the connection has ended.
    pub(crate) fn note_handshake(&mut self, event: &Event) {
        match event {
            Event::Connected => self.handshake = None,
            Event::ConnectionLost { reason } => {
                self.handshake = None;
                if let ConnectionError::TransportError(error) = reason {
                    ending::log(error, self.session.id(), self.quic.remote_address());
                }
                tracing::debug!("Connection closed: {reason}");
            }
            _ => {}
        }
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

/// Why a connection is closed whose client acknowledges nothing (RFC 9114 section 8.1 has no code for that).
const STALLED: &str = "nothing acknowledged for client_stall_timeout_ms";

fn subject(quic: &Connection) -> Option<Box<str>> {
    let chain = quic.crypto_session().peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    let subject = spooky_net::tls::subject(chain.first()?)?;
    (1..=MAX_SUBJECT).contains(&subject.len()).then(|| subject.into_boxed_str())
}
