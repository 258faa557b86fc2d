//! New connections: limits, address validation by Retry, handshake timeouts; and stateless answers.

use super::{
    conn::{Conn, Handshake},
    drops::{Dropped, Header},
    endpoint::{Edge, mark},
    outgoing::Outgoing,
    share::TimeShare,
    trim_padding,
};
use crate::{
    Abort, ConnectionDecision, LimiterSlot,
    h3::{ConnectionInfo, Session},
    history::History,
};
use quinn_proto::{ConnectionHandle, EndpointEvent, Incoming, Transmit};
use spooky_table::Handle;
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
                let handshake = Handshake { _slot: handshake, until: now + self.handshake_timeout };
                self.accept(now, incoming, handshake, connection, reply);
            }
            ConnectionDecision::Retry => match self.endpoint.retry(incoming, &mut reply) {
                Ok(transmit) => {
                    self.drops.note(Dropped::Unvalidated, peer, header, now);
                    self.reply(now, transmit, reply);
                }
                // Only a token of a Retry packet forbids another one, and it proves the address.
                Err(error) => self.endpoint.ignore(error.into_incoming()),
            },
            ConnectionDecision::Refuse => {
                let transmit = self.endpoint.refuse(incoming, &mut reply);
                self.drops.note(Dropped::Refused, peer, header, now);
                self.reply(now, transmit, reply);
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
        self.first_cid.take(); // discards connection ids issued to existing connections
        let accepted = self.endpoint.accept(incoming, now, &mut reply, Some(server));
        let log = self.last_log.take().unwrap_or_default();
        trim_padding::take_undecryptable(); // that fails the connection, which is logged
        match accepted {
            Ok((handle, quic)) => {
                tracing::debug!("Creating new connection from {peer}");
                let index = handle.0;
                if self.conns.len() <= index {
                    self.conns.resize_with(index + 1, || None);
                }
                self.epoch = self.epoch.wrapping_add(1);
                let id = self.first_cid.take();
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
                if let Some(transmit) = error.response {
                    self.reply(now, transmit, reply);
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
        self.drops.note(Dropped::SlowHandshake, conn.quic.remote_address(), &Header::default(), now);
    }

    /// Queues a stateless answer for the next transmit pass.
    pub(super) fn reply(&mut self, now: Instant, transmit: Transmit, data: Vec<u8>) {
        let is_reset = data.first().is_some_and(|flags| flags & LONG_HEADER == 0);
        if self.replies.len() >= MAX_REPLIES || (is_reset && !self.resets.take(now)) {
            return self.drops.note(Dropped::Answer, transmit.destination, &Header::default(), now);
        }
        self.replies.push((transmit, data));
    }

    /// Answers a packet of an unknown version.
    pub(super) fn negotiate(&mut self, now: Instant, to: SocketAddr, from: Option<std::net::IpAddr>, answer: Vec<u8>) {
        let transmit = Transmit { destination: to, ecn: None, size: answer.len(), segment_size: None, src_ip: from };
        self.reply(now, transmit, answer);
    }
}

#[cfg(test)]
mod tests;
