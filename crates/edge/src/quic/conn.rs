//! One client connection: the QUIC machine, the HTTP/3 session on it, and what the endpoint must remember of both.

use crate::h3::{Received, Session};
use quinn_proto::Connection;
use rustls::pki_types::CertificateDer;
use std::any::Any;
use std::cell::OnceCell;
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
    /// Its datagrams so far.
    pub(crate) received: Received,
    /// The earliest deadline entered for it.
    pub(crate) armed: Option<Instant>,
    /// When a keep-alive is due although the client is silent, because requests are open.
    pub(crate) keep_alive: Instant,
    /// How long after the last datagram that is.
    pub(crate) keep_alive_every: Duration,
    /// The subject of its certificate, once somebody has asked.
    pub(crate) subject: OnceCell<Option<Box<str>>>,
    /// Its place among the connections of the process; given back by drop.
    pub(crate) _place: Box<dyn Any>,
}

impl Conn {
    /// The subject of the client's verified certificate, as a field value. To be asked from the first request on: TLS has
    /// then verified all that the client sent, in this handshake or in the one that a resumed session began with.
    pub(crate) fn subject(&self) -> Option<&str> {
        self.subject.get_or_init(|| subject(&self.quic)).as_deref()
    }

    /// The moment at which something must be done even if nothing arrives.
    pub(crate) fn deadline(&mut self) -> Option<Instant> {
        let quic = self.quic.poll_timeout();
        if self.quic.is_closed() {
            return quic;
        }
        let keep_alive = (!self.session.is_idle()).then_some(self.keep_alive);
        [quic, keep_alive, self.session.drain_at(), self.session.head_due()].into_iter().flatten().min()
    }

    /// Runs what is due. An open request keeps the connection alive (behaviour 2.1).
    pub(crate) fn on_time(&mut self, now: Instant) {
        self.quic.handle_timeout(now);
        self.session.reset_slow_heads(&mut self.quic, now);
        if now >= self.keep_alive {
            if !self.session.is_idle() && !self.quic.is_closed() {
                self.quic.ping();
            }
            self.keep_alive = now + self.keep_alive_every;
        }
    }
}

fn subject(quic: &Connection) -> Option<Box<str>> {
    let chain = quic.crypto_session().peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    let subject = spooky_net::tls::subject(chain.first()?)?;
    (1..=MAX_SUBJECT).contains(&subject.len()).then(|| subject.into_boxed_str())
}
