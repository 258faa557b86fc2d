//! One timer per worker, exact to the nanosecond where the kernel is: a timerfd that is armed as seldom as possible.
//!
//! Owns the descriptor and when it fires. What is due then is the caller's business; many share it by [`Deadlines`] or a
//! [`Wheel`].

mod deadlines;
mod wheel;

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub use deadlines::{Deadlines, disarm};
pub use wheel::Wheel;

/// A timer for one deadline at a time.
///
/// Moving the deadline later or removing it costs nothing: the timer fires at the earlier time, notices, and is armed
/// again. Only moving it before the armed time is a system call.
#[derive(Debug)]
pub struct Timer {
    fd: AsyncFd<OwnedFd>,
    origin: Origin,
    wanted: Option<Instant>,
    armed: Option<Instant>,
}

/// One moment on both clocks. `Instant` counts `CLOCK_MONOTONIC` too, but does not tell its value.
#[derive(Debug)]
struct Origin {
    instant: Instant,
    since_boot: Duration,
}

impl Origin {
    fn now() -> Self {
        // This order makes deadlines late by the distance of the two readings, never early.
        let instant = Instant::now();
        Self { instant, since_boot: monotonic() }
    }

    fn since_boot(&self, moment: Instant) -> Duration {
        match moment.checked_duration_since(self.instant) {
            Some(later) => self.since_boot.saturating_add(later),
            None => self.since_boot.saturating_sub(self.instant.duration_since(moment)),
        }
    }
}

impl Timer {
    /// A timer without a deadline. Must be called within a tokio runtime with I/O enabled.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed. (Miri has no timerfd.)
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just opened and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: an `OwnedFd` is open until dropped, and nothing here puts another one in its place.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok(Self { fd, origin: Origin::now(), wanted: None, armed: None })
    }

    /// Sets, moves or removes the deadline. Poll afterwards, so that the task is woken.
    pub fn set(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.wanted = deadline;
        match (deadline, self.armed) {
            (Some(wanted), Some(armed)) if armed <= wanted => Ok(()),
            (Some(wanted), _) => self.arm(wanted),
            (None, _) => Ok(()),
        }
    }

    /// Ready once the deadline has passed, which removes it. Pending without a deadline.
    ///
    /// Errors: when the runtime is shutting down.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // Expirations are never read off the descriptor: each is an edge of its own, and arming forgets old ones.
            ready!(self.fd.poll_read_ready_mut(cx))?.clear_ready();
            // Whichever arming this edge is from, what decides is the clock.
            self.armed = None;
            match self.wanted {
                Some(wanted) if wanted <= Instant::now() => {
                    self.wanted = None;
                    return Poll::Ready(Ok(()));
                }
                Some(wanted) => self.arm(wanted)?,
                None => {}
            }
        }
    }

    fn arm(&mut self, deadline: Instant) -> io::Result<()> {
        // Zero would disarm; any moment in the past fires at once.
        let at = self.origin.since_boot(deadline).max(Duration::from_nanos(1));
        let spec = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec {
                tv_sec: libc::time_t::try_from(at.as_secs()).unwrap_or(libc::time_t::MAX),
                tv_nsec: at.subsec_nanos().into(),
            },
        };
        let fd = self.fd.get_ref().as_raw_fd();
        // SAFETY: `spec` lives through the call, the old value is not asked for. (Miri has no timerfd.)
        let result = unsafe { libc::timerfd_settime(fd, libc::TFD_TIMER_ABSTIME, &raw const spec, ptr::null_mut()) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        self.armed = Some(deadline);
        Ok(())
    }
}

fn monotonic() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live out-pointer; this clock always exists, and on failure `time` stays as it is.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests;
