//! Giving memory back to the system.
//!
//! The allocator keeps freed memory for a while and gives it back in passing, while it is used. A thread that has nothing more
//! to do uses it no more: what it freed last would stay with the process until the next traffic. Called by the worker.

// The allocator's own library, of which only this function is needed here.
use libmimalloc_sys as _;

unsafe extern "C" {
    /// Of mimalloc: frees what other threads have given back to this thread's heap and, with `force`, returns all unused
    /// memory to the system.
    fn mi_collect(force: bool);
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
    fn it_may_be_called_at_any_time() {
        super::give_back();
        std::thread::spawn(super::give_back).join().unwrap();
    }
}
