//! Conditions of the simulated network, and counts of datagrams.

use std::time::Duration;

/// Conditions of the network, in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// One-way delay.
    pub delay: Duration,
    /// Datagrams lost, per 1000.
    pub loss_permille: u32,
    /// Datagrams delivered late, per 1000.
    pub reorder_permille: u32,
    /// Additional delay of a reordered datagram.
    pub reorder_by: Duration,
    /// Seed of the random decisions. Each direction has its own sequence.
    pub seed: u64,
    /// Delivers each datagram to the server as the second of a coalesced pair, as a network card may do. The first has the
    /// same size and belongs to no connection; the first byte of its connection id differs from that of the second in
    /// the lowest bit.
    pub misleading: bool,
}

impl Conditions {
    /// 5 ms delay each way, 2 % loss, 2 % reordered by 5 ms.
    pub fn bad(seed: u64) -> Self {
        let (delay, reorder_by) = (Duration::from_millis(5), Duration::from_millis(5));
        Self { delay, loss_permille: 20, reorder_permille: 20, reorder_by, seed, misleading: false }
    }

    /// No delay and no loss.
    pub fn clean() -> Self {
        let none = Duration::ZERO;
        Self { delay: none, loss_permille: 0, reorder_permille: 0, reorder_by: none, seed: 0, misleading: false }
    }

    /// As [`Conditions::clean`], with [`Conditions::misleading`] set.
    pub fn misleading() -> Self {
        Self { misleading: true, ..Self::clean() }
    }
}

/// What happened to the datagrams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Delivered, including late ones.
    pub delivered: u64,
    /// Dropped.
    pub lost: u64,
    /// Delayed to reorder them.
    pub reordered: u64,
}
