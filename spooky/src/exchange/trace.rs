//! The trace of a request: continues or begins it, gives each attempt its span, and passes the spans of a sampled request on.

use super::{
    exchanges::Exchanges,
    report::EndedRequest,
    state::{Context, Exchange},
};
use spooky_bridge::message::{
    Fields, Protocol, rewrite,
    trace::{SAMPLED, TraceContext},
};
use spooky_config::{BackendAddress, Tracing};
use spooky_lb::{attempt::SlotId, rng::Rng, time::Nanos};
use spooky_telemetry::{
    TraceIds,
    trace::{RequestTrace, UpstreamSpan, is_sampled},
};
use std::time::Duration;

/// The trace of a request, and the place of Spooky's span in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trace {
    pub(super) ids: TraceIds,
    /// The span of the client.
    parent: Option<u64>,
    flags: u8,
    /// Its spans are exported.
    is_recorded: bool,
}

impl Trace {
    /// Continues the trace of a client. Without one, begins a trace if tracing is enabled.
    pub(super) fn begin(fields: &Fields, tracing: &Tracing, rng: &mut Rng) -> Option<Self> {
        let client = TraceContext::of(fields);
        let (trace, parent, flags) = match client {
            Some(client) => (client.trace_id, Some(client.span_id), client.flags),
            None if tracing.enabled => {
                let id = u128::from(rng.next_u64()) << 64 | u128::from(span_id(rng));
                (id, None, if is_sampled(id, tracing.sample_ratio) { SAMPLED } else { 0 })
            }
            None => return None,
        };
        let ids = TraceIds { trace, span: span_id(rng) };
        Some(Self { ids, parent, flags, is_recorded: tracing.enabled && flags & SAMPLED != 0 })
    }
}

/// Creates an id that is not zero.
fn span_id(rng: &mut Rng) -> u64 {
    rng.next_u64().max(1)
}

/// The span of an attempt.
#[derive(Debug)]
pub(super) struct AttemptSpan {
    id: u64,
    slot: SlotId,
    backend: usize,
    is_hedge: bool,
    start: Nanos,
    /// When and why it ended; `None` while it is running.
    end: Option<(Nanos, Option<&'static str>)>,
    response: Option<(Protocol, u16)>,
}

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

impl AttemptSpan {
    fn describe(
        &self,
        address: Option<&BackendAddress>,
        scheme: &'static str,
        now: Nanos,
        reason: Option<&'static str>,
    ) -> UpstreamSpan {
        let (end, error) = self.end.unwrap_or((now, reason));
        UpstreamSpan {
            id: self.id,
            start: since_epoch(self.start),
            end: since_epoch(end),
            scheme,
            host: address.map(|address| address.host.clone()).unwrap_or_default(),
            port: address.map_or(0, |address| address.port),
            protocol: self.response.map(|(protocol, _)| version(protocol)),
            status: self.response.map(|(_, status)| status),
            error,
            is_hedge: self.is_hedge,
        }
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

fn since_epoch(at: Nanos) -> Duration {
    at - Nanos::ZERO
}

fn version(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 => "1.1",
        Protocol::Http2 => "2",
        Protocol::Http3 => "3",
    }
}
