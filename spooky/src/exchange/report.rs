//! The report of a request that has ended: to the access log.

use super::{end::Ended, exchanges::Exchanges, outcome::Outcome, timeline::LocalAnswer};
use spooky_lb::time::Nanos;

impl Exchanges {
    pub(super) fn report(&mut self, ended: &Ended<'_>, outcome: Outcome, answer: Option<LocalAnswer>, now: Nanos) {
        let record = ended.record(outcome, answer, now);
        tracing::trace!("{record:?} {}", record.retries());
    }
}
