//! The table of connections, those being made included, each with its waker and its armed deadline.
//!
//! Used by `transport`, which decides what happens to them.

use std::{future::Future, pin::Pin, sync::Arc, task::Waker, time::Instant};

use spooky_net::timer::{self, Deadlines};
use spooky_table::Table;

use crate::{
    connect::Established,
    failure::{ConnectFailure, FailureKind},
    handle::SlotKey,
    pool::Connection,
    wake::{MAX_SLOTS, ReadySet},
};

/// An attempt under way.
pub(crate) type Attempt = Pin<Box<dyn Future<Output = Result<Established, ConnectFailure>>>>;

/// What is in a slot.
pub(crate) enum Link {
    /// Name, TCP and TLS.
    Connecting(Attempt),
    /// A connection; whether the peer speaks its protocol may not be known yet.
    Connected(Connection),
}

/// A connection of an origin.
pub(crate) struct Slot {
    pub(crate) key: SlotKey,
    pub(crate) origin: usize,
    pub(crate) waker: Waker,
    pub(crate) link: Link,
    /// It is in the list of connections to be flushed.
    pub(crate) dirty: bool,
    /// A write failed; what the peer had sent before is still to be read.
    pub(crate) broken: Option<FailureKind>,
    /// The earliest deadline of this slot that was entered.
    armed: Option<Instant>,
}

impl Slot {
    /// Sees to it that the slot is looked at no later than `at`.
    pub(crate) fn arm(&mut self, at: Instant, deadlines: &mut Deadlines<SlotKey>) {
        deadlines.arm(self.key, at, &mut self.armed);
    }

    /// The moment for which the slot is armed: of an attempt, its end.
    pub(crate) fn deadline(&self, now: Instant) -> Instant {
        self.armed.unwrap_or(now)
    }

    /// Whether an expired entry is the one that counts; it is then spent.
    pub(crate) fn disarm(&mut self, at: Instant) -> bool {
        timer::disarm(&mut self.armed, at)
    }
}

/// All connections of a worker.
#[derive(Default)]
pub(crate) struct Slots {
    slots: Table<Slot>,
}

impl Slots {
    /// Puts an attempt into a free slot; `None` if there are too many connections.
    pub(crate) fn insert(&mut self, origin: usize, attempt: Attempt, ready: &Arc<ReadySet>) -> Option<&mut Slot> {
        if self.slots.len() >= MAX_SLOTS {
            return None;
        }
        let key = self.slots.insert_with(|key| {
            let waker = ready.waker(key.index());
            Slot { key, origin, waker, link: Link::Connecting(attempt), dirty: false, broken: None, armed: None }
        });
        self.slots.get_mut(key)
    }

    /// The slot with this number, whoever is in it.
    pub(crate) fn at(&mut self, index: usize) -> Option<&mut Slot> {
        self.slots.get_mut(self.slots.at(index)?)
    }

    /// The slot, unless its connection is gone.
    pub(crate) fn get_mut(&mut self, key: SlotKey) -> Option<&mut Slot> {
        self.slots.get_mut(key)
    }

    /// The connection, unless it is gone or still being made.
    pub(crate) fn connection(&self, key: SlotKey) -> Option<&Connection> {
        match &self.slots.get(key)?.link {
            Link::Connected(connection) => Some(connection),
            Link::Connecting(_) => None,
        }
    }

    /// The connection, unless it is gone or still being made.
    pub(crate) fn connection_mut(&mut self, key: SlotKey) -> Option<&mut Connection> {
        match &mut self.get_mut(key)?.link {
            Link::Connected(connection) => Some(connection),
            Link::Connecting(_) => None,
        }
    }

    /// Empties a slot.
    pub(crate) fn remove(&mut self, key: SlotKey) -> Option<Slot> {
        self.slots.remove(key)
    }

    /// Keys of all connections.
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

    /// Number of connections.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}
