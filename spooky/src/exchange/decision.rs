//! `observability.routing`: which upstream a request was routed to and why, in the log and in the response.

use super::state::Exchange;
use spooky_bridge::message::{Fields, Known, Name};
use spooky_telemetry::{RouteRecord, access::AccessLog};

impl Exchange {
    /// Logs the route decision if `observability.routing.enabled` is set.
    pub(super) fn log_decision(&self, log: &mut AccessLog) {
        let routing = &self.snapshot.config.observability.routing;
        let Some(upstream) = self.snapshot.config.upstreams.get(self.upstream).filter(|_| routing.enabled) else {
            return;
        };
        log.route(&RouteRecord {
            request_id: self.head.fields.first(Known::XRequestId).unwrap_or_default(),
            upstream: &upstream.name,
            path_len: self.route.prefix_len as u64,
            is_host_specific: self.route.host_specific,
            reason: routing.include_reason.then(|| self.route.reason.label()),
            algorithm: upstream.load_balancing.algorithm.as_str(),
        });
    }

    /// Adds the route decision to a response if `observability.routing.expose_header` is set. Replaces a field of the backend
    /// with the same name.
    pub(super) fn show_decision(&self, fields: &mut Fields) {
        let routing = &self.snapshot.config.observability.routing;
        let Some(upstream) = self.snapshot.config.upstreams.get(self.upstream).filter(|_| routing.expose_header) else {
            return;
        };
        let name = routing.header_name.as_bytes();
        let reason = if routing.include_reason { [";reason=", self.route.reason.label()] } else { [""; 2] };
        let [label, reason] = reason.map(str::as_bytes);
        fields.retain(|field| field.name.as_bytes() != name);
        fields.push_parts(Name::Other(name), &[b"upstream=", upstream.name.as_bytes(), label, reason]);
    }
}
