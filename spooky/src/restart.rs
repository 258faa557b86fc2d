//! Restarts the work of a thread after a panic or a failed start, with exponential backoff.

use crate::control::{Control, SeenVersion};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// Pause before the second restart in a row; there is none before the first.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A run longer than this resets the backoff.
const STABLE_RUN: Duration = Duration::from_secs(10);

/// Why a run has ended.
pub(crate) enum RunFailure {
    Error(io::Error),
    /// The panic hook has logged it.
    Panic,
}

/// Calls `run` until it succeeds, or until a drain starts during a pause. Its argument is true for restarts. Calls `report`
/// with each failure and the pause that follows.
pub(crate) fn supervise<T: Clone>(
    control: &Control<T>,
    mut backoff: RestartBackoff,
    mut run: impl FnMut(bool) -> io::Result<()>,
    report: impl Fn(RunFailure, Duration),
) {
    let mut is_restart = false;
    loop {
        let began = Instant::now();
        let end = match catch_unwind(AssertUnwindSafe(|| run(is_restart))) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => RunFailure::Error(error),
            Err(_) => RunFailure::Panic,
        };
        let length = backoff.after(began.elapsed());
        report(end, length);
        if !pause(control, length) {
            return;
        }
        is_restart = true;
    }
}

/// The pauses between restarts: none at first, then doubling while runs stay short.
pub(crate) struct RestartBackoff {
    next: Duration,
    longest: Duration,
}

impl RestartBackoff {
    pub(crate) const fn new() -> Self {
        Self { next: Duration::ZERO, longest: LONGEST_PAUSE }
    }

    /// Returns the pause after a run of this length.
    fn after(&mut self, ran_for: Duration) -> Duration {
        if ran_for > STABLE_RUN {
            self.next = Duration::ZERO;
        }
        let pause = self.next;
        self.next = (pause * 2).clamp(FIRST_PAUSE.min(self.longest), self.longest);
        pause
    }
}

/// Blocks the thread for this long. Returns false, at once, when a drain starts.
fn pause<T: Clone>(control: &Control<T>, length: Duration) -> bool {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut seen = SeenVersion::default();
    let until = Instant::now() + length;
    loop {
        let orders = control.poll(&mut seen, &mut Context::from_waker(&waker));
        if orders.is_some_and(|orders| orders.drain.is_some()) {
            return false;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::park_timeout(left);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The number of running and of expected workers. The process is not ready while one is missing: the kernel still steers
/// that worker's share of the clients to its socket.
#[derive(Debug)]
pub(crate) struct WorkerCount {
    running: AtomicUsize,
    expected: usize,
}

impl WorkerCount {
    pub(crate) fn new(expected: usize) -> Self {
        Self { running: AtomicUsize::new(0), expected }
    }

    /// Counts a worker as running until the guard is dropped.
    pub(crate) fn enter(&self) -> RunningWorker<'_> {
        self.running.fetch_add(1, Ordering::AcqRel);
        RunningWorker(self)
    }

    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::Acquire)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.running.load(Ordering::Acquire) >= self.expected
    }
}

impl std::fmt::Display for WorkerCount {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{} workers running", self.running.load(Ordering::Acquire), self.expected)
    }
}

pub(crate) struct RunningWorker<'a>(&'a WorkerCount);

impl Drop for RunningWorker<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(3);

    #[test]
    fn pauses_double_up_to_the_longest_and_end_after_a_long_run() {
        let mut backoff = RestartBackoff::new();
        let pauses: Vec<_> = (0..10).map(|_| backoff.after(SOON).as_millis()).collect();
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.after(STABLE_RUN), LONGEST_PAUSE);
        assert_eq!(backoff.after(STABLE_RUN + SOON), Duration::ZERO);
        assert_eq!(backoff.after(SOON), FIRST_PAUSE);
    }

    #[test]
    fn a_run_that_cannot_start_is_tried_until_it_can() {
        let backoff = || RestartBackoff { next: Duration::ZERO, longest: SOON };
        let reports = std::cell::RefCell::new(Vec::new());
        let mut restarts = Vec::new();
        let run = |is_restart| {
            restarts.push(is_restart);
            match restarts.len() {
                1 | 2 | 4 => Err(io::Error::other("too many open files")),
                3 => panic!("a fault for this test"),
                _ => Ok(()),
            }
        };
        supervise(&Control::new(()), backoff(), run, |end, pause| {
            reports.borrow_mut().push((matches!(end, RunFailure::Panic), pause));
        });
        assert_eq!(restarts, [false, true, true, true, true]);
        let expected = [(false, Duration::ZERO), (false, SOON), (true, SOON), (false, SOON)];
        assert_eq!(*reports.borrow(), expected);

        let control = Control::new(());
        control.drain(Duration::ZERO);
        let mut runs = 0;
        let fail = |_| {
            runs += 1;
            Err(io::Error::other("too many open files"))
        };
        supervise(&control, RestartBackoff::new(), fail, |_, _| {});
        assert_eq!(runs, 1, "a stop ends the attempts");
    }

    #[test]
    fn a_stop_ends_a_pause() {
        let control = Arc::new(Control::new(()));
        let paused = control.clone();
        let thread = thread::spawn(move || pause(&paused, Duration::from_secs(3600)));
        control.drain(Duration::ZERO);
        assert!(!thread.join().unwrap());
        assert!(pause(&Control::new(()), SOON));
    }

    #[test]
    fn a_worker_counts_while_it_runs() {
        let count = WorkerCount::new(2);
        let first = count.enter();
        assert_eq!((count.to_string().as_str(), count.is_complete()), ("1/2 workers running", false));
        let second = count.enter();
        assert!(count.is_complete());
        drop((first, second));
        assert_eq!(count.to_string(), "0/2 workers running");
    }
}
