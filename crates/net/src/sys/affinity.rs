//! The CPU cores that the process may use, and pinning of threads to them.

use std::io;
use std::mem::{size_of, zeroed};

/// Returns the cores that the calling thread may run on, in ascending order. Empty if the system call fails.
pub fn allowed_cores() -> Vec<usize> {
    // SAFETY: all-zero is a valid, empty set.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    // SAFETY: the kernel writes at most the given size to `set`. (Miri does not support this call with other sizes.)
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) } != 0 {
        return Vec::new();
    }
    let numbers = 0..libc::CPU_SETSIZE as usize;
    // SAFETY: every number is below the number of bits in a set.
    numbers.filter(|core| unsafe { libc::CPU_ISSET(*core, &set) }).collect()
}

/// Pins the calling thread to `core`.
///
/// Errors: when the thread may not run there.
pub fn pin(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: all-zero is a valid, empty set.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    // SAFETY: `core` is below the number of bits in a set.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: the kernel reads the given size from `set`; 0 is the calling thread.
    match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns how many threads can run at once: the number of allowed cores, or less if the control group has a quota; at
/// least 1.
pub fn available_parallelism() -> usize {
    // The standard library checks both.
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_can_be_pinned_to_each_allowed_core() {
        let cores = allowed_cores();
        assert!(!cores.is_empty() && cores.is_sorted());
        assert!((1..=cores.len()).contains(&available_parallelism()));
        for core in cores {
            let pinned = std::thread::spawn(move || pin(core).map(|()| allowed_cores())).join().unwrap();
            assert_eq!(pinned.unwrap(), [core]);
        }
    }

    #[test]
    fn a_core_that_does_not_exist_is_refused() {
        for core in [libc::CPU_SETSIZE as usize - 1, libc::CPU_SETSIZE as usize, usize::MAX] {
            if !allowed_cores().contains(&core) {
                assert!(pin(core).is_err());
            }
        }
    }
}
