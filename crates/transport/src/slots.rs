//! The table of connections and connection attempts, each with its waker and its deadline.

use std::{future::Future, net::IpAddr, pin::Pin, sync::Arc, task::Waker, time::Instant};

use spooky_net::{
    ready::ReadySet,
    timer::{self, Deadlines},
};
use spooky_table::Table;

use crate::{
    connect::Established,
    failure::{ConnectFailure, FailureKind},
    handle::SlotKey,
    pool::Connection,
};

/// Maximum number of connections of one worker, including attempts.
pub(crate) const MAX_SLOTS: usize = 4096;
/// Bit of the ready set that says that addresses of names have changed.
pub(crate) const NAMES_SLOT: usize = MAX_SLOTS;

pub(crate) type ConnectFuture = Pin<Box<dyn Future<Output = Result<Established, ConnectFailure>>>>;

pub(crate) enum Link {
    /// Resolution, TCP and TLS are in progress.
    Connecting(ConnectFuture),
    /// TCP and TLS are established; on HTTP/2 the peer's SETTINGS may still be outstanding.
    Connected(Connection),
}

pub(crate) struct Slot {
    pub(crate) key: SlotKey,
    pub(crate) origin: usize,
    /// When the attempt was started.
    pub(crate) started: Instant,
    /// The address of the peer, once it is connected.
    pub(crate) peer: Option<IpAddr>,
    pub(crate) waker: Waker,
    pub(crate) link: Link,
    /// Whether the slot is in the list of connections to flush.
    pub(crate) dirty: bool,
    /// Set when a write has failed; what the peer sent before that has still to be read.
    pub(crate) broken: Option<FailureKind>,
    /// The earliest timer entry of this slot.
    armed: Option<Instant>,
}

impl Slot {
    /// Makes the slot due no later than `at`.
    pub(crate) fn arm(&mut self, at: Instant, deadlines: &mut Deadlines<SlotKey>) {
        deadlines.arm(self.key, at, &mut self.armed);
    }

    /// Returns the time at which the slot is due; for an attempt, its timeout.
    pub(crate) fn deadline(&self, now: Instant) -> Instant {
        self.armed.unwrap_or(now)
    }

    /// Returns whether an expired timer entry is the current one, and clears it in that case.
    pub(crate) fn disarm(&mut self, at: Instant) -> bool {
        timer::disarm(&mut self.armed, at)
    }
}

#[derive(Default)]
pub(crate) struct Slots {
    slots: Table<Slot>,
}

impl Slots {
    /// Adds an attempt. Returns `None` if the worker has [`MAX_SLOTS`] connections.
    pub(crate) fn insert(
        &mut self,
        origin: usize,
        attempt: ConnectFuture,
        ready: &Arc<ReadySet>,
        now: Instant,
    ) -> Option<&mut Slot> {
        if self.is_full() {
            return None;
        }
        let key = self.slots.insert_with(|key| {
            let waker = ready.waker(key.index());
            let link = Link::Connecting(attempt);
            Slot { key, origin, started: now, peer: None, waker, link, dirty: false, broken: None, armed: None }
        });
        self.slots.get_mut(key)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.slots.len() >= MAX_SLOTS
    }

    /// Returns the slot with this index, whatever its serial number.
    pub(crate) fn at(&mut self, index: usize) -> Option<&mut Slot> {
        self.slots.get_mut(self.slots.at(index)?)
    }

    pub(crate) fn get_mut(&mut self, key: SlotKey) -> Option<&mut Slot> {
        self.slots.get_mut(key)
    }

    /// Returns the connection; `None` if it was removed or is not established yet.
    pub(crate) fn connection(&self, key: SlotKey) -> Option<&Connection> {
        match &self.slots.get(key)?.link {
            Link::Connected(connection) => Some(connection),
            Link::Connecting(_) => None,
        }
    }

    /// Returns the connection; `None` if it was removed or is not established yet.
    pub(crate) fn connection_mut(&mut self, key: SlotKey) -> Option<&mut Connection> {
        match &mut self.get_mut(key)?.link {
            Link::Connected(connection) => Some(connection),
            Link::Connecting(_) => None,
        }
    }

    /// Returns the address of the peer; `None` if the connection was removed or is not established yet.
    pub(crate) fn peer(&self, key: SlotKey) -> Option<IpAddr> {
        self.slots.get(key)?.peer
    }

    pub(crate) fn remove(&mut self, key: SlotKey) -> Option<Slot> {
        self.slots.remove(key)
    }

    pub(crate) fn keys(&self) -> Vec<SlotKey> {
        self.slots.iter().map(|(key, _)| key).collect()
    }

    /// Frees what the connections hold and do not need while they are idle.
    pub(crate) fn free_unused(&mut self) {
        for (_, slot) in self.slots.iter_mut() {
            if let Link::Connected(connection) = &mut slot.link {
                connection.free_unused();
            }
        }
        self.slots.shrink_to_fit();
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}
