//! What the relay does to datagrams, and what became of them.

use std::time::Duration;

/// What the network does to every datagram, in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// One-way delay.
    pub delay: Duration,
    /// Datagrams lost, per 1000.
    pub loss_permille: u32,
    /// Datagrams delivered late, per 1000.
    pub reorder_permille: u32,
    /// How much later a reordered datagram comes.
    pub reorder_by: Duration,
    /// Seed of the chances; both directions draw from sequences of their own.
    pub seed: u64,
    /// Each datagram to the server comes as the second of a coalesced pair, as a network card may deliver it. The first
    /// is of the same size and for no connection; the first byte of its connection id differs from that of the second
    /// in the lowest bit.
    pub misleading: bool,
}

impl Conditions {
    /// 5 ms each way, 2 % lost, 2 % reordered by 5 ms.
    pub fn bad(seed: u64) -> Self {
        let (delay, reorder_by) = (Duration::from_millis(5), Duration::from_millis(5));
        Self { delay, loss_permille: 20, reorder_permille: 20, reorder_by, seed, misleading: false }
    }

    /// Neither delay nor loss.
    pub fn clean() -> Self {
        let none = Duration::ZERO;
        Self { delay: none, loss_permille: 0, reorder_permille: 0, reorder_by: none, seed: 0, misleading: false }
    }

    /// As [`Conditions::clean`], but every datagram to the server comes behind one that leads elsewhere.
    pub fn misleading() -> Self {
        Self { misleading: true, ..Self::clean() }
    }
}

/// What became of the datagrams so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Delivered, late ones included.
    pub delivered: u64,
    /// Lost on purpose.
    pub lost: u64,
    /// Delivered late on purpose.
    pub reordered: u64,
}
