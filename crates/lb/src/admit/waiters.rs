//! The longest-waiting request over all workers, and the wakers of the workers.
//!
//! A worker's own queue is FIFO; here each worker publishes only when its first waiting request arrived. Whoever releases
//! a permit wakes the worker with the oldest one. Orderings are sequentially consistent: a worker publishes the arrival and
//! then tries the counter once more; a release lowers the counter and then reads the arrivals. One of the two sees the
//! other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::task::Waker;

use crate::time::Nanos;

/// Arrival time of the first waiting request of each worker, for one limit.
#[derive(Debug)]
pub(super) struct Waiters {
    arrivals: Box<[AtomicU64]>,
}

impl Waiters {
    pub(super) fn new(workers: usize) -> Self {
        Self { arrivals: (0..workers).map(|_| AtomicU64::new(Nanos::NEVER.get())).collect() }
    }

    /// Publishes when the first waiting request of `worker` arrived. Returns true if that changed.
    pub(super) fn publish(&self, worker: usize, arrived: Option<Nanos>) -> bool {
        let shown = arrived.unwrap_or(Nanos::NEVER).get();
        self.arrivals.get(worker).is_some_and(|arrival| arrival.swap(shown, SeqCst) != shown)
    }

    /// Workers that have a waiting request.
    pub(super) fn workers(&self) -> impl Iterator<Item = usize> {
        let arrivals = self.arrivals.iter().enumerate();
        arrivals.filter(|(_, arrival)| arrival.load(SeqCst) != Nanos::NEVER.get()).map(|(worker, _)| worker)
    }

    /// Worker with the oldest waiting request, and when that request arrived.
    pub(super) fn oldest(&self) -> Option<(usize, Nanos)> {
        let arrivals = self.arrivals.iter().enumerate().map(|(worker, arrival)| (worker, arrival.load(SeqCst)));
        let (worker, arrived) = arrivals.min_by_key(|&(_, arrived)| arrived)?;
        (arrived != Nanos::NEVER.get()).then_some((worker, Nanos::new(arrived)))
    }

    /// Whether another worker than `worker` has an older waiter than `arrived`.
    pub(super) fn has_older(&self, worker: usize, arrived: Nanos) -> bool {
        self.oldest().is_some_and(|(other, oldest)| other != worker && oldest < arrived)
    }
}

/// Locked only to wake a worker that has waiting requests, never for a request that is admitted at once.
#[derive(Debug, Default)]
struct WorkerWaker {
    woken: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

#[derive(Debug)]
pub(super) struct WorkerWakers(Box<[WorkerWaker]>);

impl WorkerWakers {
    pub(super) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| WorkerWaker::default()).collect())
    }

    pub(super) fn set_waker(&self, worker: usize, waker: Waker) {
        if let Some(entry) = self.0.get(worker) {
            *entry.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
        }
    }

    pub(super) fn wake(&self, worker: usize) {
        let Some(entry) = self.0.get(worker) else { return };
        if !entry.woken.swap(true, SeqCst)
            && let Some(waker) = &*entry.waker.lock().unwrap_or_else(PoisonError::into_inner)
        {
            waker.wake_by_ref();
        }
    }

    pub(super) fn wake_all(&self) {
        (0..self.0.len()).for_each(|worker| self.wake(worker));
    }

    /// Returns whether the worker was woken since the last call.
    pub(super) fn take_woken(&self, worker: usize) -> bool {
        self.0.get(worker).is_some_and(|waker| waker.woken.load(SeqCst) && waker.woken.swap(false, SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_waiter_goes_first_and_of_two_that_came_together_neither_is_older() {
        let (waiters, at) = (Waiters::new(4), Nanos::from_millis);
        assert_eq!((waiters.oldest(), waiters.workers().count()), (None, 0));
        assert!(waiters.publish(1, Some(at(7))) && waiters.publish(2, Some(at(5))) && waiters.publish(3, Some(at(5))));
        assert!(!waiters.publish(2, Some(at(5))), "nothing new");
        assert_eq!(waiters.workers().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(waiters.oldest(), Some((2, at(5))));
        assert!(waiters.has_older(1, at(7)) && waiters.has_older(0, at(6)));
        assert!(!waiters.has_older(3, at(5)) && !waiters.has_older(2, at(6)), "itself is nobody else");
        assert!(waiters.publish(2, None));
        assert_eq!(waiters.oldest(), Some((3, at(5))));
    }
}
