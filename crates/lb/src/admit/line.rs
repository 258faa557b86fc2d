//! Who waits longest, over all workers; and the bells that wake a worker whose turn has come.
//!
//! A worker's own queue is FIFO; here each worker shows only the arrival of its first waiter. Whoever frees a place rings
//! the worker that shows the oldest. Orderings are sequentially consistent: a waiter shows itself and then looks at the
//! counter once more, a leaver lowers the counter and then looks who shows itself; one of the two sees the other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::task::Waker;

use crate::time::Nanos;

/// The first waiters of all workers for one kind of place.
#[derive(Debug)]
pub(super) struct Line {
    heads: Box<[AtomicU64]>,
}

impl Line {
    pub(super) fn new(workers: usize) -> Self {
        Self { heads: (0..workers).map(|_| AtomicU64::new(Nanos::NEVER.get())).collect() }
    }

    /// Shows the first waiter of `worker`; true if that changed.
    pub(super) fn show(&self, worker: usize, arrived: Option<Nanos>) -> bool {
        let shown = arrived.unwrap_or(Nanos::NEVER).get();
        self.heads.get(worker).is_some_and(|head| head.swap(shown, SeqCst) != shown)
    }

    /// The workers that show a waiter.
    pub(super) fn shown(&self) -> impl Iterator<Item = usize> {
        let heads = self.heads.iter().enumerate();
        heads.filter(|(_, head)| head.load(SeqCst) != Nanos::NEVER.get()).map(|(worker, _)| worker)
    }

    /// The worker with the oldest waiter, and since when it waits.
    pub(super) fn oldest(&self) -> Option<(usize, Nanos)> {
        let heads = self.heads.iter().enumerate().map(|(worker, head)| (worker, head.load(SeqCst)));
        let (worker, arrived) = heads.min_by_key(|&(_, arrived)| arrived)?;
        (arrived != Nanos::NEVER.get()).then_some((worker, Nanos::new(arrived)))
    }

    /// Whether another worker than `worker` has an older waiter than `arrived`.
    pub(super) fn has_older(&self, worker: usize, arrived: Nanos) -> bool {
        self.oldest().is_some_and(|(other, oldest)| other != worker && oldest < arrived)
    }
}

/// One worker's bell. The waker is locked only to ring a worker that waits, never on the path of a request that passes.
#[derive(Debug, Default)]
struct Bell {
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// The bells of all workers.
#[derive(Debug)]
pub(super) struct Bells(Box<[Bell]>);

impl Bells {
    pub(super) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Bell::default()).collect())
    }

    pub(super) fn set_waker(&self, worker: usize, waker: Waker) {
        if let Some(bell) = self.0.get(worker) {
            *bell.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
        }
    }

    pub(super) fn ring(&self, worker: usize) {
        let Some(bell) = self.0.get(worker) else { return };
        if !bell.rung.swap(true, SeqCst)
            && let Some(waker) = &*bell.waker.lock().unwrap_or_else(PoisonError::into_inner)
        {
            waker.wake_by_ref();
        }
    }

    pub(super) fn ring_all(&self) {
        (0..self.0.len()).for_each(|worker| self.ring(worker));
    }

    /// Whether the bell rang since the last call.
    pub(super) fn answer(&self, worker: usize) -> bool {
        self.0.get(worker).is_some_and(|bell| bell.rung.load(SeqCst) && bell.rung.swap(false, SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_waiter_goes_first_and_of_two_that_came_together_neither_is_older() {
        let (line, at) = (Line::new(4), Nanos::from_millis);
        assert_eq!((line.oldest(), line.shown().count()), (None, 0));
        assert!(line.show(1, Some(at(7))) && line.show(2, Some(at(5))) && line.show(3, Some(at(5))));
        assert!(!line.show(2, Some(at(5))), "nothing new");
        assert_eq!(line.shown().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(line.oldest(), Some((2, at(5))));
        assert!(line.has_older(1, at(7)) && line.has_older(0, at(6)));
        assert!(!line.has_older(3, at(5)) && !line.has_older(2, at(6)), "itself is nobody else");
        assert!(line.show(2, None));
        assert_eq!(line.oldest(), Some((3, at(5))));
    }
}
