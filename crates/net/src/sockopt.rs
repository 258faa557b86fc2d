//! Socket options that `socket2` does not cover. Used by `udp` and `steer`.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, socklen_t};

/// Sets an option to `value`, which is passed to the kernel in its memory layout.
///
/// `T` must be the type that the kernel expects for the option. The kernel copies `size_of::<T>()` bytes; it follows
/// pointers inside `value` during the call and keeps none.
pub(crate) fn set<T>(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    // SAFETY: `value` is a live reference, so `size_of::<T>()` bytes are readable during the call, and the kernel only
    // reads them. `fd` is open while it is borrowed. A wrong option number causes an errno. (Miri does not support
    // `setsockopt` for these options; the callers' tests run natively and under valgrind.)
    let result = unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const *value).cast(), size_of::<T>() as socklen_t)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

pub(crate) fn set_int(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    set(fd, level, name, &value)
}

pub(crate) fn get_int(fd: BorrowedFd<'_>, level: c_int, name: c_int) -> io::Result<c_int> {
    let [value] = get_ints(fd, level, name)?;
    Ok(value)
}

/// Returns an option that is an array of integers; those that the kernel does not know are 0.
pub(crate) fn get_ints<const N: usize>(fd: BorrowedFd<'_>, level: c_int, name: c_int) -> io::Result<[c_int; N]> {
    let mut values = [0; N];
    let mut length = size_of::<[c_int; N]>() as socklen_t;
    // SAFETY: both out-pointers are to live locals, and `length` limits what the kernel writes to `values`. Every bit pattern
    // is a valid `c_int`.
    let result = unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut values).cast(), &raw mut length) };
    if result == 0 { Ok(values) } else { Err(io::Error::last_os_error()) }
}
