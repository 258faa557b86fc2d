//! What the watchdog shares: the progress of each worker, and the restart that was requested.

use spooky_config::Watchdog;
use spooky_telemetry::metrics::{Counter, SharedCounter};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::Notify;

/// The turns of a worker, and whether it was asked for one.
#[derive(Debug, Default)]
#[repr(align(128))] // no other worker writes to the same cache lines
pub(crate) struct WorkerProgress {
    turns: Counter,
    is_asked: AtomicBool,
}

impl WorkerProgress {
    /// Counts a turn. Only the worker may call it.
    pub(crate) fn on_turn(&self) {
        self.turns.increment();
    }

    /// Returns whether the watchdog has asked for a turn since the last call. Such a turn is no sign of traffic.
    pub(crate) fn take_question(&self) -> bool {
        self.is_asked.load(Relaxed) && self.is_asked.swap(false, Relaxed)
    }

    /// Marks the next turn as asked for; the caller wakes the worker.
    pub(crate) fn ask(&self) {
        self.is_asked.store(true, Relaxed);
    }

    pub(crate) fn turns(&self) -> u64 {
        self.turns.get()
    }
}

/// A restart that was requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RestartRequest {
    pub(crate) reason: String,
    /// Milliseconds since the Unix epoch.
    pub(crate) at_ms: u64,
}

/// Why a restart was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// `watchdog.enabled` is false.
    Disabled,
    /// A restart is pending, or `restart_cooldown_ms` has not passed since the last one.
    PendingOrCooldown,
}

/// The shared state of the watchdog.
#[derive(Debug)]
pub(crate) struct WatchdogState {
    workers: Box<[Arc<WorkerProgress>]>,
    enabled: AtomicBool,
    degraded: AtomicBool,
    cooldown_ms: AtomicU64,
    /// The start of the process, if the restart command has started it.
    restarted_at: Option<Instant>,
    request: Mutex<Option<RestartRequest>>,
    requested: Notify,
    /// Requests that were accepted.
    pub(crate) restart_requests: SharedCounter,
    /// Restart commands that were run.
    pub(crate) restart_hooks: SharedCounter,
    pub(crate) degraded_windows: SharedCounter,
}

impl WatchdogState {
    /// `restarted_at` is the start of the process if it was started by the restart command of an earlier one.
    pub(crate) fn new(workers: u16, restarted_at: Option<Instant>) -> Self {
        Self {
            workers: (0..workers).map(|_| Arc::default()).collect(),
            enabled: AtomicBool::new(false),
            degraded: AtomicBool::new(false),
            cooldown_ms: AtomicU64::new(0),
            restarted_at,
            request: Mutex::new(None),
            requested: Notify::new(),
            restart_requests: SharedCounter::default(),
            restart_hooks: SharedCounter::default(),
            degraded_windows: SharedCounter::default(),
        }
    }

    pub(crate) fn configure(&self, config: &Watchdog) {
        self.enabled.store(config.enabled, Relaxed);
        self.cooldown_ms.store(u64::try_from(config.restart_cooldown_ms.as_millis()).unwrap_or(u64::MAX), Relaxed);
        if !config.enabled {
            self.degraded.store(false, Relaxed);
        }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Relaxed)
    }

    /// Returns whether the last window was degraded.
    pub(crate) fn is_degraded(&self) -> bool {
        self.degraded.load(Relaxed)
    }

    /// Records a window that has ended.
    pub(super) fn on_window(&self, is_degraded: bool) {
        self.degraded.store(is_degraded, Relaxed);
        if is_degraded {
            self.degraded_windows.increment();
        }
    }

    /// Returns the progress of a worker. A number without a worker gets one that nobody reads.
    pub(crate) fn worker(&self, number: usize) -> Arc<WorkerProgress> {
        self.workers.get(number).cloned().unwrap_or_default()
    }

    pub(super) fn workers(&self) -> &[Arc<WorkerProgress>] {
        &self.workers
    }

    /// Returns the start of the process if a restart command has started it.
    pub(super) fn restarted_at(&self) -> Option<Instant> {
        self.restarted_at
    }

    /// Requests a restart: the main thread drains the process, runs the restart command and exits.
    pub(crate) fn request_restart(&self, reason: &str) -> Result<(), Refused> {
        if !self.is_enabled() {
            return Err(Refused::Disabled);
        }
        let cooldown = Duration::from_millis(self.cooldown_ms.load(Relaxed));
        let mut request = self.lock();
        if request.is_some() || self.restarted_at.is_some_and(|at| at.elapsed() < cooldown) {
            return Err(Refused::PendingOrCooldown);
        }
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_ms = u64::try_from(unix.as_millis()).unwrap_or(u64::MAX);
        *request = Some(RestartRequest { reason: reason.to_owned(), at_ms });
        drop(request);
        self.restart_requests.increment();
        self.requested.notify_one();
        Ok(())
    }

    /// Returns the restart that was requested. The process is not ready from then on.
    pub(crate) fn restart_request(&self) -> Option<RestartRequest> {
        self.lock().clone()
    }

    /// Waits for a restart to be requested.
    pub(crate) async fn requested(&self) -> RestartRequest {
        loop {
            let notified = self.requested.notified();
            if let Some(request) = self.restart_request() {
                return request;
            }
            notified.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<RestartRequest>> {
        self.request.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enabled() -> Watchdog {
        Watchdog { enabled: true, ..Watchdog::default() }
    }

    #[test]
    fn a_restart_is_accepted_once_and_only_while_enabled() {
        let state = WatchdogState::new(1, None);
        assert_eq!(state.request_restart("poll_stall"), Err(Refused::Disabled));
        state.configure(&enabled());
        assert_eq!(state.restart_request(), None);
        assert_eq!(state.request_restart("poll_stall"), Ok(()));
        assert_eq!(state.request_restart("timeout_spike"), Err(Refused::PendingOrCooldown));
        let request = state.restart_request().unwrap();
        assert_eq!(request.reason, "poll_stall");
        assert!(request.at_ms > 1_600_000_000_000, "{request:?}");
        assert_eq!(state.restart_requests.get(), 1);
    }

    #[test]
    fn a_process_that_was_restarted_begins_with_the_cooldown() {
        let now = Instant::now();
        let state = WatchdogState::new(1, Some(now));
        state.configure(&enabled());
        assert_eq!(state.request_restart("poll_stall"), Err(Refused::PendingOrCooldown));
        state.configure(&Watchdog { restart_cooldown_ms: Duration::ZERO, ..enabled() });
        assert_eq!(state.request_restart("poll_stall"), Ok(()));
    }

    #[tokio::test]
    async fn a_request_is_seen_whether_it_comes_before_or_after_the_wait() {
        let state = Arc::new(WatchdogState::new(1, None));
        state.configure(&enabled());
        let waiting = tokio::spawn({
            let state = state.clone();
            async move { state.requested().await }
        });
        tokio::task::yield_now().await;
        state.request_restart("poll_stall").unwrap();
        assert_eq!(waiting.await.unwrap(), state.requested().await);
    }

    #[test]
    fn a_question_is_answered_once() {
        let progress = WorkerProgress::default();
        assert!(!progress.take_question());
        progress.ask();
        assert_eq!([progress.take_question(), progress.take_question()], [true, false]);
        progress.on_turn();
        progress.on_turn();
        assert_eq!(progress.turns(), 2);
    }
}
