//! Gives each attempt of a traced request its span, and passes the spans of a sampled request on.

use super::{
    exchanges::Exchanges,
    record::EndedRequest,
    state::{Context, Exchange},
    trace::{AttemptSpan, since_epoch, span_id},
};
use spooky_bridge::message::{Protocol, rewrite, trace::TraceContext};
use spooky_lb::{attempt::SlotId, time::Nanos};
use spooky_telemetry::trace::{RequestTrace, UpstreamSpan};

impl Exchange {
    /// Begins the span of an attempt, and puts its id into the request head.
    pub(super) fn begin_span<I>(&mut self, cx: &mut Context<'_, I>, slot: SlotId, backend: usize, is_hedge: bool) {
        let Some(trace) = self.timeline.arrival.trace else { return };
        let id = span_id(cx.rng);
        let context = TraceContext { trace_id: trace.ids.trace, span_id: id, flags: trace.flags };
        rewrite::set_trace(&mut self.head, context);
        if trace.is_recorded {
            let start = cx.nanos;
            self.timeline.spans.push(AttemptSpan { id, slot, backend, is_hedge, start, end: None, response: None });
        }
    }

    /// Notes the response head of an attempt.
    pub(super) fn answer_span(&mut self, slot: SlotId, protocol: Protocol, status: u16) {
        if let Some(span) = self.open_span(slot) {
            span.response = Some((protocol, status));
        }
    }

    /// Ends the span of an attempt.
    pub(super) fn end_span(&mut self, slot: SlotId, now: Nanos, error: Option<&'static str>) {
        if let Some(span) = self.open_span(slot) {
            span.end = Some((now, error));
        }
    }

    fn open_span(&mut self, slot: SlotId) -> Option<&mut AttemptSpan> {
        self.timeline.spans.iter_mut().find(|span| span.slot == slot && span.end.is_none())
    }

    /// Returns the spans of all attempts. Those that are running have ended with the request.
    fn upstream_spans(&self, now: Nanos, reason: Option<&'static str>) -> Vec<UpstreamSpan> {
        let (spans, number) = (&self.timeline.spans, self.upstream);
        let compiled = self.snapshot.upstreams.get(number);
        let address =
            |backend: usize| Some(&self.snapshot.config.upstreams.get(number)?.backends.get(backend)?.address);
        let describe = |span: &AttemptSpan| {
            let scheme = compiled.map_or("", |compiled| compiled.scheme(span.backend));
            span.describe(address(span.backend), scheme, now, reason)
        };
        spans.iter().map(describe).collect()
    }
}

impl Exchanges {
    /// Passes the spans of the request to the exporter if it is sampled.
    pub(super) fn export_spans(&self, request: &EndedRequest<'_>) {
        let EndedRequest { record, trace, exchange, now, .. } = request;
        let Some(trace) = trace.filter(|trace| trace.is_recorded) else { return };
        let attempts = exchange.map(|exchange| exchange.upstream_spans(*now, record.reason)).unwrap_or_default();
        if let Some(trace) = RequestTrace::new(record, trace.parent, trace.flags, since_epoch(*now), attempts) {
            self.state.spans.push(self.worker, trace);
        }
    }
}
