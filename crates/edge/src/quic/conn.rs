//! One client connection: the QUIC machine, the HTTP/3 session on it, and what the endpoint must remember of both.

use crate::h3::{Received, Session};
use quinn_proto::Connection;
use std::any::Any;
use std::time::{Duration, Instant};

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
    /// Its place among the connections of the process; given back by drop.
    pub(crate) _place: Box<dyn Any>,
}

impl Conn {
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
    pub(crate) fn on_time(&mut self, now: Instant, keep_alive_every: Duration) {
        self.quic.handle_timeout(now);
        self.session.reset_slow_heads(&mut self.quic, now);
        if now >= self.keep_alive {
            if !self.session.is_idle() && !self.quic.is_closed() {
                self.quic.ping();
            }
            self.keep_alive = now + keep_alive_every;
        }
    }
}
