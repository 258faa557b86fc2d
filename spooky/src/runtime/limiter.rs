//! Connects the edge to the process-wide connection limits of `lb::admit`: total, per address, rate, open handshakes.

use crate::state::State;
use spooky_edge::{ConnectionDecision, ConnectionLimiter, LimiterSlot};
use spooky_lb::{admit::ConnectionRefusal, time::Nanos};
use std::{net::IpAddr, sync::Arc, time::Instant};

pub(super) struct SharedLimiter {
    state: Arc<State>,
}

impl SharedLimiter {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state }
    }
}

impl ConnectionLimiter for SharedLimiter {
    fn open(&self, client: IpAddr, is_validated: bool, now: Instant) -> ConnectionDecision {
        match self.state.connections.open(client, is_validated, Nanos::since(self.state.epoch, now)) {
            Ok(opened) => ConnectionDecision::Accept {
                handshake: Box::new(opened.handshake),
                connection: opened.connection.map(|slot| -> LimiterSlot { Box::new(slot) }),
            },
            Err(ConnectionRefusal::Unvalidated) => ConnectionDecision::Retry,
            Err(ConnectionRefusal::Rate) => ConnectionDecision::Drop,
            Err(ConnectionRefusal::Total | ConnectionRefusal::Address) => ConnectionDecision::Refuse,
        }
    }

    fn establish(&self, client: IpAddr) -> Option<LimiterSlot> {
        self.state.connections.establish(client).ok().map(|slot| -> LimiterSlot { Box::new(slot) })
    }
}
