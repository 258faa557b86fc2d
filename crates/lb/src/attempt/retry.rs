//! The retry budget: how many further attempts are allowed in a window of time (docs/reference/behaviour.md#retries).
//!
//! First attempts are counted by each worker for itself, without contention; retries and hedges, which are rare, by all
//! together. One budget stands for a route or for the process; a further attempt needs a place in both.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::time::Nanos;

/// Parts of a window; the oldest is forgotten whole.
const SLICES: u64 = 10;
/// The slices of a window and the one that begins.
const SLOTS: usize = SLICES as usize + 1;

/// `retry_budget` of the configuration, for a route or the process.
#[derive(Clone, Copy, Debug)]
pub struct BudgetOptions {
    /// Further attempts in percent of first ones.
    pub ratio_percent: u32,
    /// Further attempts that are allowed in any case, by window.
    pub min_retries: u32,
    /// The time that counts.
    pub window: Duration,
}

impl Default for BudgetOptions {
    fn default() -> Self {
        Self { ratio_percent: 10, min_retries: 3, window: Duration::from_secs(10) }
    }
}

/// Counts by slice of time: the number of the slice in the upper half, the count in the lower.
#[derive(Debug, Default)]
struct Slices([AtomicU64; SLOTS]);

impl Slices {
    fn slot(&self, slice: u64) -> Option<&AtomicU64> {
        self.0.get((slice % SLOTS as u64) as usize)
    }

    /// Adds to the current slice; for a single writer.
    fn add_alone(&self, slice: u64) {
        if let Some(slot) = self.slot(slice) {
            slot.store(added(slot.load(Relaxed), slice), Relaxed);
        }
    }

    fn add(&self, slice: u64) {
        if let Some(slot) = self.slot(slice) {
            // The closure always yields a value, so the update cannot fail.
            let _ = slot.fetch_update(Relaxed, Relaxed, |word| Some(added(word, slice)));
        }
    }

    fn take_back(&self, slice: u64) {
        if let Some(slot) = self.slot(slice) {
            let lowered = |word: u64| (word >> 32 == slice & MASK && word & MASK > 0).then(|| word - 1);
            // A slice that is gone took the count along.
            let _ = slot.fetch_update(Relaxed, Relaxed, lowered);
        }
    }

    /// Sum over the current slice and `before` earlier ones.
    fn sum(&self, slice: u64, before: u64) -> u64 {
        let recent = |word: &u64| slice.wrapping_sub(word >> 32) & MASK <= before;
        self.0.iter().map(|slot| slot.load(Relaxed)).filter(recent).map(|word| word & MASK).sum()
    }
}

const MASK: u64 = 0xFFFF_FFFF;

fn added(word: u64, slice: u64) -> u64 {
    let slice = slice & MASK;
    if word >> 32 == slice { word + 1 } else { slice << 32 | 1 }
}

/// One worker's first attempts, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Slices);

/// A budget; kept over a reload.
#[derive(Debug)]
pub struct Budget {
    firsts: Box<[Shard]>,
    further: Slices,
    ratio_percent: AtomicU32,
    min_retries: AtomicU32,
    slice_nanos: AtomicU64,
}

impl Budget {
    /// An unused budget for this many workers.
    pub fn new(workers: usize, options: &BudgetOptions) -> Self {
        let budget = Self {
            firsts: (0..workers).map(|_| Shard::default()).collect(),
            further: Slices::default(),
            ratio_percent: AtomicU32::new(0),
            min_retries: AtomicU32::new(0),
            slice_nanos: AtomicU64::new(1),
        };
        budget.configure(options);
        budget
    }

    /// Takes options in on reload.
    pub fn configure(&self, options: &BudgetOptions) {
        let window = u64::try_from(options.window.as_nanos()).unwrap_or(u64::MAX);
        self.ratio_percent.store(options.ratio_percent, Relaxed);
        self.min_retries.store(options.min_retries, Relaxed);
        self.slice_nanos.store((window / SLICES).max(1), Relaxed);
    }

    /// A request started its first attempt on `worker`.
    pub(crate) fn on_first(&self, worker: usize, now: Nanos) {
        if let Some(shard) = self.firsts.get(worker) {
            shard.0.add_alone(self.slice(now));
        }
    }

    /// Consumes a place for one further attempt; false when there is none.
    pub(crate) fn take(&self, now: Nanos) -> bool {
        let slice = self.slice(now);
        self.further.add(slice);
        if self.further(now) <= self.allowed(now) {
            return true;
        }
        self.further.take_back(slice);
        false
    }

    /// Gives a place back: the attempt did not start after all.
    pub(crate) fn give_back(&self, now: Nanos) {
        self.further.take_back(self.slice(now));
    }

    /// Further attempts in the last window, or a slice more.
    pub fn further(&self, now: Nanos) -> u64 {
        self.further.sum(self.slice(now), SLICES)
    }

    /// Further attempts that the first ones of the last window, or a slice less, allow.
    pub fn allowed(&self, now: Nanos) -> u64 {
        let slice = self.slice(now);
        let firsts: u64 = self.firsts.iter().map(|shard| shard.0.sum(slice, SLICES - 1)).sum();
        let ratio = u64::from(self.ratio_percent.load(Relaxed));
        // "fewer than m + r x n" for whole numbers: the ceiling of it.
        u64::from(self.min_retries.load(Relaxed)) + (firsts * ratio).div_ceil(100)
    }

    fn slice(&self, now: Nanos) -> u64 {
        // Slice 0 would be taken for an empty slot of the first window.
        now.get() / self.slice_nanos.load(Relaxed) + SLOTS as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Nanos = Nanos::from_millis;

    #[test]
    fn a_share_of_first_attempts_and_a_minimum() {
        let budget = Budget::new(2, &BudgetOptions::default());
        let taken = |now| (0..1000).filter(|_| budget.take(now)).count();
        assert_eq!(taken(AT(0)), 3);
        (0..100).for_each(|n| budget.on_first(n % 2, AT(1)));
        assert_eq!(taken(AT(2)), 10);
        budget.on_first(0, AT(3));
        assert_eq!(taken(AT(4)), 1, "fewer than 3 + 10.1");
    }

    #[test]
    fn the_window_slides_and_never_forgets_too_early() {
        let budget = Budget::new(1, &BudgetOptions::default());
        assert!((0..3).all(|_| budget.take(AT(5_500))));
        assert!(!budget.take(AT(15_499)), "9.999 s later");
        assert!(budget.take(AT(16_000)));
        (0..100).for_each(|_| budget.on_first(0, AT(20_000)));
        assert_eq!(budget.allowed(AT(29_999)), 13);
        assert_eq!(budget.allowed(AT(30_000)), 3);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let budget = Budget::new(1, &BudgetOptions { min_retries: 1, ..Default::default() });
        assert!(budget.take(AT(1)) && !budget.take(AT(1)));
        budget.give_back(AT(1));
        assert_eq!(budget.further(AT(1)), 0);
        budget.give_back(AT(1));
        assert_eq!(budget.further(AT(1)), 0, "never below zero");
        assert!(budget.take(AT(1)));
    }

    #[test]
    fn a_clock_that_jumps_forgets_but_never_fails() {
        let budget = Budget::new(1, &BudgetOptions::default());
        assert!(budget.take(AT(1_000_000)));
        assert!(budget.take(AT(5)));
        assert!(budget.take(Nanos::NEVER));
    }
}
