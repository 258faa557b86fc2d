//! Flow-control windows (RFC 9113 5.2 and 6.9), the same for streams and for the connection.

/// Every window before any setting or update (RFC 9113 6.9.2).
pub(super) const DEFAULT_WINDOW: u32 = 65_535;
/// The largest window (RFC 9113 6.9.1).
pub(super) const MAX_WINDOW: u32 = 0x7fff_ffff;

/// What may still be sent. Negative after the peer lowered its initial window (RFC 9113 6.9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendWindow(i32);

impl SendWindow {
    /// A window of `size` bytes, at most [`MAX_WINDOW`].
    pub(super) fn new(size: u32) -> Self {
        Self(size.min(MAX_WINDOW).cast_signed())
    }

    /// Bytes that may be sent now.
    pub(super) fn room(self) -> usize {
        self.0.max(0).unsigned_abs() as usize
    }

    /// `n` bytes, no more than [`SendWindow::room`], were sent.
    pub(super) fn take(&mut self, n: usize) {
        self.0 = self.0.saturating_sub(i32::try_from(n).unwrap_or(i32::MAX));
    }

    /// The window moves by `delta`; `None` if it leaves what the RFC allows.
    pub(super) fn shift(&mut self, delta: i64) -> Option<()> {
        let moved = i32::try_from(i64::from(self.0) + delta).ok()?;
        self.0 = moved;
        Some(())
    }
}

/// What the peer may still send, and what was consumed but not yet given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReceiveWindow {
    /// `left`, `due` and what was received but not consumed. Below `target` after [`ReceiveWindow::shift`].
    size: i64,
    /// Negative after a lower initial window took effect (RFC 9113 6.9.2).
    left: i64,
    due: i64,
    /// What `size` is on its way to. It falls as bytes are consumed: a `WINDOW_UPDATE` cannot be taken back.
    target: i64,
}

impl ReceiveWindow {
    /// A window of `size` bytes, all of it open.
    pub(super) fn new(size: u32) -> Self {
        let size = i64::from(size);
        Self { size, left: size, due: 0, target: size }
    }

    /// Bytes that the peer may still send.
    pub(super) fn left(self) -> u32 {
        u32::try_from(self.left.max(0)).unwrap_or(u32::MAX)
    }

    /// The peer sent `n` bytes; `None` if that is more than it was allowed.
    pub(super) fn take(&mut self, n: u32) -> Option<()> {
        let n = i64::from(n);
        if n > self.left && n > 0 {
            return None;
        }
        self.left -= n;
        Some(())
    }

    /// The initial window of the connection's streams has moved by `delta`, and this one with it (RFC 9113 6.9.2).
    pub(super) fn shift(&mut self, delta: i64) {
        self.size += delta;
        self.left += delta;
    }

    /// The window shall have `size` bytes. Returns the increment to announce, as [`ReceiveWindow::give_back`] does.
    pub(super) fn resize(&mut self, size: u32, is_enough: bool) -> Option<u32> {
        self.target = i64::from(size.clamp(1, MAX_WINDOW));
        self.give_back(0, is_enough)
    }

    /// `n` of the bytes sent were consumed. Returns the increment to announce once that is worth a frame: half of the window,
    /// so that the peer hears of it before it has to stop. With `is_enough` the peer will not send more than it may already,
    /// and nothing is announced.
    pub(super) fn give_back(&mut self, n: u32, is_enough: bool) -> Option<u32> {
        // What is due is never more than what was taken, whatever the caller claims.
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
        assert_eq!((window, window.room()), (SendWindow(-80), 0));
        assert_eq!(window.shift(i64::from(MAX_WINDOW)), Some(()));
        assert_eq!(window.shift(81), None);
        assert_eq!(window.shift(80), Some(()));
        assert_eq!(window.room(), MAX_WINDOW as usize);
    }

    #[test]
    fn a_window_grows_at_once_and_shrinks_as_bytes_are_consumed() {
        let mut window = ReceiveWindow::new(100);
        assert_eq!(window.resize(150, false), None, "not worth a frame yet");
        assert_eq!(window.resize(250, false), Some(150));
        assert_eq!(window.left(), 250);
        assert_eq!(window.take(250), Some(()));
        assert_eq!(window.resize(60, false), None);
        assert_eq!(window.give_back(100, false), None, "withheld");
        assert_eq!(window.give_back(90, false), None, "withheld");
        assert_eq!(window.give_back(30, false), Some(30));
        assert_eq!(window.give_back(30, false), Some(30));
        assert_eq!((window.left(), window.size), (60, 60));
        assert_eq!(window.resize(0, false), None);
        assert_eq!(window.take(60), Some(()));
        assert_eq!(window.give_back(60, false), Some(1), "a window never closes for good");
    }

    #[test]
    fn a_lower_initial_window_holds_for_open_streams_until_they_are_resized() {
        let mut window = ReceiveWindow::new(100);
        assert_eq!(window.take(30), Some(()));
        window.shift(-80);
        assert_eq!((window.left, window.left()), (-10, 0));
        assert_eq!((window.take(1), window.take(0)), (None, Some(())), "an empty frame needs no window");
        assert_eq!(window.resize(20, false), None, "its size is 20");
        assert_eq!(window.give_back(30, false), Some(30));
        assert_eq!(window.left(), 20);
        assert_eq!(window.resize(40, false), Some(20));
        window.shift(80);
        assert_eq!(window.left(), 120);
        assert_eq!(window.take(120), Some(()));
        assert_eq!(window.give_back(100, false), Some(20), "80 are withheld");
    }

    #[test]
    fn credit_returns_by_halves_and_never_more_than_was_taken() {
        let mut window = ReceiveWindow::new(100);
        assert_eq!(window.take(101), None);
        assert_eq!(window.take(60), Some(()));
        assert_eq!(window.give_back(49, false), None);
        assert_eq!(window.give_back(1, false), Some(50));
        assert_eq!(window.left(), 90);
        assert_eq!(window.give_back(1000, false), None, "only 10 were taken");
        assert_eq!(window.take(90), Some(()));
        assert_eq!(window.give_back(u32::MAX, false), Some(100));
        assert_eq!(ReceiveWindow::new(0).give_back(5, false), None);
    }
}
