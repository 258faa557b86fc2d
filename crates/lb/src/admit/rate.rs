//! The token bucket for new connections: one atomic word for the process (docs/reference/behaviour.md#client-connections).
//!
//! The word is the time at which the bucket is full again (the "theoretical arrival time" of GCRA), so that refilling needs
//! no timer and taking a token is one compare-exchange.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::time::Nanos;

/// `new_connections_per_sec` and `new_connections_burst`.
#[derive(Clone, Copy, Debug)]
pub struct RateOptions {
    /// Tokens per second.
    pub per_second: u32,
    /// Capacity of the bucket.
    pub burst: u32,
}

impl Default for RateOptions {
    fn default() -> Self {
        Self { per_second: 2000, burst: 500 }
    }
}

/// A token bucket, full at first.
#[derive(Debug, Default)]
pub struct Bucket {
    full_at: AtomicU64,
}

impl Bucket {
    /// Takes one token. Returns false if there is none.
    pub fn take(&self, now: Nanos, options: &RateOptions) -> bool {
        let per_token = 1_000_000_000 / u64::from(options.per_second.max(1));
        let capacity = per_token.saturating_mul(u64::from(options.burst.max(1)));
        let taken = self.full_at.fetch_update(Relaxed, Relaxed, |full_at| {
            let next = full_at.max(now.get()).saturating_add(per_token);
            (next - now.get() <= capacity).then_some(next)
        });
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let (bucket, options) = (Bucket::default(), RateOptions { per_second: 100, burst: 5 });
        let at = Nanos::from_millis;
        let taken = |now| (0..20).filter(|_| bucket.take(now, &options)).count();
        assert_eq!(taken(at(1000)), 5);
        assert_eq!(taken(at(1009)), 0);
        assert_eq!(taken(at(1010)), 1);
        assert_eq!(taken(at(1040)), 3);
        assert_eq!(taken(at(9000)), 5, "no more than the burst gathers");
    }

    #[test]
    fn over_a_long_time_the_rate_holds() {
        let (bucket, options) = (Bucket::default(), RateOptions::default());
        let taken = (0..100_000).filter(|&n| bucket.take(Nanos::new(1 + n * 100_000), &options)).count();
        assert!((20_499..=20_501).contains(&taken), "{taken} in 10 s at 2000/s and a burst of 500");
    }
}
