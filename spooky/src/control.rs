//! Shared state by which the control plane controls a worker or the health checker: its configuration and its drain.
//!
//! Only the current state is kept. A worker that replaces a panicked one starts with it, and a busy worker skips
//! configurations that were replaced before it polled.

use atomic_waker::AtomicWaker;
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Context,
    time::Duration,
};

/// Controls one thread. `T` is its configuration.
pub(crate) struct Control<T> {
    /// Incremented by every change, so that polling needs no lock.
    version: AtomicU64,
    state: Mutex<ControlState<T>>,
    waker: AtomicWaker,
    has_ended: AtomicBool,
}

#[derive(Clone)]
pub(crate) struct ControlState<T> {
    pub(crate) setup: T,
    /// Set when the thread must stop: the time limit for work in progress.
    pub(crate) drain: Option<Duration>,
}

/// The version that a thread has read last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeenVersion(u64);

impl<T: Clone> Control<T> {
    pub(crate) fn new(setup: T) -> Self {
        Self {
            version: AtomicU64::new(1),
            state: Mutex::new(ControlState { setup, drain: None }),
            waker: AtomicWaker::new(),
            has_ended: AtomicBool::new(false),
        }
    }

    pub(crate) fn reload(&self, setup: T) {
        self.change(|state| state.setup = setup);
    }

    /// Makes the thread stop after at most `grace`, in which it finishes its work.
    pub(crate) fn drain(&self, grace: Duration) {
        self.change(|state| state.drain = Some(grace));
    }

    /// Wakes the thread without a change.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// As [`Control::reload`] and [`Control::drain`] at once.
    pub(crate) fn drain_with(&self, setup: T, grace: Duration) {
        self.change(|state| *state = ControlState { setup, drain: Some(grace) });
    }

    /// Must be called by the thread before it ends in order.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    fn change(&self, change: impl FnOnce(&mut ControlState<T>)) {
        let mut state = self.lock();
        change(&mut state);
        self.version.fetch_add(1, Ordering::Release);
        drop(state);
        self.waker.wake();
    }

    /// Returns the state if it has changed since `seen`. Registers the task for the next change.
    pub(crate) fn poll(&self, seen: &mut SeenVersion, cx: &mut Context<'_>) -> Option<ControlState<T>> {
        self.waker.register(cx.waker());
        if self.version.load(Ordering::Acquire) == seen.0 {
            return None;
        }
        Some(self.read(seen))
    }

    pub(crate) fn read(&self, seen: &mut SeenVersion) -> ControlState<T> {
        let state = self.lock();
        seen.0 = self.version.load(Ordering::Acquire);
        state.clone()
    }

    fn lock(&self) -> MutexGuard<'_, ControlState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn only_the_current_state_is_returned_and_only_once() {
        let control = Control::new("first");
        let (mut seen, mut cx) = (SeenVersion::default(), Context::from_waker(Waker::noop()));
        assert_eq!(control.poll(&mut seen, &mut cx).map(|state| state.setup), Some("first"));
        assert!(control.poll(&mut seen, &mut cx).is_none());
        control.reload("second");
        control.reload("third");
        control.drain(Duration::from_secs(1));
        let state = control.poll(&mut seen, &mut cx).unwrap();
        assert_eq!((state.setup, state.drain), ("third", Some(Duration::from_secs(1))));
        assert!(control.poll(&mut seen, &mut cx).is_none());
    }

    #[test]
    fn a_successor_reads_what_its_predecessor_had_seen() {
        let control = Control::new(1);
        control.reload(2);
        let (mut first, mut second) = (SeenVersion::default(), SeenVersion::default());
        assert_eq!(control.read(&mut first).setup, 2);
        assert_eq!(control.read(&mut second).setup, 2);
        assert_eq!(first, second);
    }
}
