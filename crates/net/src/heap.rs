//! How the heap takes memory from the system and gives it back.
//!
//! The allocator keeps freed memory for a while and gives it back in passing, while it is used. A thread that has nothing more
//! to do uses it no more: what it freed last would stay with the process until the next traffic. Called by the worker, and
//! once at start.

use std::io;

// The allocator's own library, of which only one function is needed here, and its feature `no_thp`: it asks for no huge pages.
use libmimalloc_sys as _;

unsafe extern "C" {
    /// Of mimalloc: frees what other threads have given back to this thread's heap and, with `force`, returns all unused
    /// memory to the system.
    fn mi_collect(force: bool);
}

/// Keeps the kernel from backing the heap with huge pages, where it would do so unasked. Of a huge page, 2 MiB, nothing goes
/// back to the system while a single object is alive in it. To be called before there are threads; child processes inherit it.
///
/// Errors: those of the system; the heap works all the same.
pub fn avoid_huge_pages() -> io::Result<()> {
    Ok(nix::sys::prctl::set_thp_disable(true)?)
}

/// Returns the unused memory of the calling thread's heap to the system. Takes about a millisecond for each 100 MiB.
pub fn give_back() {
    // SAFETY: `mi_collect` has this signature (`mimalloc.h`), may be called at any time by any thread, and works on the
    // heap of the calling thread, which it sets up if need be.
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
        super::give_back();
        std::thread::spawn(super::give_back).join().unwrap();
    }
}
