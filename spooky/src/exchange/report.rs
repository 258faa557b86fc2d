//! The report of a request that has ended.

use super::{count, end::Ended, exchanges::Exchanges, outcome::Outcome, timeline::LocalAnswer};
use spooky_lb::time::Nanos;

impl Exchanges {
    pub(super) fn report(&mut self, ended: &Ended<'_>, outcome: Outcome, answer: Option<LocalAnswer>, now: Nanos) {
        let record = ended.record(outcome, answer, now);
        let snapshot = ended.snapshot().unwrap_or(&self.snapshot);
        count::end(&snapshot.counts, &record, outcome, ended.upstream(), ended.protocol());
    }
}
