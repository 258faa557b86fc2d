//! The latencies of routes in the last minute, from samples of their durations at a fixed interval.
//!
//! `sampler` takes the samples; the metrics read them. No worker takes part.

use spooky_telemetry::metrics::Distribution;
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Time between two samples.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// How far recent latencies of routes go back.
const LATENCY_TIME: Duration = Duration::from_secs(60);
/// How long samples are kept.
const KEPT_TIME: Duration = Duration::from_secs(120);
/// The name of the requests without a route.
pub(crate) const UNROUTED: &str = "unrouted";

/// The samples, oldest first.
#[derive(Default)]
pub(crate) struct Recent(Mutex<VecDeque<Sample>>);

/// The durations at one moment.
struct Sample {
    at: Instant,
    /// By route.
    routes: Vec<(String, Distribution)>,
}

impl Recent {
    /// Takes a sample.
    pub(crate) fn add(&self, at: Instant, routes: Vec<(String, Distribution)>) {
        let mut samples = self.samples();
        samples.retain(|sample| at.saturating_duration_since(sample.at) <= KEPT_TIME);
        samples.push_back(Sample { at, routes });
    }

    /// Returns the durations of a route in the last [`LATENCY_TIME`]. `current` has all of them.
    pub(crate) fn durations(&self, route: &str, current: &Distribution, now: Instant) -> Distribution {
        let samples = self.samples();
        let is_old = |sample: &&Sample| now.saturating_duration_since(sample.at) >= LATENCY_TIME;
        let before = samples.iter().rev().find(is_old).and_then(|sample| {
            let (_, durations) = sample.routes.iter().find(|(name, _)| name == route)?;
            Some(durations.clone())
        });
        // A route that is not in the sample has been added since.
        current.since(&before.unwrap_or_default())
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the value of `SPOOKY_ROUTE_LATENCY_SAMPLE_EVERY`: 1 unless it is a number above 0.
pub(crate) fn sample_every(value: Option<&str>) -> u64 {
    value.and_then(|value| value.trim().parse().ok()).filter(|every| *every > 0).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use spooky_telemetry::metrics::Histogram;

    fn distribution(histogram: &Histogram) -> Distribution {
        let mut sum = Distribution::default();
        sum.add(histogram);
        sum
    }

    #[test]
    fn latencies_are_those_of_the_last_minute() {
        let (recent, start, histogram) = (Recent::default(), Instant::now(), Histogram::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        // One slow request at the start, then a fast one every five seconds.
        histogram.observe(Duration::from_secs(9));
        for tick in 0..=20 {
            recent.add(at(5 * tick), vec![("api".to_owned(), distribution(&histogram))]);
            histogram.observe(Duration::from_millis(4));
        }
        let durations = |now| recent.durations("api", &distribution(&histogram), at(now));
        assert_eq!(durations(100).count(), 13, "from the sample at 40 s on");
        assert!(durations(100).quantile(1.0) <= Some(Duration::from_millis(5)), "the slow one is too old");
        assert_eq!(durations(59).count(), 22, "there is no sample that is old enough");
        assert_eq!(durations(3600).count(), 1, "no sample was taken for an hour");
        assert_eq!(recent.durations("web", &distribution(&histogram), at(100)).count(), 22, "a new route");
    }

    #[test]
    fn samples_that_nothing_needs_any_more_are_dropped() {
        let (recent, start) = (Recent::default(), Instant::now());
        for tick in 0..=200 {
            recent.add(start + INTERVAL * tick, Vec::new());
        }
        assert_eq!(recent.samples().len(), 25, "two minutes");
    }

    #[test]
    fn the_variable_is_a_positive_number() {
        let values = [None, Some("10"), Some(" 7 "), Some("0"), Some("-1"), Some("x"), Some("")];
        assert_eq!(values.map(sample_every), [1, 10, 7, 1, 1, 1, 1]);
    }
}
