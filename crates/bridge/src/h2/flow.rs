//! Flow-control windows (RFC 9113 5.2 and 6.9) of streams and of the connection.

/// Initial size of every window (RFC 9113 6.9.2).
pub(super) const DEFAULT_WINDOW: u32 = 65_535;
/// The largest window (RFC 9113 6.9.1).
pub(super) const MAX_WINDOW: u32 = 0x7fff_ffff;

/// Bytes that may be sent. Negative after the peer has lowered its initial window (RFC 9113 6.9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendWindow(i32);

impl SendWindow {
    pub(super) fn new(size: u32) -> Self {
        Self(size.min(MAX_WINDOW).cast_signed())
    }

    pub(super) fn available(self) -> usize {
        self.0.max(0).unsigned_abs() as usize
    }

    /// Takes `n` bytes, at most [`SendWindow::available`], out of the window.
    pub(super) fn take(&mut self, n: usize) {
        self.0 = self.0.saturating_sub(i32::try_from(n).unwrap_or(i32::MAX));
    }

    /// Changes the window by `delta`. Returns `None`, changing nothing, if it would exceed the range that the RFC
    /// allows.
    pub(super) fn shift(&mut self, delta: i64) -> Option<()> {
        let moved = i32::try_from(i64::from(self.0) + delta).ok()?;
        self.0 = moved;
        Some(())
    }
}

/// Bytes that the peer may send, and bytes consumed but not yet announced to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReceiveWindow {
    /// Sum of `left`, `due` and the bytes received but not consumed. Less than `target` after [`ReceiveWindow::shift`].
    size: i64,
    /// Bytes that the peer may send. Negative after a lower initial window took effect (RFC 9113 6.9.2).
    left: i64,
    due: i64,
    /// The size to reach. `size` shrinks only as bytes are consumed, because a `WINDOW_UPDATE` cannot be revoked.
    target: i64,
}

impl ReceiveWindow {
    pub(super) fn new(size: u32) -> Self {
        let size = i64::from(size);
        Self { size, left: size, due: 0, target: size }
    }

    pub(super) fn left(self) -> u32 {
        u32::try_from(self.left.max(0)).unwrap_or(u32::MAX)
    }

    /// Takes `n` received bytes out of the window. Returns `None` if the peer has exceeded it.
    pub(super) fn take(&mut self, n: u32) -> Option<()> {
        let n = i64::from(n);
        if n > self.left && n > 0 {
            return None;
        }
        self.left -= n;
        Some(())
    }

    /// Changes the window by `delta` after a change of the initial window (RFC 9113 6.9.2).
    pub(super) fn shift(&mut self, delta: i64) {
        self.size += delta;
        self.left += delta;
    }

    /// Sets the target size. Returns the increment to announce, like [`ReceiveWindow::release`].
    pub(super) fn resize(&mut self, size: u32, is_enough: bool) -> Option<u32> {
        self.target = i64::from(size.clamp(1, MAX_WINDOW));
        self.release(0, is_enough)
    }

    /// Releases `n` consumed bytes. Returns the increment to announce once it is half of the window, so that the peer
    /// learns of it before it has to stop. `is_enough` says that the peer needs no more credit; nothing is announced
    /// then.
    pub(super) fn release(&mut self, n: u32, is_enough: bool) -> Option<u32> {
        // Never release more than was received, whatever the caller passes.
        self.due = (self.due + i64::from(n)).min(self.size - self.left);
        if self.size < self.target {
            self.due += self.target - self.size;
            self.size = self.target;
        } else {
            let withheld = self.due.min(self.size - self.target);
            self.due -= withheld;
            self.size -= withheld;
        }
        if is_enough || self.due * 2 < self.size || self.due == 0 {
            return None;
        }
        self.left += self.due;
        u32::try_from(std::mem::take(&mut self.due)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_window_may_become_negative_but_not_overflow() {
        let mut window = SendWindow::new(100);
        window.take(80);
        assert_eq!(window.shift(-100), Some(()));
        assert_eq!((window, window.available()), (SendWindow(-80), 0));
        assert_eq!(window.shift(i64::from(MAX_WINDOW)), Some(()));
        assert_eq!(window.shift(81), None);
        assert_eq!(window.shift(80), Some(()));
        assert_eq!(window.available(), MAX_WINDOW as usize);
    }

    #[test]
    fn a_window_grows_at_once_and_shrinks_as_bytes_are_consumed() {
        let mut window = ReceiveWindow::new(100);
        assert_eq!(window.resize(150, false), None, "not worth a frame yet");
        assert_eq!(window.resize(250, false), Some(150));
        assert_eq!(window.left(), 250);
        assert_eq!(window.take(250), Some(()));
        assert_eq!(window.resize(60, false), None);
        assert_eq!(window.release(100, false), None, "withheld");
        assert_eq!(window.release(90, false), None, "withheld");
        assert_eq!(window.release(30, false), Some(30));
        assert_eq!(window.release(30, false), Some(30));
        assert_eq!((window.left(), window.size), (60, 60));
        assert_eq!(window.resize(0, false), None);
        assert_eq!(window.take(60), Some(()));
        assert_eq!(window.release(60, false), Some(1), "a window never closes for good");
    }

    #[test]
    fn a_lower_initial_window_holds_for_open_streams_until_they_are_resized() {
        let mut window = ReceiveWindow::new(100);
        assert_eq!(window.take(30), Some(()));
        window.shift(-80);
        assert_eq!((window.left, window.left()), (-10, 0));
        assert_eq!((window.take(1), window.take(0)), (None, Some(())), "an empty frame needs no window");
        assert_eq!(window.resize(20, false), None, "its size is 20");
        assert_eq!(window.release(30, false), Some(30));
        assert_eq!(window.left(), 20);
        assert_eq!(window.resize(40, false), Some(20));
        window.shift(80);
        assert_eq!(window.left(), 120);
        assert_eq!(window.take(120), Some(()));
        assert_eq!(window.release(100, false), Some(20), "80 are withheld");
    }

    #[test]
    fn credit_returns_by_halves_and_never_more_than_was_taken() {
        let mut window = ReceiveWindow::new(100);
        assert_eq!(window.take(101), None);
        assert_eq!(window.take(60), Some(()));
        assert_eq!(window.release(49, false), None);
        assert_eq!(window.release(1, false), Some(50));
        assert_eq!(window.left(), 90);
        assert_eq!(window.release(1000, false), None, "only 10 were taken");
        assert_eq!(window.take(90), Some(()));
        assert_eq!(window.release(u32::MAX, false), Some(100));
        assert_eq!(ReceiveWindow::new(0).release(5, false), None);
    }
}
