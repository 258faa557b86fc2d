//! Return of heap memory to the system.
//!
//! The allocator returns freed memory only while it is used. An idle thread does not use it, so the memory that it
//! freed last would stay with the process until the next traffic. Called by the worker, and once at start.

use std::io;

// The allocator's library, of which only one function is used here, and its feature `no_thp`: it requests no huge
// pages.
use libmimalloc_sys as _;

unsafe extern "C" {
    /// Of mimalloc: collects memory that other threads freed in this thread's heap and, with `force`, returns all
    /// unused memory to the system.
    fn mi_collect(force: bool);
}

/// Stops the kernel from backing the heap with huge pages on its own. A huge page, 2 MiB, is not returned to the system
/// while one object in it is alive. Must be called before the first thread starts; child processes inherit it.
///
/// Errors: those of the system; the heap still works.
pub fn avoid_huge_pages() -> io::Result<()> {
    Ok(nix::sys::prctl::set_thp_disable(true)?)
}

/// Returns unused memory of the calling thread's heap to the system. Takes about a millisecond for each 100 MiB.
pub fn release_unused() {
    // SAFETY: `mi_collect` has this signature (`mimalloc.h`), may be called at any time by any thread, and works on the
    // heap of the calling thread, which it initialises if needed.
    unsafe { mi_collect(true) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn huge_pages_can_be_avoided() {
        super::avoid_huge_pages().unwrap();
        assert!(nix::sys::prctl::get_thp_disable().unwrap());
    }

    #[test]
    fn it_may_be_called_at_any_time() {
        super::release_unused();
        std::thread::spawn(super::release_unused).join().unwrap();
    }
}
