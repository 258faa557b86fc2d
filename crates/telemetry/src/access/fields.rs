//! The fields of each kind of line (docs/reference/logs.md#the-access-log).

use super::format::{Format, Plain, key};
use crate::{ConnectionRecord, RequestRecord, RouteRecord};
use spooky_config::AccessField;

/// A record that becomes one line.
pub(super) trait Record {
    const TARGET: &'static str;
    /// `msg` of a JSON object.
    const MESSAGE: &'static str;

    /// Writes the fields. `selected` concerns requests only.
    fn write<F: Format>(&self, out: &mut Vec<u8>, selected: &[AccessField]);

    /// Writes the fields as plain text.
    fn write_plain(&self, out: &mut Vec<u8>, selected: &[AccessField]) {
        self.write::<Plain>(out, selected);
    }
}

impl Record for RequestRecord<'_> {
    const TARGET: &'static str = "access";
    const MESSAGE: &'static str = "request";

    fn write<F: Format>(&self, out: &mut Vec<u8>, selected: &[AccessField]) {
        for field in selected {
            write_field::<F>(out, self, *field);
        }
    }

    fn write_plain(&self, out: &mut Vec<u8>, selected: &[AccessField]) {
        for field in selected {
            match field {
                AccessField::UserAgent => {
                    out.extend_from_slice(b" user_agent=\"");
                    Plain::peer_bytes(out, if self.user_agent.is_empty() { b"-" } else { self.user_agent });
                    out.push(b'"');
                }
                AccessField::Error if self.error.is_none() => {}
                _ => write_field::<Plain>(out, self, *field),
            }
        }
    }
}

#[inline]
fn write_field<F: Format>(out: &mut Vec<u8>, record: &RequestRecord<'_>, field: AccessField) {
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    match field {
        AccessField::RequestId => F::text(out, key!("request_id"), record.request_id),
        AccessField::TraceId => F::id::<32>(out, key!("trace_id"), record.trace.map(|ids| ids.trace)),
        AccessField::SpanId => F::id::<16>(out, key!("span_id"), record.trace.map(|ids| ids.span.into())),
        AccessField::Method => F::text(out, key!("method"), record.method),
        AccessField::Path => F::text(out, key!("path"), record.path),
        AccessField::Status => F::number_if(out, key!("status"), record.status),
        AccessField::Backend => F::text(out, key!("backend"), record.backend.unwrap_or_default().as_bytes()),
        AccessField::Upstream => F::text(out, key!("upstream"), record.upstream.unwrap_or_default().as_bytes()),
        AccessField::LatencyMs => F::number(out, key!("latency_ms"), millis(record.latency)),
        AccessField::Retries => F::number(out, key!("retries"), record.retries()),
        AccessField::Client => F::address(out, key!("client"), record.client),
        AccessField::Protocol => F::word(out, key!("protocol"), Some(record.protocol.label())),
        AccessField::Host => F::text(out, key!("host"), record.host),
        AccessField::BytesIn => F::number(out, key!("bytes_in"), record.bytes_in),
        AccessField::BytesOut => F::number(out, key!("bytes_out"), record.bytes_out),
        AccessField::QueueMs => F::number(out, key!("queue_ms"), millis(record.queue)),
        AccessField::ConnectMs => F::millis(out, key!("connect_ms"), record.connect),
        AccessField::TtfbMs => F::millis(out, key!("ttfb_ms"), record.first_byte),
        AccessField::UpstreamMs => F::millis(out, key!("upstream_ms"), record.upstream_time),
        AccessField::Attempts => F::number(out, key!("attempts"), record.attempts),
        AccessField::Hedged => F::boolean(out, key!("hedged"), record.is_hedged),
        AccessField::Reason => F::text(out, key!("reason"), record.reason.unwrap_or_default().as_bytes()),
        AccessField::UserAgent => F::text(out, key!("user_agent"), record.user_agent),
        AccessField::Error => F::word(out, key!("error"), record.error),
    }
}

impl Record for RouteRecord<'_> {
    const TARGET: &'static str = "access";
    const MESSAGE: &'static str = "route";

    fn write<F: Format>(&self, out: &mut Vec<u8>, _: &[AccessField]) {
        F::text(out, key!("request_id"), self.request_id);
        F::text(out, key!("route_upstream"), self.upstream.as_bytes());
        F::number(out, key!("route_path_len"), self.path_len);
        F::boolean(out, key!("route_host_specific"), self.is_host_specific);
        F::word(out, key!("route_reason"), self.reason);
        F::word(out, key!("lb"), Some(self.algorithm));
    }
}

impl Record for ConnectionRecord {
    const TARGET: &'static str = "connection";
    const MESSAGE: &'static str = "connection";

    fn write<F: Format>(&self, out: &mut Vec<u8>, _: &[AccessField]) {
        F::address(out, key!("client"), self.client);
        F::word(out, key!("protocol"), self.protocol.map(crate::ClientProtocol::label));
        F::millis(out, key!("duration_ms"), Some(self.duration));
        F::millis(out, key!("handshake_ms"), self.handshake);
        F::number(out, key!("requests"), self.requests);
        F::number(out, key!("bytes_in"), self.bytes_in);
        F::number(out, key!("bytes_out"), self.bytes_out);
        F::number_if(out, key!("lost_packets"), self.lost_packets);
        F::millis(out, key!("rtt_ms"), self.rtt);
        F::text(out, key!("reason"), self.reason.as_bytes());
    }
}
