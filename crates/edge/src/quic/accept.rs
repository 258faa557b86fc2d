//! New connections: limits, address validation by Retry, handshake timeouts; and stateless answers.

use super::{
    conn::{Conn, Handshake},
    drops::Header,
    endpoint::{Edge, mark},
    outgoing::Outgoing,
    share::TimeShare,
    trim_padding,
};
use crate::{
    Abort, ConnectionDecision, LimiterSlot,
    h3::{ConnectionInfo, Session},
    history::History,
    tls_failure,
};
use quinn_proto::{ConnectionHandle, EndpointEvent, Incoming, Transmit};
use spooky_table::Handle;
use spooky_telemetry::metrics::{Dropped, TlsFailure};
use std::{cell::OnceCell, net::SocketAddr, time::Instant};

/// Stateless answers (Retry, Version Negotiation, refusals, resets) waiting for the next transmit pass; more are dropped.
const MAX_REPLIES: usize = 64;
/// Set in the first byte of all stateless answers except resets, which look like packets with a short header.
const LONG_HEADER: u8 = 0x80;

impl Edge {
    /// Decides on the first packet of a connection.
    pub(super) fn open(&mut self, now: Instant, incoming: Incoming, header: &Header, mut reply: Vec<u8>) {
        let peer = incoming.remote_address();
        let is_validated = incoming.remote_address_validated();
        let decision =
            if self.draining { ConnectionDecision::Refuse } else { self.limiter.open(peer.ip(), is_validated, now) };
        match decision {
            ConnectionDecision::Accept { handshake, connection } => {
                let handshake = Handshake { _slot: handshake, since: now, until: now + self.handshake_timeout };
                self.accept(now, incoming, handshake, connection, reply);
            }
            ConnectionDecision::Retry => match self.endpoint.retry(incoming, &mut reply) {
                Ok(transmit) => {
                    self.drops.note(Dropped::Unvalidated, peer, header, now);
                    if self.reply(now, transmit, reply) {
                        self.counts.worker.retries.increment();
                    }
                }
                // Only a token of a Retry packet forbids another one, and it proves the address.
                Err(error) => self.endpoint.ignore(error.into_incoming()),
            },
            ConnectionDecision::Refuse => {
                let transmit = self.endpoint.refuse(incoming, &mut reply);
                let kind = if self.draining { Dropped::Draining } else { Dropped::Refused };
                if kind == Dropped::Refused {
                    self.counts.worker.cap_rejects.increment();
                }
                self.drops.note(kind, peer, header, now);
                let _is_sent = self.reply(now, transmit, reply);
            }
            ConnectionDecision::Drop => {
                self.endpoint.ignore(incoming);
                self.drops.note(Dropped::ConnectionRate, peer, header, now);
            }
        }
    }

    fn accept(
        &mut self,
        now: Instant,
        incoming: Incoming,
        handshake: Handshake,
        slot: Option<LimiterSlot>,
        mut reply: Vec<u8>,
    ) {
        let peer = incoming.remote_address();
        let server = self.server.of(&incoming);
        self.first_cid.expect();
        let accepted = self.endpoint.accept(incoming, now, &mut reply, Some(server));
        let log = self.last_log.take().unwrap_or_default();
        let id = self.first_cid.take();
        trim_padding::take_undecryptable(); // that fails the connection, which is logged
        match accepted {
            Ok((handle, quic)) => {
                tracing::debug!("Creating new connection from {peer}");
                let index = handle.0;
                if self.conns.len() <= index {
                    self.conns.resize_with(index + 1, || None);
                }
                self.epoch = self.epoch.wrapping_add(1);
                let info = ConnectionInfo { conn: Handle::new(index, self.epoch), id, peer };
                let mut session = Session::new(info, self.session.clone(), now);
                trim_padding::take_streams(|frame| session.on_frame(frame)); // early data
                let mut conn = Box::new(Conn {
                    quic,
                    session,
                    dirty: false,
                    outgoing: Outgoing::new(self.responses.clone(), log, self.stall_timeout, now),
                    armed: None,
                    keep_alive: now + self.keep_alive_every,
                    keep_alive_every: self.keep_alive_every,
                    certificates: self.certificates.clone(),
                    server_name: OnceCell::new(),
                    subject: OnceCell::new(),
                    handshake: Some(handshake),
                    slot,
                    is_answered: false,
                    history: History::new(now),
                    counts: self.counts.clone(),
                    open: None,
                    lost_packets: 0,
                    share: TimeShare::default(),
                });
                mark(&mut self.dirty, &mut conn);
                if let Some(slot) = self.conns.get_mut(index) {
                    *slot = Some(conn);
                    self.open += 1;
                }
            }
            Err(error) => {
                trim_padding::take_streams(|_| {});
                tracing::debug!("Connection closed, not storing: {}", error.cause);
                self.counts.worker.create_failures.increment();
                if let Some(failure) = tls_failure::of_connection(&error.cause) {
                    self.counts.listener.count_tls_failure(failure);
                }
                if let Some(transmit) = error.response {
                    let _is_sent = self.reply(now, transmit, reply);
                }
            }
        }
    }

    /// Drops a connection whose handshake has taken too long. The client gets no answer, because its address is not validated.
    pub(super) fn drop_handshake(&mut self, now: Instant, index: u32) {
        let Some(mut conn) = self.conns.get_mut(index as usize).and_then(Option::take) else { return };
        self.open -= 1;
        conn.session.abort_streams(Abort::Lost, &mut self.events);
        if self.reports_connections {
            self.ended.extend(conn.report(now, "handshake not complete in time"));
        }
        self.endpoint.handle_event(ConnectionHandle(index as usize), EndpointEvent::drained());
        self.counts.listener.count_tls_failure(TlsFailure::Handshake);
        self.drops.note(Dropped::SlowHandshake, conn.quic.remote_address(), &Header::default(), now);
    }

    /// Queues a stateless answer for the next transmit pass. Returns false if it was dropped.
    pub(super) fn reply(&mut self, now: Instant, transmit: Transmit, data: Vec<u8>) -> bool {
        let is_reset = data.first().is_some_and(|flags| flags & LONG_HEADER == 0);
        if self.replies.len() >= MAX_REPLIES || (is_reset && !self.resets.take(now)) {
            self.drops.note(Dropped::Answer, transmit.destination, &Header::default(), now);
            return false;
        }
        if is_reset {
            self.counts.worker.stateless_resets.increment();
        }
        self.replies.push((transmit, data));
        true
    }

    /// Answers a packet of an unknown version.
    pub(super) fn negotiate(&mut self, now: Instant, to: SocketAddr, from: Option<std::net::IpAddr>, answer: Vec<u8>) {
        let transmit = Transmit { destination: to, ecn: None, size: answer.len(), segment_size: None, src_ip: from };
        let is_sent = self.reply(now, transmit, answer);
        let [sent, failed] = &self.counts.worker.version_negotiations;
        if is_sent { sent } else { failed }.increment();
    }
}

#[cfg(test)]
mod tests;
