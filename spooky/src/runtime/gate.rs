//! The door for client connections of all listeners and workers: their number, their number by address, their rate.
//!
//! The counts are `lb::admit`'s; the edge asks here before it makes any state for a connection.

use crate::snapshot::Snapshot;
use spooky_edge::{Entry, Gate};
use spooky_lb::{
    admit::{ConnectionLimits, Refused},
    time::Nanos,
};
use std::{net::IpAddr, sync::Arc, time::Instant};

/// The door.
pub(super) struct ConnectionGate {
    limits: Arc<ConnectionLimits>,
    epoch: Instant,
}

impl ConnectionGate {
    /// A door that counts together with all others of the snapshot.
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        Self { limits: snapshot.counts.connections.clone(), epoch: snapshot.epoch }
    }
}

impl Gate for ConnectionGate {
    fn enter(&self, client: IpAddr, now: Instant) -> Entry {
        match self.limits.open(client, Nanos::since(self.epoch, now)) {
            Ok(place) => Entry::Admitted(Box::new(place)),
            Err(Refused::Rate) => Entry::Ignored,
            Err(Refused::Total | Refused::Address) => Entry::Refused,
        }
    }
}
