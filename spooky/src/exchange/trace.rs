//! The trace of a request, which continues that of the client or begins, and the spans of its attempts.

use spooky_bridge::message::{
    Fields, Protocol,
    trace::{SAMPLED, TraceContext},
};
use spooky_config::{BackendAddress, Tracing};
use spooky_lb::{attempt::SlotId, rng::Rng, time::Nanos};
use spooky_telemetry::{
    TraceIds,
    trace::{UpstreamSpan, is_sampled},
};
use std::time::Duration;

/// The trace of a request, and the place of Spooky's span in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trace {
    pub(super) ids: TraceIds,
    /// The span of the client.
    pub(super) parent: Option<u64>,
    pub(super) flags: u8,
    /// Its spans are exported.
    pub(super) is_recorded: bool,
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
pub(super) fn span_id(rng: &mut Rng) -> u64 {
    rng.next_u64().max(1)
}

/// The span of an attempt.
#[derive(Debug)]
pub(super) struct AttemptSpan {
    pub(super) id: u64,
    pub(super) slot: SlotId,
    pub(super) backend: usize,
    pub(super) is_hedge: bool,
    pub(super) start: Nanos,
    /// When and why it ended; `None` while it is running.
    pub(super) end: Option<(Nanos, Option<&'static str>)>,
    pub(super) response: Option<(Protocol, u16)>,
}

impl AttemptSpan {
    pub(super) fn describe(
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

pub(super) fn since_epoch(at: Nanos) -> Duration {
    at - Nanos::ZERO
}

fn version(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http1 => "1.1",
        Protocol::Http2 => "2",
        Protocol::Http3 => "3",
    }
}
