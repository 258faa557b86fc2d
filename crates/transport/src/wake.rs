//! The set of ready connections: one bit per slot, set by wakers, taken once per turn.
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

const WORDS: usize = 64;

/// Maximum number of connections of one worker, including attempts.
pub(crate) const MAX_SLOTS: usize = WORDS * 64;

/// The slots that were woken since the set was last taken.
#[derive(Debug)]
pub(crate) struct ReadySet {
    /// The waker of the worker's task.
    root: AtomicWaker,
    /// Bit `n` is set if `words[n]` may be non-zero.
    summary: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl ReadySet {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            root: AtomicWaker::new(),
            summary: AtomicU64::new(0),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
        })
    }

    /// Sets the waker that is woken when a slot becomes ready.
    pub(crate) fn register(&self, waker: &Waker) {
        self.root.register(waker);
    }

    /// Returns a waker that marks a slot as ready. Waking the slot for an earlier connection in it is harmless.
    pub(crate) fn waker(self: &Arc<Self>, slot: usize) -> Waker {
        Waker::from(Arc::new(SlotWaker { set: Arc::clone(self), slot }))
    }

    /// Marks a slot as ready and wakes the worker.
    pub(crate) fn mark(&self, slot: usize) {
        let Some(word) = self.words.get(slot / 64) else { return };
        let bit = 1 << (slot % 64);
        // If the bit was set already, the thread that set it wakes the worker.
        if word.fetch_or(bit, Ordering::AcqRel) & bit == 0 {
            self.summary.fetch_or(1 << (slot / 64), Ordering::AcqRel);
            self.root.wake();
        }
    }

    /// Moves the ready slots to the end of `into`, lowest first.
    pub(crate) fn take(&self, into: &mut Vec<usize>) {
        let mut summary = self.summary.swap(0, Ordering::AcqRel);
        while summary != 0 {
            let at = summary.trailing_zeros() as usize;
            summary &= summary - 1;
            let mut word = self.words.get(at).map_or(0, |word| word.swap(0, Ordering::AcqRel));
            while word != 0 {
                into.push(at * 64 + word.trailing_zeros() as usize);
                word &= word - 1;
            }
        }
    }
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

    struct Count(AtomicU64);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn marked_slots_are_taken_once_and_the_root_is_woken_once_per_turn() {
        let set = ReadySet::new();
        let count = Arc::new(Count(AtomicU64::new(0)));
        set.register(&Waker::from(Arc::clone(&count)));
        for slot in [3, 64, MAX_SLOTS - 1, 3] {
            set.waker(slot).wake();
        }
        set.mark(MAX_SLOTS); // out of range: ignored
        let mut taken = Vec::new();
        set.take(&mut taken);
        assert_eq!(taken, [3, 64, MAX_SLOTS - 1]);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        taken.clear();
        set.take(&mut taken);
        assert_eq!(taken, [0_usize; 0]);
    }

    #[test]
    fn no_wake_is_lost_between_threads() {
        let set = ReadySet::new();
        let marker = {
            let set = Arc::clone(&set);
            std::thread::spawn(move || (0..MAX_SLOTS).for_each(|slot| set.mark(slot)))
        };
        let mut taken = Vec::new();
        while taken.len() < MAX_SLOTS {
            if marker.is_finished() {
                set.take(&mut taken);
                break;
            }
            set.take(&mut taken);
        }
        set.take(&mut taken);
        taken.sort_unstable();
        assert!(taken.iter().copied().eq(0..MAX_SLOTS));
        marker.join().unwrap();
    }
}
