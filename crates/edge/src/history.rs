//! What a connection remembers for the report about its end (`log.connections`).

use crate::event::{Event, EventKind};
use spooky_bridge::message::Protocol;
use spooky_telemetry::{ClientProtocol, ConnectionRecord};
use std::{
    borrow::Cow,
    net::SocketAddr,
    time::{Duration, Instant},
};

/// The history of one connection.
#[derive(Debug)]
pub(crate) struct History {
    opened: Instant,
    handshake: Option<Duration>,
    requests: u64,
    /// Why the client or the network has ended it.
    reason: Option<String>,
    is_reported: bool,
}

/// What has passed over a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) lost_packets: Option<u64>,
    pub(crate) rtt: Option<Duration>,
}

impl History {
    pub(crate) fn new(now: Instant) -> Self {
        Self { opened: now, handshake: None, requests: 0, reason: None, is_reported: false }
    }

    /// Notes that the handshake is complete.
    pub(crate) fn on_handshake(&mut self, now: Instant) {
        self.handshake.get_or_insert(now.saturating_duration_since(self.opened));
    }

    /// Counts an event that begins a request.
    pub(crate) fn on_event(&mut self, event: &Event) {
        let is_request = match event.kind {
            EventKind::Request { .. }
            | EventKind::Refused { .. }
            | EventKind::TimedOut { .. }
            | EventKind::Malformed { .. } => true,
            EventKind::Readable | EventKind::Accepted(_) | EventKind::Sent | EventKind::Aborted(_) => false,
        };
        self.requests += u64::from(is_request);
    }

    pub(crate) fn on_lost(&mut self, reason: String) {
        self.reason.get_or_insert(reason);
    }

    /// Returns the report, the first time. `reason` is used if no other is known.
    pub(crate) fn report(
        &mut self,
        now: Instant,
        client: SocketAddr,
        protocol: Option<Protocol>,
        totals: Totals,
        reason: &'static str,
    ) -> Option<ConnectionRecord> {
        if std::mem::replace(&mut self.is_reported, true) {
            return None;
        }
        let protocol = protocol.filter(|_| self.handshake.is_some());
        Some(ConnectionRecord {
            client,
            protocol: protocol.map(|protocol| match protocol {
                Protocol::Http1 => ClientProtocol::Http1,
                Protocol::Http2 => ClientProtocol::Http2,
                Protocol::Http3 => ClientProtocol::Http3,
            }),
            duration: now.saturating_duration_since(self.opened),
            handshake: self.handshake,
            requests: self.requests,
            bytes_in: totals.bytes_in,
            bytes_out: totals.bytes_out,
            lost_packets: totals.lost_packets,
            rtt: totals.rtt,
            reason: self.reason.take().map_or(Cow::Borrowed(reason), Cow::Owned),
        })
    }
}
