//! Counts of results. Each stream has its own, which are merged at the end.

use std::{collections::BTreeMap, time::Duration};

/// Consecutive failures after which a stream stops, because its connection is lost.
const MAX_FAILURES: u32 = 3;

/// How a request ended.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// A complete response.
    Answered { status: u16, took: Duration, received: u64 },
    /// No complete response, with the reason.
    Failed(String),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) statuses: BTreeMap<u16, u64>,
    pub(super) failures: BTreeMap<String, u64>,
    pub(super) not_connected: BTreeMap<String, u64>,
    /// Microseconds from the request to the end of its response. At most one for each request of the plan.
    pub(super) latencies: Vec<u32>,
    /// Body bytes of complete responses.
    pub(super) received: u64,
    failures_in_a_row: u32,
}

impl Tally {
    pub(super) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Answered { status, took, received } => {
                *self.statuses.entry(status).or_default() += 1;
                self.latencies.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
                self.received += received;
                self.failures_in_a_row = 0;
            }
            Outcome::Failed(reason) => {
                *self.failures.entry(reason).or_default() += 1;
                self.failures_in_a_row += 1;
            }
        }
    }

    pub(super) fn not_connected(&mut self, reason: String) {
        *self.not_connected.entry(reason).or_default() += 1;
    }

    /// Whether the stream must stop.
    pub(super) fn must_stop(&self) -> bool {
        self.failures_in_a_row >= MAX_FAILURES
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (reason, count) in other.failures {
            *self.failures.entry(reason).or_default() += count;
        }
        for (reason, count) in other.not_connected {
            *self.not_connected.entry(reason).or_default() += count;
        }
        self.latencies.extend(other.latencies);
        self.received += other.received;
    }
}
