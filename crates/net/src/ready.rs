//! The set of ready connections: one bit per slot, set by wakers, taken once per turn. Used by `edge` for TCP clients and by
//! `transport` for backends.
//!
//! Wakers may run on any thread, so the bits are atomic.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Wake, Waker},
};

use atomic_waker::AtomicWaker;

/// The slots that were woken since the set was last taken.
#[derive(Debug)]
pub struct ReadySet {
    /// The waker of the worker's task.
    root: AtomicWaker,
    /// Bit `n` of the set is set if `words[n]` may be non-zero.
    summary: Box<[AtomicU64]>,
    /// Bit `n` of the set is set if slot `n` was woken.
    words: Box<[AtomicU64]>,
}

impl ReadySet {
    /// Creates a set of `slots` slots, none of them ready.
    pub fn new(slots: usize) -> Arc<Self> {
        let words = slots.div_ceil(64);
        let zeros = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { root: AtomicWaker::new(), summary: zeros(words.div_ceil(64)), words: zeros(words) })
    }

    /// Sets the waker that is woken when a slot becomes ready.
    pub fn register(&self, waker: &Waker) {
        self.root.register(waker);
    }

    /// Returns a waker that marks a slot as ready. Waking the slot for an earlier connection in it is harmless.
    pub fn waker(self: &Arc<Self>, slot: usize) -> Waker {
        Waker::from(Arc::new(SlotWaker { set: Arc::clone(self), slot }))
    }

    /// Marks a slot as ready and wakes the worker.
    pub fn mark(&self, slot: usize) {
        let Some(word) = self.words.get(slot / 64) else { return };
        let bit = 1 << (slot % 64);
        // If the bit was set already, the thread that set it wakes the worker.
        if word.fetch_or(bit, Ordering::AcqRel) & bit == 0 {
            let at = slot / 64;
            if let Some(summary) = self.summary.get(at / 64) {
                summary.fetch_or(1 << (at % 64), Ordering::AcqRel);
            }
            self.root.wake();
        }
    }

    /// Moves the ready slots to the end of `into`, lowest first.
    pub fn take(&self, into: &mut Vec<usize>) {
        for (number, summary) in self.summary.iter().enumerate() {
            for at in bits(number, summary) {
                let Some(word) = self.words.get(at) else { continue };
                into.extend(bits(at, word));
            }
        }
    }
}

/// Takes the bits of word `number`, as numbers of the whole set, lowest first.
fn bits(number: usize, word: &AtomicU64) -> impl Iterator<Item = usize> + use<> {
    // Most words are zero: reading costs less than a swap.
    let mut rest = if word.load(Ordering::Acquire) == 0 { 0 } else { word.swap(0, Ordering::AcqRel) };
    std::iter::from_fn(move || {
        let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
        rest &= rest - 1;
        Some(number * 64 + bit)
    })
}

struct SlotWaker {
    set: Arc<ReadySet>,
    slot: usize,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.set.mark(self.slot);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set.mark(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: usize = 10_000;

    struct Count(AtomicU64);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn marked_slots_are_taken_once_and_the_root_is_woken_once_per_turn() {
        let set = ReadySet::new(SLOTS);
        let count = Arc::new(Count(AtomicU64::new(0)));
        set.register(&Waker::from(Arc::clone(&count)));
        for slot in [3, 64, 4096, SLOTS - 1, 3] {
            set.waker(slot).wake();
        }
        set.mark(SLOTS + 64); // out of range: ignored
        let mut taken = Vec::new();
        set.take(&mut taken);
        assert_eq!(taken, [3, 64, 4096, SLOTS - 1]);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        taken.clear();
        set.take(&mut taken);
        assert_eq!(taken, [0_usize; 0]);
    }

    #[test]
    fn no_wake_is_lost_between_threads() {
        let set = ReadySet::new(SLOTS);
        let marker = {
            let set = Arc::clone(&set);
            std::thread::spawn(move || (0..SLOTS).for_each(|slot| set.mark(slot)))
        };
        let mut taken = Vec::new();
        while taken.len() < SLOTS {
            if marker.is_finished() {
                set.take(&mut taken);
                break;
            }
            set.take(&mut taken);
        }
        set.take(&mut taken);
        taken.sort_unstable();
        assert!(taken.iter().copied().eq(0..SLOTS));
        marker.join().unwrap();
    }
}
