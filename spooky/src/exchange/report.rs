//! The report of a request that has ended.

use super::{count, exchanges::Exchanges, record::EndedRequest};

impl Exchanges {
    /// Reports a request; called exactly once for every request.
    pub(super) fn report(&mut self, request: &EndedRequest<'_>) {
        let EndedRequest { record, outcome, upstream, protocol, snapshot, .. } = request;
        let snapshot = snapshot.unwrap_or(&self.snapshot);
        count::end(&snapshot.counts, record, *outcome, *upstream, *protocol);
        self.access.request(record);
        self.export_spans(request);
    }
}
