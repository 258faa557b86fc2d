//! How long a backend is passed over after failed connection attempts (behaviour 9): 250 ms, doubling to 10 s, 10 % jitter.
//!
//! Pure: time and the source of randomness are arguments. Used by `origin`.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);

/// A small seeded generator (`SplitMix64`); only for jitter.
#[derive(Clone, Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A factor between 0.9 and 1.1.
    fn factor(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        0.9 + 0.2 * ((mixed >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// The pause after failures.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Backoff {
    /// The last attempt succeeded, or there was none.
    #[default]
    None,
    /// Attempts failed.
    Paused {
        /// When the pause ends.
        until: Instant,
        /// The pause without jitter.
        step: Duration,
    },
}

impl Backoff {
    /// Whether the pause lasts at `now`.
    pub(crate) fn is_paused(&self, now: Instant) -> bool {
        matches!(self, Self::Paused { until, .. } if now < *until)
    }

    /// Another attempt failed.
    pub(crate) fn fail(&mut self, now: Instant, jitter: &mut Jitter) {
        let step = match self {
            Self::None => FIRST,
            Self::Paused { step, .. } => (*step * 2).min(LONGEST),
        };
        *self = Self::Paused { until: now + step.mul_f64(jitter.factor()), step };
    }

    /// An attempt or a probe succeeded.
    pub(crate) fn succeed(&mut self) {
        *self = Self::None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_ten_seconds_within_their_jitter() {
        let start = Instant::now();
        let (mut backoff, mut jitter) = (Backoff::default(), Jitter::new(7));
        let mut pauses = Vec::new();
        for expected in [250_u64, 500, 1000, 2000, 4000, 8000, 10_000, 10_000] {
            backoff.fail(start, &mut jitter);
            let Backoff::Paused { until, .. } = backoff else { panic!("not paused") };
            let pause = until - start;
            let nominal = Duration::from_millis(expected);
            assert!(pause >= nominal.mul_f64(0.9) && pause <= nominal.mul_f64(1.1), "{pause:?} for {nominal:?}");
            assert!(backoff.is_paused(start + pause.mul_f64(0.999)) && !backoff.is_paused(start + pause));
            pauses.push(pause.as_secs_f64() / nominal.as_secs_f64());
        }
        assert!(pauses.windows(2).any(|pair| pair[0].total_cmp(&pair[1]).is_ne()), "no jitter");
        backoff.succeed();
        assert!(!backoff.is_paused(start));
    }
}
