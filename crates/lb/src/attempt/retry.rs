//! The retry budget: how many further attempts (retries and hedges) a window of time allows
//! (docs/reference/behaviour.md#retries).
//!
//! Each worker counts first attempts separately, without contention; the rare further ones have one shared counter. There is
//! a budget for each route and one for the process; a further attempt must fit into both.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::time::Nanos;

/// Slices of a window; the oldest is dropped as a whole.
const SLICES: u64 = 10;
/// Slots: the slices of a window and the current one.
const SLOTS: usize = SLICES as usize + 1;

/// `retry_budget` of the configuration, for a route or the process.
#[derive(Clone, Copy, Debug)]
pub struct BudgetOptions {
    /// Further attempts in percent of first ones.
    pub ratio_percent: u32,
    /// Further attempts in a window that are always allowed.
    pub min_retries: u32,
    /// Length of the window.
    pub window: Duration,
}

impl Default for BudgetOptions {
    fn default() -> Self {
        Self { ratio_percent: 10, min_retries: 3, window: Duration::from_secs(10) }
    }
}

/// Counts by slice of time: each word holds the number of the slice (upper half) and the count (lower half).
#[derive(Debug, Default)]
struct Slices([AtomicU64; SLOTS]);

impl Slices {
    fn slot(&self, slice: u64) -> Option<&AtomicU64> {
        self.0.get((slice % SLOTS as u64) as usize)
    }

    /// Adds one; there must be no other writer.
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
            // Fails if the slot was reused for a later slice; the count is then gone.
            let _ = slot.fetch_update(Relaxed, Relaxed, lowered);
        }
    }

    /// Sum of the current slice and `before` earlier ones.
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

/// First attempts of one worker, on their own cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Slices);

/// A retry budget; survives reloads.
#[derive(Debug)]
pub struct Budget {
    firsts: Box<[Shard]>,
    further: Slices,
    ratio_percent: AtomicU32,
    min_retries: AtomicU32,
    slice_nanos: AtomicU64,
}

impl Budget {
    /// Creates an unused budget for this many workers.
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

    /// Applies new options.
    pub fn configure(&self, options: &BudgetOptions) {
        let window = u64::try_from(options.window.as_nanos()).unwrap_or(u64::MAX);
        self.ratio_percent.store(options.ratio_percent, Relaxed);
        self.min_retries.store(options.min_retries, Relaxed);
        self.slice_nanos.store((window / SLICES).max(1), Relaxed);
    }

    /// Counts a first attempt.
    pub(crate) fn on_first(&self, worker: usize, now: Nanos) {
        if let Some(shard) = self.firsts.get(worker) {
            shard.0.add_alone(self.slice(now));
        }
    }

    /// Counts a further attempt. Returns false, counting nothing, if the budget is used up.
    pub(crate) fn take(&self, now: Nanos) -> bool {
        let slice = self.slice(now);
        self.further.add(slice);
        if self.further(now) <= self.allowed(now) {
            return true;
        }
        self.further.take_back(slice);
        false
    }

    /// Undoes [`Budget::take`], because the attempt did not start.
    pub(crate) fn give_back(&self, now: Nanos) {
        self.further.take_back(self.slice(now));
    }

    /// Number of further attempts in the last window, rounded up to slices.
    pub fn further(&self, now: Nanos) -> u64 {
        self.further.sum(self.slice(now), SLICES)
    }

    /// Number of further attempts that the first attempts of the last window, rounded down to slices, allow.
    pub fn allowed(&self, now: Nanos) -> u64 {
        let slice = self.slice(now);
        let firsts: u64 = self.firsts.iter().map(|shard| shard.0.sum(slice, SLICES - 1)).sum();
        let ratio = u64::from(self.ratio_percent.load(Relaxed));
        // The reference says "fewer than m + r x n", which for whole numbers is the ceiling.
        u64::from(self.min_retries.load(Relaxed)) + (firsts * ratio).div_ceil(100)
    }

    fn slice(&self, now: Nanos) -> u64 {
        // Slice numbers begin above those that an empty slot could match.
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
