//! The native buckets of a histogram: exponential ones, of which only those that occur take memory.
//!
//! A bucket of schema `s` contains the durations above `2^((n-1) / 2^s)` seconds and up to `2^(n / 2^s)`, where `n` is its
//! index. See <https://prometheus.io/docs/specs/native_histograms/>.

use super::counter::Counter;
use std::{array, collections::BTreeMap, f64::consts::SQRT_2, sync::OnceLock, time::Duration};

/// The schema in which workers count: eight buckets for each power of two, each 9 % wider than the one before.
const SCHEMA: i32 = 3;
/// Buckets for each power of two.
const STEPS: usize = 1 << SCHEMA;
/// Durations up to 2 to this power, in seconds, count as zero: 0.95 µs.
const ZERO_EXPONENT: i32 = -20;
/// The index of the first bucket above zero.
const FIRST_INDEX: i32 = (ZERO_EXPONENT << SCHEMA) + 1;
/// Powers of two above zero: durations of more than three days count in the last bucket.
const OCTAVES: usize = 38;
/// Maximum number of buckets with durations that are exported. If more have some, neighbours are joined.
const MAX_BUCKETS: usize = 160;

/// The largest duration that counts as zero, in seconds.
pub(super) const ZERO_THRESHOLD: f64 = 1.0 / (1_u64 << -ZERO_EXPONENT) as f64;

/// Lower bounds of the buckets between 1 and 2: 2 to the power of 0/8, 1/8, and so on.
const STEP_BOUNDS: [f64; STEPS] = [
    1.0,
    1.090_507_732_665_257_7,
    1.189_207_115_002_721,
    1.296_839_554_651_009_6,
    SQRT_2,
    1.542_210_825_407_940_7,
    1.681_792_830_507_428_8,
    1.834_008_086_409_342_2,
];

/// The buckets for durations between two powers of two: one cache line.
type Octave = [Counter; STEPS];

/// Counts with a single writer. Memory is allocated when a duration of another magnitude than before occurs.
#[derive(Debug)]
pub(super) struct NativeCounts {
    zero: Counter,
    octaves: [OnceLock<Box<Octave>>; OCTAVES],
}

impl Default for NativeCounts {
    fn default() -> Self {
        Self { zero: Counter::default(), octaves: array::from_fn(|_| OnceLock::new()) }
    }
}

impl NativeCounts {
    /// Counts one duration.
    #[inline]
    pub(super) fn observe(&self, duration: Duration) {
        let Some(at) = offset(duration.as_secs_f64()) else { return self.zero.increment() };
        if let Some(octave) = self.octaves.get(at / STEPS)
            && let Some(bucket) = octave.get_or_init(Box::default).get(at % STEPS)
        {
            bucket.increment();
        }
    }
}

/// Returns the place of a number of seconds among the buckets above zero, or `None` for zero.
#[inline]
fn offset(seconds: f64) -> Option<usize> {
    const FRACTION_BITS: u32 = 52;
    const FRACTION: u64 = (1 << FRACTION_BITS) - 1;
    if seconds <= ZERO_THRESHOLD {
        return None;
    }
    let bits = seconds.to_bits();
    // The number is `fraction * 2^exponent`, with a fraction between 1 and 2.
    let exponent = (bits >> FRACTION_BITS) as i32 - 1023;
    let fraction = f64::from_bits(bits & FRACTION | 1.0_f64.to_bits());
    let step = STEP_BOUNDS.iter().filter(|bound| fraction > **bound).count();
    let octave = usize::try_from(exponent - ZERO_EXPONENT).unwrap_or_default();
    // A power of two, which has step 0, is the last of the octave below.
    Some((octave * STEPS + step).saturating_sub(1).min(OCTAVES * STEPS - 1))
}

/// The sum of the native buckets of several histograms at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NativeSum {
    zero: u64,
    /// By index in [`SCHEMA`].
    buckets: BTreeMap<i32, u64>,
}

/// Native buckets as Prometheus reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NativeBuckets {
    pub(super) schema: i32,
    pub(super) zero: u64,
    /// For each run of neighbouring buckets: the distance of its first index from the end of the run before, and its length.
    pub(super) spans: Vec<(i32, u32)>,
    /// For each bucket of the runs: its count less that of the bucket before.
    pub(super) deltas: Vec<i64>,
}

impl NativeSum {
    pub(super) fn add(&mut self, counts: &NativeCounts) {
        self.zero += counts.zero.get();
        for (first, octave) in (FIRST_INDEX..).step_by(STEPS).zip(&counts.octaves) {
            for (index, bucket) in (first..).zip(octave.get().into_iter().flat_map(|octave| octave.iter())) {
                if bucket.get() > 0 {
                    *self.buckets.entry(index).or_default() += bucket.get();
                }
            }
        }
    }

    /// Returns the number of durations.
    pub(super) fn count(&self) -> u64 {
        self.zero + self.buckets.values().sum::<u64>()
    }

    /// Returns the buckets in the largest schema with at most [`MAX_BUCKETS`].
    pub(super) fn buckets(&self) -> NativeBuckets {
        let (mut schema, mut buckets) = (SCHEMA, self.buckets.clone());
        while buckets.len() > MAX_BUCKETS && schema > 0 {
            let mut wider = BTreeMap::new();
            for (index, count) in &buckets {
                *wider.entry((index + 1) >> 1).or_default() += count;
            }
            (schema, buckets) = (schema - 1, wider);
        }
        let mut result = NativeBuckets { schema, zero: self.zero, ..NativeBuckets::default() };
        let (mut next, mut before) = (0, 0);
        for (index, count) in buckets {
            match result.spans.last_mut() {
                Some((_, length)) if index == next => *length += 1,
                _ => result.spans.push((index - next, 1)),
            }
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            result.deltas.push(count - before);
            (next, before) = (index + 1, count);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the index of the bucket that a duration is counted in.
    fn index(duration: Duration) -> i32 {
        let (counts, mut sum) = (NativeCounts::default(), NativeSum::default());
        counts.observe(duration);
        sum.add(&counts);
        *sum.buckets.keys().next().expect("a bucket above zero")
    }

    fn upper_bound(index: i32, schema: i32) -> f64 {
        2_f64.powf(f64::from(index) / f64::from(1 << schema))
    }

    #[test]
    fn a_duration_is_in_the_bucket_whose_bounds_contain_it() {
        let micros = (0..200).map(|step| 1.2_f64.powi(step)).take_while(|micros| *micros < 2e11);
        for duration in micros.map(|micros| Duration::from_secs_f64(micros / 1e6)) {
            let (found, seconds) = (index(duration), duration.as_secs_f64());
            assert!(upper_bound(found - 1, SCHEMA) < seconds && seconds <= upper_bound(found, SCHEMA), "{duration:?}");
        }
        // A bound belongs to the bucket below it.
        assert_eq!((index(Duration::from_secs(1)), index(Duration::from_nanos(1_000_000_001))), (0, 1));
        assert_eq!((index(Duration::from_secs(4)), index(Duration::from_millis(250))), (16, -16));
        let days = Duration::from_secs(1 << 18);
        assert_eq!([index(days), index(Duration::MAX)], [18 * 8, 18 * 8], "the last bucket");
    }

    #[test]
    fn durations_below_a_microsecond_count_as_zero() {
        let (counts, mut sum) = (NativeCounts::default(), NativeSum::default());
        for nanos in [0, 1, 953] {
            counts.observe(Duration::from_nanos(nanos));
        }
        sum.add(&counts);
        assert_eq!((sum.zero, sum.count(), sum.buckets().deltas), (3, 3, Vec::new()));
        assert_eq!(index(Duration::from_nanos(954)), FIRST_INDEX);
    }

    #[test]
    fn runs_of_buckets_become_spans_and_counts_become_differences() {
        let sum = NativeSum { zero: 2, buckets: [(-3, 5), (-2, 1), (4, 7)].into() };
        let buckets = sum.buckets();
        assert_eq!((buckets.schema, buckets.zero), (SCHEMA, 2));
        assert_eq!(buckets.spans, [(-3, 2), (5, 1)]);
        assert_eq!(buckets.deltas, [5, -4, 6]);
    }

    #[test]
    fn too_many_buckets_are_joined_with_their_neighbours() {
        let sum = NativeSum { zero: 0, buckets: (1..).take(MAX_BUCKETS + 1).map(|index| (index, 1)).collect() };
        let buckets = sum.buckets();
        assert_eq!((buckets.schema, buckets.spans.as_slice()), (SCHEMA - 1, [(1, 81)].as_slice()));
        assert_eq!(buckets.deltas.first(), Some(&2));
        let difference = upper_bound(1, SCHEMA - 1) - upper_bound(2, SCHEMA);
        assert!(difference.abs() < 1e-12, "the first has what was in two");
        let last: i64 = buckets.deltas.iter().sum();
        assert_eq!(last, 1, "the last has what was in one");
    }
}
