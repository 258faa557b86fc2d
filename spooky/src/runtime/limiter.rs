//! Limits on client connections of all listeners and workers: their number, their number by address, their rate, and the
//! number of handshakes that are not complete.
//!
//! The counts are `lb::admit`'s; the edge asks here before it makes any state for a connection.

use crate::state::State;
use spooky_edge::{ConnectionDecision, ConnectionLimiter, LimiterSlot};
use spooky_lb::{admit::ConnectionRefusal, time::Nanos};
use std::{net::IpAddr, sync::Arc, time::Instant};

/// The limits of the process, as the edge asks for them.
pub(super) struct SharedLimiter {
    state: Arc<State>,
}

impl SharedLimiter {
    /// A limiter that counts together with all others of the process.
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
