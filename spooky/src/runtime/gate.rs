//! The door for client connections of all listeners and workers: their number, their number by address, their rate.
//!
//! The counts are `lb::admit`'s; the edge asks here before it makes any state for a connection.

use crate::state::State;
use spooky_edge::{Entry, Gate};
use spooky_lb::{admit::Refused, time::Nanos};
use std::{net::IpAddr, sync::Arc, time::Instant};

/// The door.
pub(super) struct ConnectionGate {
    state: Arc<State>,
}

impl ConnectionGate {
    /// A gate that counts together with all others of the process.
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state }
    }
}

impl Gate for ConnectionGate {
    fn enter(&self, client: IpAddr, now: Instant) -> Entry {
        match self.state.connections.open(client, Nanos::since(self.state.epoch, now)) {
            Ok(place) => Entry::Admitted(Box::new(place)),
            Err(Refused::Rate) => Entry::Ignored,
            Err(Refused::Total | Refused::Address) => Entry::Refused,
        }
    }
}
