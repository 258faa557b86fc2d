//! Tells the service manager (systemd `Type=notify`) what the process does. Without `NOTIFY_SOCKET` all of this does nothing.

use crate::{control::Control, state::State, watchdog::WorkerProgress, worker::WorkerSetup};
use sd_notify::NotifyState;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::Thread,
    time::{Duration, Instant},
};

type WorkerControl = Control<Arc<WorkerSetup>>;

/// Clients are served.
pub(super) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload or an upgrade has begun. [`ready`] must follow.
pub(super) fn reloading(status: &str) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now, NotifyState::Status(status)]),
        Err(error) => tracing::warn!("The service manager is not told of the reload: {error}"),
    }
}

/// The process stops.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("Draining connections")]);
}

/// Another process is the main process of the service from now on.
pub(super) fn main_process(id: u32) {
    notify(&[NotifyState::MainPid(id), NotifyState::Status("The new process has taken over")]);
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("The service manager cannot be notified: {error}");
    }
}

/// Tells the service manager at half of `WATCHDOG_USEC` that the process is alive, as long as all workers make progress.
/// Ends when it is dropped.
pub(super) struct ServiceWatchdog {
    thread: Thread,
    is_stopped: Arc<AtomicBool>,
}

impl ServiceWatchdog {
    /// Starts the thread if the service manager asks for it.
    pub(super) fn start(state: &State, workers: &[Arc<WorkerControl>]) -> Option<Self> {
        let interval = sd_notify::watchdog_enabled()? / 2;
        let progress = |(number, control): (usize, &Arc<WorkerControl>)| Pulse {
            control: control.clone(),
            progress: state.watchdog.worker(number),
            turns: 0,
        };
        let mut pulses: Vec<_> = workers.iter().enumerate().map(progress).collect();
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stop = is_stopped.clone();
        let thread = std::thread::Builder::new().name("notify".to_owned());
        let thread = thread.spawn(move || {
            while sleep(interval, &stop) {
                ping(&mut pulses);
            }
        });
        match thread {
            Ok(thread) => Some(Self { thread: thread.thread().clone(), is_stopped }),
            Err(error) => {
                tracing::error!("Failed to start the thread that notifies the service manager: {error}");
                None
            }
        }
    }
}

impl Drop for ServiceWatchdog {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Returns false, at once, when the thread must end.
fn sleep(time: Duration, stop: &AtomicBool) -> bool {
    let until = Instant::now() + time;
    loop {
        if stop.load(Ordering::Acquire) {
            return false;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::park_timeout(left);
    }
}

/// What is known of a worker's progress.
struct Pulse {
    control: Arc<WorkerControl>,
    progress: Arc<WorkerProgress>,
    /// Its turns at the last ping.
    turns: u64,
}

impl Pulse {
    /// Returns whether the worker has made a turn since the last call, or has ended. Wakes it for the next one.
    fn take(&mut self) -> bool {
        let turns = self.progress.turns();
        let has_moved = turns != std::mem::replace(&mut self.turns, turns);
        self.progress.ask();
        self.control.wake();
        has_moved || self.control.has_ended()
    }
}

fn ping(pulses: &mut [Pulse]) {
    let moved: Vec<bool> = pulses.iter_mut().map(Pulse::take).collect();
    match moved.iter().position(|has_moved| !has_moved) {
        None => notify(&[NotifyState::Watchdog]),
        Some(number) => tracing::error!("worker-{number} makes no progress; the service manager is not pinged"),
    }
}
