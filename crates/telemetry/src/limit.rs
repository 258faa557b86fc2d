//! Rate limit for log lines that traffic can cause: at most [`LINES_PER_SECOND`] per call site of
//! [`limited!`](crate::limited), with a count of the suppressed lines.
//!
//! All threads share the counts, and access them only if the level of the line is enabled.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Maximum number of lines of a call site per second.
pub const LINES_PER_SECOND: u64 = 10;

/// Bits of the count in `LineLimit::window`; the upper bits hold the second.
const COUNT_BITS: u32 = 24;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// Rate limit of a call site.
#[derive(Debug, Default)]
pub struct LineLimit {
    /// The current second, and the number of its lines.
    window: AtomicU64,
    suppressed: AtomicU64,
}

impl LineLimit {
    /// Creates a limit without lines.
    pub const fn new() -> Self {
        Self { window: AtomicU64::new(0), suppressed: AtomicU64::new(0) }
    }

    /// Returns `None` if the line must be suppressed, else the number of lines suppressed since the previous one.
    pub fn admit(&self, now: Instant) -> Option<Suppressed> {
        static ZERO: OnceLock<Instant> = OnceLock::new();
        self.admit_in(now.saturating_duration_since(*ZERO.get_or_init(|| now)).as_secs())
    }

    fn admit_in(&self, second: u64) -> Option<Suppressed> {
        let take = |window: u64| match (window >> COUNT_BITS == second, window & COUNT_MASK) {
            (true, LINES_PER_SECOND..) => None,
            (true, count) => Some(second << COUNT_BITS | (count + 1)),
            (false, _) => Some(second << COUNT_BITS | 1),
        };
        if self.window.fetch_update(Relaxed, Relaxed, take).is_err() {
            self.suppressed.fetch_add(1, Relaxed);
            return None;
        }
        Some(Suppressed(self.suppressed.swap(0, Relaxed)))
    }
}

/// Number of suppressed lines. Displays as the suffix of a log line, empty if there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suppressed(u64);

impl fmt::Display for Suppressed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(out, " suppressed={}", self.0) }
    }
}

/// Writes a log line unless its call site has reached its limit: `limited!(WARN, now, "...", ..)`.
///
/// Evaluates no argument if the level is disabled.
#[macro_export]
macro_rules! limited {
    ($level:ident, $now:expr, $($text:tt)+) => {{
        static LIMIT: $crate::limit::LineLimit = $crate::limit::LineLimit::new();
        if $crate::tracing::enabled!($crate::tracing::Level::$level)
            && let Some(suppressed) = LIMIT.admit($now)
        {
            $crate::tracing::event!($crate::tracing::Level::$level, "{}{suppressed}", format_args!($($text)+));
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::{filter::LevelFilter, fmt, layer::SubscriberExt};

    #[test]
    fn ten_lines_a_second_and_a_count_of_the_others() {
        let limit = LineLimit::new();
        let written = |second| (0..25).filter_map(|_| limit.admit_in(second)).map(|gap| gap.0).collect::<Vec<_>>();
        assert_eq!(written(0), [0; 10]);
        assert_eq!(written(1), [15, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(written(1), [0_u64; 0]);
        assert_eq!(written(9)[0], 40);
        assert_eq!(Suppressed(0).to_string(), "");
        assert_eq!(Suppressed(7).to_string(), " suppressed=7");
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Counts how often it is written out.
    struct Probe<'a>(&'a Cell<u32>);

    impl std::fmt::Display for Probe<'_> {
        fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.0.set(self.0.get() + 1);
            out.write_str("probe")
        }
    }

    #[test]
    fn a_line_that_is_not_written_is_not_formatted() {
        let (formatted, evaluated, lines, now) = (Cell::new(0), Cell::new(0), Lines::default(), Instant::now());
        let evaluate = || {
            evaluated.set(evaluated.get() + 1);
            Probe(&formatted)
        };
        let writer = lines.clone();
        let layer = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(LevelFilter::WARN).with(layer);
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..5 {
                limited!(DEBUG, now, "off {}", evaluate());
                tracing::debug!("off {}", evaluate());
            }
            assert_eq!((formatted.get(), evaluated.get()), (0, 0), "the level is off");
            for _ in 0..50 {
                limited!(WARN, now, "on {} peer={}", evaluate(), crate::Escaped(b"a b"));
            }
        });
        assert_eq!((formatted.get(), evaluated.get()), (10, 10), "suppressed lines are not formatted");
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches("on probe peer=a\\x20b").count(), 10, "{text}");
        assert!(text.contains("WARN spooky_telemetry::limit::tests: "), "the place is the caller's: {text}");
    }
}
