//! Passes datagrams and timers to connections.

use super::{
    drops::Header,
    endpoint::{Edge, mark},
    share::Scheduled,
    version,
};
use bytes::BytesMut;
use quinn_proto::{ConnectionEvent, DatagramEvent, EcnCodepoint};
use spooky_net::timer::disarm;
use spooky_telemetry::metrics::Dropped;
use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

/// Size of the smallest QUIC datagram, a stateless reset (RFC 9000 section 10.3).
const MIN_DATAGRAM: usize = 21;
impl Edge {
    /// Handles one datagram. `ecn` holds the two ECN bits of the IP header. `now` must be the same within one turn. Returns
    /// false if it was dropped, because it belongs to no connection and can open none.
    pub fn on_datagram(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        local_ip: Option<IpAddr>,
        ecn: u8,
        data: BytesMut,
    ) -> bool {
        let header = Header::of(&data);
        if !(MIN_DATAGRAM..=self.max_datagram).contains(&data.len()) {
            self.drops.note(Dropped::NotQuic, remote, &header, now);
            return true;
        }
        if let Some(answer) = version::negotiate(&data) {
            self.negotiate(now, remote, local_ip, answer);
            return true;
        }
        let mut reply = Vec::new();
        let ecn = EcnCodepoint::from_bits(ecn);
        let len = data.len() as u64;
        match self.endpoint.handle(now, remote, local_ip, ecn, data, &mut reply) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                self.on_packet(now, handle.0 as u32, remote, &header, event, len);
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.open(now, incoming, &header, reply),
            Some(DatagramEvent::Response(transmit)) => {
                let _is_sent = self.reply(now, transmit, reply);
            }
            None => {
                self.drops.note(header.reason(), remote, &header, now);
                return false;
            }
        }
        true
    }

    /// Processes a packet of a connection, now or in a later turn.
    fn on_packet(
        &mut self,
        now: Instant,
        index: u32,
        remote: SocketAddr,
        header: &Header,
        event: ConnectionEvent,
        len: u64,
    ) {
        let Some(conn) = self.conns.get_mut(index as usize).and_then(Option::as_mut) else { return };
        match conn.share.take(event, len, now) {
            Scheduled::Now(event) => {
                if !conn.process(event, len, now, &self.last_log, &self.limiter) {
                    self.drops.note(Dropped::Undecryptable, remote, header, now);
                }
                mark(&mut self.dirty, conn);
            }
            Scheduled::Waits { is_first: true } => self.throttled.push(index),
            Scheduled::Waits { is_first: false } => {}
            Scheduled::Dropped => self.drops.note(Dropped::Excess, remote, header, now),
        }
    }

    /// Processes packets that waited for this turn, within the time shares of their connections.
    fn resume(&mut self, now: Instant) {
        let Self { throttled, conns, dirty, last_log, limiter, drops, counts, .. } = self;
        let mut queued = 0;
        throttled.retain(|&index| {
            let Some(conn) = conns.get_mut(index as usize).and_then(Option::as_mut) else { return false };
            while let Some((event, len)) = conn.share.next(now) {
                if !conn.process(event, len, now, last_log, limiter) {
                    drops.note(Dropped::Undecryptable, conn.quic.remote_address(), &Header::default(), now);
                }
                mark(dirty, conn);
            }
            queued += conn.share.waiting_bytes();
            conn.share.has_waiting()
        });
        counts.listener.queued_bytes.set(queued);
    }

    /// Runs the timers that are due, and processes packets that waited for this turn.
    pub fn on_time(&mut self, now: Instant) {
        self.resume(now);
        while let Some((at, index)) = self.deadlines.pop_due(now) {
            let Some(conn) = self.conns.get_mut(index as usize).and_then(Option::as_mut) else { continue };
            disarm(&mut conn.armed, at);
            match conn.deadline() {
                Some(real) if real <= now && conn.is_handshake_late(now) => self.drop_handshake(now, index),
                Some(real) if real <= now => {
                    conn.on_time(now, &mut self.events);
                    mark(&mut self.dirty, conn);
                }
                Some(real) => self.deadlines.arm(index, real, &mut conn.armed),
                None => {}
            }
        }
    }
}
