//! The share of its worker's time that a connection may use, so that one client's packets do not delay all others.
//!
//! Packets that carry data are cheap for their size. Packets of hundreds of tiny frames are not: what a connection costs
//! above an allowance by size is charged, and in each turn of the worker every connection may spend the same. The packets
//! of one that has spent more wait for later turns; when too many wait, further ones are dropped, as the network would.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// What a connection may spend in one turn beyond the allowance of its packets. Others wait so long in each turn, and a
/// request takes two; with little else to do the worker has many turns in the time that a larger share would take.
const PER_TURN: Duration = Duration::from_micros(25);
/// The most that one packet is charged, so that a moment in which the thread did not run is not taken for work.
const MAX_CHARGE: Duration = Duration::from_micros(100);
/// Debt beyond this is forgiven.
const MAX_DEBT: Duration = Duration::from_millis(2);
/// What any packet may cost without being charged: an ACK or a small request takes less.
const PER_PACKET: Duration = Duration::from_micros(5);
/// What a byte of a packet may cost without being charged. Decryption and one copy take less than half.
const NANOS_PER_BYTE: u64 = 4;
/// What an event of a stream costs the session.
const PER_EVENT: Duration = Duration::from_nanos(300);
/// Events of one turn that are not charged.
const FREE_EVENTS: u32 = 16;
/// Packets of one connection that wait for later turns.
const MAX_WAITING: usize = 256;

/// Time share of one connection, with packets of type `P`.
pub(crate) struct TimeShare<P> {
    /// The last turn that was accounted for.
    turn: Option<Instant>,
    /// Charged time that no turn has paid off yet.
    spent: Duration,
    waiting: VecDeque<(P, u64)>,
    /// Their bytes.
    waiting_bytes: u64,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Scheduled<P> {
    /// It must be processed now.
    Now(P),
    /// It waits. The first of them asks for [`Share::next`] in later turns.
    Waits {
        is_first: bool,
    },
    Dropped,
}

impl<P> Default for TimeShare<P> {
    fn default() -> Self {
        Self { turn: None, spent: Duration::ZERO, waiting: VecDeque::new(), waiting_bytes: 0 }
    }
}

impl<P> TimeShare<P> {
    /// Schedules a packet of `bytes` bytes in the turn that began at `now`.
    pub(crate) fn take(&mut self, packet: P, bytes: u64, now: Instant) -> Scheduled<P> {
        if self.waiting.is_empty() && self.may_spend(now) {
            return Scheduled::Now(packet);
        }
        if self.waiting.len() >= MAX_WAITING {
            return Scheduled::Dropped;
        }
        self.waiting.push_back((packet, bytes));
        self.waiting_bytes += bytes;
        Scheduled::Waits { is_first: self.waiting.len() == 1 }
    }

    /// Takes the next waiting packet and its size, if the connection has time left in this turn.
    pub(crate) fn next(&mut self, now: Instant) -> Option<(P, u64)> {
        if !self.may_spend(now) {
            return None;
        }
        let (packet, bytes) = self.waiting.pop_front()?;
        self.waiting_bytes -= bytes;
        Some((packet, bytes))
    }

    /// Bytes of the packets that wait.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Charges the processing time of a packet.
    pub(crate) fn charge(&mut self, took: Duration, bytes: u64) {
        let allowance = PER_PACKET + Duration::from_nanos(bytes.saturating_mul(NANOS_PER_BYTE));
        self.add(took.min(MAX_CHARGE).saturating_sub(allowance));
    }

    /// Charges events that the session has handled.
    pub(crate) fn charge_events(&mut self, events: u32) {
        self.add(PER_EVENT.saturating_mul(events.saturating_sub(FREE_EVENTS)));
    }

    fn add(&mut self, cost: Duration) {
        self.spent = (self.spent + cost).min(MAX_DEBT);
    }

    fn may_spend(&mut self, now: Instant) -> bool {
        if self.turn != Some(now) {
            self.turn = Some(now);
            self.spent = self.spent.saturating_sub(PER_TURN);
        }
        self.spent < PER_TURN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEAR: Duration = Duration::from_micros(88);

    /// Processes what waits in the turn at `now`; gives how many packets that were.
    fn work(share: &mut TimeShare<u32>, now: Instant, cost: Duration) -> usize {
        let mut done = 0;
        while let Some((_, bytes)) = share.next(now) {
            share.charge(cost, bytes);
            done += 1;
        }
        done
    }

    #[test]
    fn packets_that_are_cheap_for_their_size_never_wait() {
        let (mut share, now) = (TimeShare::default(), Instant::now());
        for packet in 0..10_000 {
            assert_eq!(share.take(packet, 1452, now), Scheduled::Now(packet));
            share.charge(Duration::from_nanos(10_500), 1452);
            assert_eq!(share.take(packet, 40, now), Scheduled::Now(packet));
            share.charge(Duration::from_nanos(5_100), 40);
        }
    }

    #[test]
    fn dear_packets_wait_in_order_and_are_dropped_when_too_many_do() {
        let (mut share, start) = (TimeShare::default(), Instant::now());
        let mut outcomes = [0; 3];
        for packet in 0..1000 {
            match share.take(packet, 1200, start) {
                Scheduled::Now(_) => {
                    share.charge(DEAR, 1200);
                    outcomes[0] += 1;
                }
                Scheduled::Waits { is_first } => {
                    assert_eq!(is_first, outcomes[1] == 0);
                    outcomes[1] += 1;
                }
                Scheduled::Dropped => outcomes[2] += 1,
            }
        }
        assert_eq!(outcomes, [1, MAX_WAITING, 1000 - 1 - MAX_WAITING]);
        let mut order = Vec::new();
        let mut turns = 0;
        while share.has_waiting() {
            turns += 1;
            let now = start + Duration::from_micros(turns);
            let mut done = 0;
            while let Some((packet, bytes)) = share.next(now) {
                share.charge(DEAR, bytes);
                order.push(packet);
                done += 1;
            }
            assert!(done <= 1, "{done} packets in a turn");
        }
        assert_eq!(order, (1..=MAX_WAITING as u32).collect::<Vec<_>>());
    }

    #[test]
    fn a_pause_of_the_thread_delays_packets_by_a_few_turns() {
        let (mut share, start) = (TimeShare::default(), Instant::now());
        share.charge(Duration::from_secs(1), 1200);
        assert_eq!(share.take(1, 1200, start), Scheduled::Waits { is_first: true });
        let paid = (1..100).find(|turn| share.next(start + Duration::from_micros(*turn)).is_some());
        assert_eq!(paid, Some(2));
    }

    #[test]
    fn events_are_paid_for_in_later_turns() {
        let (mut share, start) = (TimeShare::default(), Instant::now());
        share.charge_events(FREE_EVENTS);
        assert_eq!(share.take(0, 100, start), Scheduled::Now(0));
        share.charge_events(1000);
        assert_eq!(share.take(1, 100, start), Scheduled::Waits { is_first: true });
        let paid = (1..100).find(|turn| work(&mut share, start + Duration::from_micros(*turn), DEAR) > 0);
        assert_eq!(paid, Some(11), "295 us of events, 25 us in a turn");
    }

    #[test]
    fn a_turn_ends_when_exactly_its_share_is_spent() {
        let (mut share, start) = (TimeShare::default(), Instant::now());
        let mut spend = |nanos| {
            share.charge(PER_PACKET + Duration::from_nanos(nanos), 0);
            share.take((), 100, start)
        };
        assert_eq!(spend(24_999), Scheduled::Now(()));
        assert_eq!(spend(24_999), Scheduled::Now(()), "what was spent before the turn is paid");
        assert_eq!(spend(1), Scheduled::Waits { is_first: true });
    }
}
