//! New connections: their limits, and their state.

use super::{
    conn::{Conn, Phase},
    count::CountedConnection,
    outgoing::Outgoing,
    protocol::{Peer, SessionSettings},
    settings::TcpSettings,
    socket::Socket,
};
use crate::{
    history::{History, Totals},
    limiter::LimiterSlot,
    sticky::StickyBackends,
};
use bytes::BytesMut;
use rustls::ServerConnection;
use spooky_net::ready::ReadySet;
use spooky_table::Handle;
use spooky_telemetry::limited;
use std::{cell::OnceCell, net::SocketAddr, os::fd::AsRawFd as _, rc::Rc, sync::Arc, time::Instant};
use tokio::net::TcpStream;

/// A connection within the limits.
pub(super) struct NewConnection {
    address: SocketAddr,
    socket: Socket,
    phase: Phase,
    counted: CountedConnection,
    slot: Option<LimiterSlot>,
    history: History,
}

impl NewConnection {
    /// Checks the limits. Returns `None` if the connection is refused.
    pub(super) fn admit(stream: TcpStream, peer: SocketAddr, settings: &TcpSettings, now: Instant) -> Option<Self> {
        let address = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let Some(counted) = settings.connections.enter() else {
            settings.counts.worker.cap_rejects.increment();
            limited!(WARN, now, "TCP connection refused: tcp.max_connections is reached, from {address}");
            return None;
        };
        if stream.as_raw_fd() >= settings.max_descriptor {
            settings.counts.worker.cap_rejects.increment();
            limited!(WARN, now, "TCP connection refused: too few file descriptors are left, from {address}");
            return None;
        }
        // Behind a trusted proxy the client's address is not known yet.
        let is_proxied = settings.is_proxied(address.ip());
        let slot = if is_proxied { None } else { settings.limiter.establish(address.ip()) };
        if slot.is_none() && !is_proxied {
            settings.counts.worker.cap_rejects.increment();
            limited!(DEBUG, now, "TCP connection refused: too many connections, from {address}");
            return None;
        }
        let tls = match settings.tls.clone().map(ServerConnection::new).transpose() {
            Ok(tls) => tls.map(Box::new),
            Err(error) => {
                limited!(WARN, now, "TCP connection refused: {error}, from {address}");
                return None;
            }
        };
        let until = now + settings.handshake_timeout;
        let phase =
            if is_proxied { Phase::ProxyHeader { until, header: BytesMut::new() } } else { Phase::Handshake { until } };
        tracing::debug!("Creating new connection from {address}");
        Some(Self { address, socket: Socket::new(stream, tls), phase, counted, slot, history: History::new(now) })
    }

    /// Creates its state in the slot of `handle`. `id` is its number for balancing.
    pub(super) fn into_conn(
        self,
        handle: Handle,
        id: u64,
        settings: &TcpSettings,
        session: &Rc<SessionSettings>,
        ready: &Arc<ReadySet>,
    ) -> Box<Conn> {
        Box::new(Conn {
            peer: Peer { conn: handle, address: self.address },
            id,
            socket: self.socket,
            waker: ready.waker(handle.index()),
            phase: self.phase,
            closing: None,
            is_closed: false,
            inbound: BytesMut::new(),
            outgoing: Outgoing::new(settings.responses.clone()),
            is_dirty: false,
            paused: None,
            armed: None,
            slot: self.slot,
            _counted: self.counted,
            history: self.history,
            totals: Totals::default(),
            certificates: settings.certificates.clone(),
            settings: session.clone(),
            sticky: StickyBackends::default(),
            server_name: OnceCell::new(),
            subject: OnceCell::new(),
        })
    }
}
