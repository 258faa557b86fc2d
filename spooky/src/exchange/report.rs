//! The report of a request that has ended.

use super::{count, exchanges::Exchanges, outcome::Outcome, state::Exchange, trace::Trace};
use crate::snapshot::WorkerSnapshot;
use spooky_bridge::message::Protocol;
use spooky_lb::time::Nanos;
use spooky_telemetry::RequestRecord;
use std::rc::Rc;

/// A request that has ended.
pub(super) struct EndedRequest<'a> {
    pub(super) record: RequestRecord<'a>,
    pub(super) outcome: Outcome,
    /// The upstream, if the request was routed.
    pub(super) upstream: Option<usize>,
    pub(super) protocol: Protocol,
    pub(super) trace: Option<Trace>,
    pub(super) now: Nanos,
    /// Its exchange; `None` if it was refused at once.
    pub(super) exchange: Option<&'a Exchange>,
    /// The snapshot with which the request started; `None` if it was refused at once.
    pub(super) snapshot: Option<&'a Rc<WorkerSnapshot>>,
}

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
