//! A finished request as plain data, from which its spans are made.

use super::super::{ClientProtocol, RequestRecord, TraceIds};
use std::{net::SocketAddr, time::Duration};

/// Bytes kept of a value that a peer has sent.
const MAX_VALUE: usize = 1024;

/// A sampled request that has ended. Times are relative to the epoch of the process.
#[derive(Debug)]
pub struct RequestTrace {
    pub(super) ids: TraceIds,
    pub(super) parent: Option<u64>,
    pub(super) flags: u8,
    pub(super) start: Duration,
    pub(super) end: Duration,
    pub(super) request_id: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) host: String,
    pub(super) user_agent: String,
    pub(super) protocol: ClientProtocol,
    pub(super) client: SocketAddr,
    pub(super) status: Option<u16>,
    pub(super) upstream: Option<String>,
    pub(super) reason: Option<&'static str>,
    /// The request has failed, and not because of the client.
    pub(super) is_failed: bool,
    pub(super) attempts: Vec<UpstreamSpan>,
}

/// One attempt of a request.
#[derive(Debug)]
pub struct UpstreamSpan {
    /// Id of the span.
    pub id: u64,
    /// When the attempt started.
    pub start: Duration,
    /// When it ended.
    pub end: Duration,
    /// The scheme of the backend.
    pub scheme: &'static str,
    /// Name or address of the backend.
    pub host: String,
    /// Port of the backend.
    pub port: u16,
    /// Version of the backend's protocol; `None` without a response.
    pub protocol: Option<&'static str>,
    /// Status of the response.
    pub status: Option<u16>,
    /// Why it failed.
    pub error: Option<&'static str>,
    /// It was started because an earlier attempt was slow.
    pub is_hedge: bool,
}

impl RequestTrace {
    /// Copies what spans need from the record of a request. Returns `None` if the request has no trace. `parent` is the span of
    /// the client, and `end` the time since the epoch.
    pub fn new(
        record: &RequestRecord<'_>,
        parent: Option<u64>,
        flags: u8,
        end: Duration,
        attempts: Vec<UpstreamSpan>,
    ) -> Option<Self> {
        Some(Self {
            ids: record.trace?,
            parent,
            flags,
            start: end.saturating_sub(record.latency),
            end,
            request_id: text(record.request_id),
            method: text(record.method),
            path: text(record.path),
            host: text(record.host),
            user_agent: text(record.user_agent),
            protocol: record.protocol,
            client: record.client,
            status: record.status,
            upstream: record.upstream.map(str::to_owned),
            reason: record.reason,
            is_failed: record.error.is_some_and(|error| error != "client"),
            attempts,
        })
    }

    /// Returns the number of its spans.
    pub(super) fn spans(&self) -> usize {
        1 + self.attempts.len()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..MAX_VALUE).unwrap_or(bytes)).into_owned()
}
