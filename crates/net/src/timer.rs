//! One timer per worker: a timerfd with nanosecond resolution that is armed as seldom as possible.
//!
//! This file owns the descriptor; [`Deadlines`] and [`Wheel`] multiplex many deadlines onto it.

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
/// Moving the deadline later or removing it needs no system call: the timer fires at the earlier time and is armed
/// again. Only a deadline before the armed time does.
#[derive(Debug)]
pub struct Timer {
    fd: AsyncFd<OwnedFd>,
    clocks: ClockPair,
    wanted: Option<Instant>,
    armed: Option<Instant>,
}

/// One moment on both clocks. `Instant` counts `CLOCK_MONOTONIC` too, but does not expose its value.
#[derive(Debug)]
struct ClockPair {
    instant: Instant,
    since_boot: Duration,
}

impl ClockPair {
    fn now() -> Self {
        // Reading in this order can make deadlines late by the time between the readings, never early.
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
    /// Creates a timer without a deadline. Must be called within a tokio runtime with I/O enabled.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed. (Miri does not support timerfd.)
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just opened and has no other owner.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: an `OwnedFd` is open until dropped, and this type never replaces it.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok(Self { fd, clocks: ClockPair::now(), wanted: None, armed: None })
    }

    /// Sets, moves or removes the deadline. The caller must poll afterwards to be woken.
    pub fn set(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.wanted = deadline;
        match (deadline, self.armed) {
            (Some(wanted), Some(armed)) if armed <= wanted => Ok(()),
            (Some(wanted), _) => self.arm(wanted),
            (None, _) => Ok(()),
        }
    }

    /// Becomes ready once the deadline has passed, and removes it. Stays pending without a deadline.
    ///
    /// Errors: when the runtime is shutting down.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // The descriptor is never read: each expiry is an event of its own, and arming resets the count.
            ready!(self.fd.poll_read_ready_mut(cx))?.clear_ready();
            // The event may be of an earlier arming, so the clock decides.
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
        // Zero would disarm; a moment in the past fires at once.
        let at = self.clocks.since_boot(deadline).max(Duration::from_nanos(1));
        let spec = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec {
                tv_sec: libc::time_t::try_from(at.as_secs()).unwrap_or(libc::time_t::MAX),
                tv_nsec: at.subsec_nanos().into(),
            },
        };
        let fd = self.fd.get_ref().as_raw_fd();
        // SAFETY: `spec` lives through the call and the old value is not requested. (Miri does not support timerfd.)
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
    // SAFETY: `time` is a live out-pointer; this clock always exists, and an error leaves `time` unchanged.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests;
