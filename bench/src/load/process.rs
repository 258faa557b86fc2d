//! Reads the CPU time of another process, including all its threads, from `/proc`.

use std::{fs, io, path::PathBuf, time::Duration};

/// Index of `utime` among the fields after the command name; `stime` follows (fields 14 and 15 of `proc_pid_stat(5)`).
const UTIME: usize = 11;

/// CPU clock of a process.
#[derive(Debug)]
pub(super) struct CpuClock {
    stat: PathBuf,
    ticks_per_second: u64,
}

impl CpuClock {
    /// Returns an error if the process does not exist.
    pub(super) fn of(pid: u32) -> io::Result<Self> {
        let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
        let clock = Self { stat: PathBuf::from(format!("/proc/{pid}/stat")), ticks_per_second };
        clock.read().map(|_| clock)
    }

    /// Returns user and system time since the start of the process, including threads that ended.
    pub(super) fn read(&self) -> io::Result<Duration> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.stat.display()));
        let text = fs::read_to_string(&self.stat).map_err(named)?;
        let ticks = ticks(&text).ok_or_else(|| named(io::ErrorKind::InvalidData.into()))?;
        Ok(Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / self.ticks_per_second)))
    }

    /// Returns the resolution of the clock.
    pub(super) fn tick(&self) -> Duration {
        Duration::from_nanos(1_000_000_000 / self.ticks_per_second)
    }
}

/// Returns the sum of user and system time. The command name is in parentheses and may contain any character, so the
/// fields start after the last `)`.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(UTIME).map(|field| field.parse::<u64>().ok());
    Some(times.next()?? + times.next()??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_kernel() {
        let line = "42 (a ) b) S 1 42 42 0 -1 4194560 9 0 0 0 17 5 3 2 20 0 1 0 100 1 1";
        assert_eq!(ticks(line), Some(22));
        assert_eq!(ticks("42 (a) S 1"), None);
    }

    #[test]
    fn a_clock_that_exists() {
        let clock = CpuClock::of(std::process::id()).unwrap();
        let before = clock.read().unwrap();
        assert!(clock.read().unwrap() >= before);
        assert!(clock.tick() > Duration::ZERO);
        assert!(CpuClock::of(u32::MAX).is_err());
    }
}
