//! Integer socket options that `socket2` does not cover. Called by `udp` and `steer` only.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, socklen_t};

/// Sets an option whose value is `value`, passed to the kernel as it lies in memory.
///
/// `T` must be the type which the kernel expects for the option; the kernel copies `size_of::<T>()` bytes and keeps no
/// pointer, except those inside `value`, which it follows during the call.
pub(crate) fn set<T>(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    // SAFETY: `value` is a live reference, so `size_of::<T>()` bytes behind it are readable for the call; the kernel
    // only reads them. `fd` is open for as long as it is borrowed. A wrong option number is an errno, not a fault.
    // (Miri has no `setsockopt` for these options; the callers' tests run natively and under valgrind.)
    let result = unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const *value).cast(), size_of::<T>() as socklen_t)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets an integer option.
pub(crate) fn set_int(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    set(fd, level, name, &value)
}

/// Reads an integer option.
pub(crate) fn int(fd: BorrowedFd<'_>, level: c_int, name: c_int) -> io::Result<c_int> {
    let mut value: c_int = 0;
    let mut length = size_of::<c_int>() as socklen_t;
    // SAFETY: both out-pointers are to live locals, and `length` tells the kernel how much it may write to `value`.
    let result = unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length) };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}
