//! Histograms of durations with the buckets of docs/reference/metrics.md.

use super::{
    counter::Counter,
    native::{NativeCounts, NativeSum},
};
use std::{sync::OnceLock, time::Duration};

/// Upper bounds of the buckets in microseconds; one more bucket is unbounded.
const BOUNDS_MICROS: [u64; 15] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];

/// Upper bounds as written in the `le` label, in seconds.
pub const BOUNDS: [&str; 15] = [
    "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "30.0",
    "60.0",
];

const BUCKETS: usize = BOUNDS_MICROS.len() + 1;

/// A histogram with a single writer, with classic and with native buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    nanos: Counter,
    /// Allocated with the first duration: many histograms never have one.
    native: OnceLock<Box<NativeCounts>>,
}

impl Histogram {
    /// Counts one duration.
    #[inline]
    pub fn observe(&self, duration: Duration) {
        let micros = duration.as_nanos().div_ceil(1_000);
        let bucket = BOUNDS_MICROS.iter().position(|bound| micros <= u128::from(*bound)).unwrap_or(BUCKETS - 1);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.increment();
        }
        self.nanos.add_time(duration);
        self.native.get_or_init(Box::default).observe(duration);
    }
}

/// The sum of histograms at one moment, with their native buckets.
#[derive(Clone, Debug, Default)]
pub(super) struct HistogramSum {
    pub(super) classic: Distribution,
    pub(super) native: NativeSum,
}

impl<'a> FromIterator<&'a Histogram> for HistogramSum {
    fn from_iter<I: IntoIterator<Item = &'a Histogram>>(histograms: I) -> Self {
        let mut sum = Self::default();
        for histogram in histograms {
            sum.classic.add(histogram);
            if let Some(native) = histogram.native.get() {
                sum.native.add(native);
            }
        }
        sum
    }
}

/// The classic buckets of a sum of histograms at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// The number of durations in each bucket, not cumulated.
    buckets: [u64; BUCKETS],
    nanos: u64,
}

impl Distribution {
    /// Adds a histogram.
    pub fn add(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += bucket.get();
        }
        self.nanos = self.nanos.wrapping_add(histogram.nanos.get());
    }

    /// Adds another distribution.
    pub fn merge(&mut self, other: &Self) {
        for (sum, bucket) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += bucket;
        }
        self.nanos = self.nanos.wrapping_add(other.nanos);
    }

    /// Returns what was counted since `earlier`, which is the same distribution before.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut difference = self.clone();
        for (bucket, before) in difference.buckets.iter_mut().zip(earlier.buckets) {
            *bucket = bucket.saturating_sub(before);
        }
        difference.nanos = self.nanos.wrapping_sub(earlier.nanos);
        difference
    }

    /// Returns the number of durations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Returns the sum of the durations.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// Returns the label of each bound with the number of durations up to it. The last one, `+Inf`, has all.
    pub fn cumulated(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let labels = BOUNDS.into_iter().chain(["+Inf"]);
        labels.zip(self.buckets).scan(0, |sum, (label, count)| {
            *sum += count;
            Some((label, *sum))
        })
    }

    /// Estimates a quantile between 0 and 1, linearly within its bucket. Returns `None` if nothing was counted.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = quantile.clamp(0.0, 1.0) * count as f64;
        let mut below = 0;
        let mut lower = 0;
        for (bound, bucket) in BOUNDS_MICROS.into_iter().zip(self.buckets) {
            if bucket > 0 && (below + bucket) as f64 >= rank {
                let part = ((rank - below as f64) / bucket as f64).clamp(0.0, 1.0);
                return Some(Duration::from_micros(lower) + Duration::from_micros(bound - lower).mul_f64(part));
            }
            below += bucket;
            lower = bound;
        }
        Some(Duration::from_micros(lower))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(millis: &[f64]) -> Distribution {
        let histogram = Histogram::default();
        for millis in millis {
            histogram.observe(Duration::from_secs_f64(millis / 1e3));
        }
        let mut distribution = Distribution::default();
        distribution.add(&histogram);
        distribution
    }

    #[test]
    fn the_labels_are_the_bounds() {
        let micros = BOUNDS.map(|label| (label.parse::<f64>().unwrap() * 1e6).round().to_string());
        assert_eq!(micros, BOUNDS_MICROS.map(|micros| micros.to_string()));
    }

    #[test]
    fn a_duration_counts_in_every_bucket_up_to_whose_bound_it_is() {
        let sum = distribution(&[0.0, 1.0, 1.001, 60_000.0, 60_001.0]);
        let cumulated: Vec<_> = sum.cumulated().collect();
        assert_eq!(cumulated[0], ("0.001", 2), "a bound is part of its bucket");
        assert_eq!(cumulated[1], ("0.0025", 3));
        assert_eq!(cumulated[14], ("60.0", 4));
        assert_eq!(cumulated[15], ("+Inf", 5));
        assert_eq!((sum.count(), sum.sum()), (5, Duration::from_micros(120_003_001)));
    }

    #[test]
    fn quantiles_are_interpolated_and_differences_counted_alone() {
        assert_eq!(Distribution::default().quantile(0.5), None);
        let before = distribution(&[20_000.0; 50]);
        let mut after = distribution(&[3.0; 100]);
        after.merge(&before);
        let recent = after.since(&before);
        assert_eq!(recent.count(), 100);
        assert_eq!(recent.quantile(0.5), Some(Duration::from_micros(3_750)));
        assert_eq!(recent.quantile(1.0), Some(Duration::from_millis(5)));
        assert_eq!(distribution(&[90_000.0]).quantile(0.99), Some(Duration::from_secs(60)), "the last bound");
    }
}
