//! The CPU time of the worker threads, which the kernel counts.

use crate::proc_stat::{Stat, ticks_per_second};
use std::{fs, path::PathBuf, sync::OnceLock};

/// Finds the threads of the workers in `/proc`.
pub(crate) struct WorkerCpu(Box<[OnceLock<PathBuf>]>);

impl WorkerCpu {
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| OnceLock::new()).collect())
    }

    /// Registers the current thread as that of a worker.
    pub(crate) fn register(&self, worker: usize) {
        // A link to `<process>/task/<thread>`.
        if let (Some(slot), Ok(thread)) = (self.0.get(worker), fs::read_link("/proc/thread-self")) {
            let _known = slot.set(PathBuf::from("/proc").join(thread).join("stat"));
        }
    }

    /// Returns the CPU time of a worker in seconds; `None` if its thread is not running.
    pub(crate) fn seconds(&self, worker: usize) -> Option<f64> {
        let stat = fs::read_to_string(self.0.get(worker)?.get()?).ok()?;
        Some(Stat::parse(&stat)?.cpu_ticks as f64 / ticks_per_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_thread_has_a_time_of_its_own() {
        let cpu = WorkerCpu::new(2);
        assert_eq!(cpu.seconds(0), None);
        cpu.register(0);
        let before = cpu.seconds(0).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                cpu.register(1);
                while cpu.seconds(1).unwrap() < 0.05 {
                    std::hint::black_box((0..10_000).sum::<u64>());
                }
            });
        });
        assert!(cpu.seconds(0).unwrap() - before < 0.05, "the other thread's time does not count");
        // The kernel removes the entry shortly after the thread was joined.
        let until = Instant::now() + Duration::from_secs(20);
        while cpu.seconds(1).is_some() {
            assert!(Instant::now() < until, "it has ended");
            std::thread::yield_now();
        }
        assert_eq!(cpu.seconds(2), None);
    }
}
