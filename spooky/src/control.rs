//! What the control plane tells a worker, or the prober: which configuration is in effect, and when to stop.
//!
//! The last order counts and can be read again at any time, so a worker that replaces one that panicked starts with it,
//! and a busy worker skips configurations that were replaced before it looked.

use atomic_waker::AtomicWaker;
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Context,
    time::Duration,
};

/// The orders for one thread. `T` is its configuration.
pub(crate) struct Control<T> {
    /// Rises with every order, so that looking for a new one takes no lock.
    version: AtomicU64,
    orders: Mutex<Orders<T>>,
    waker: AtomicWaker,
}

/// The orders in effect.
#[derive(Clone)]
pub(crate) struct Orders<T> {
    /// The configuration to work with.
    pub(crate) setup: T,
    /// Set once the thread is to stop: for how long it may go on with what it has begun.
    pub(crate) drain: Option<Duration>,
}

/// Which order a thread has seen last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(u64);

impl<T: Clone> Control<T> {
    /// Orders to work with `setup`.
    pub(crate) fn new(setup: T) -> Self {
        Self {
            version: AtomicU64::new(1),
            orders: Mutex::new(Orders { setup, drain: None }),
            waker: AtomicWaker::new(),
        }
    }

    /// Changes the configuration.
    pub(crate) fn reload(&self, setup: T) {
        self.change(|orders| orders.setup = setup);
    }

    /// Orders the thread to finish what it has begun, for this long at most, and to stop.
    pub(crate) fn drain(&self, grace: Duration) {
        self.change(|orders| orders.drain = Some(grace));
    }

    fn change(&self, change: impl FnOnce(&mut Orders<T>)) {
        let mut orders = self.lock();
        change(&mut orders);
        self.version.fetch_add(1, Ordering::Release);
        drop(orders);
        self.waker.wake();
    }

    /// The orders, if they are newer than what was seen; the task is woken when they change again.
    pub(crate) fn poll(&self, seen: &mut Seen, cx: &mut Context<'_>) -> Option<Orders<T>> {
        self.waker.register(cx.waker());
        if self.version.load(Ordering::Acquire) == seen.0 {
            return None;
        }
        Some(self.read(seen))
    }

    /// The orders in effect.
    pub(crate) fn read(&self, seen: &mut Seen) -> Orders<T> {
        let orders = self.lock();
        seen.0 = self.version.load(Ordering::Acquire);
        orders.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Orders<T>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn only_the_last_order_counts_and_it_is_seen_once() {
        let control = Control::new("first");
        let (mut seen, mut cx) = (Seen::default(), Context::from_waker(Waker::noop()));
        assert_eq!(control.poll(&mut seen, &mut cx).map(|orders| orders.setup), Some("first"));
        assert!(control.poll(&mut seen, &mut cx).is_none());
        control.reload("second");
        control.reload("third");
        control.drain(Duration::from_secs(1));
        let orders = control.poll(&mut seen, &mut cx).unwrap();
        assert_eq!((orders.setup, orders.drain), ("third", Some(Duration::from_secs(1))));
        assert!(control.poll(&mut seen, &mut cx).is_none());
    }

    #[test]
    fn a_successor_reads_what_its_predecessor_had_seen() {
        let control = Control::new(1);
        control.reload(2);
        let (mut first, mut second) = (Seen::default(), Seen::default());
        assert_eq!(control.read(&mut first).setup, 2);
        assert_eq!(control.read(&mut second).setup, 2);
        assert_eq!(first, second);
    }
}
