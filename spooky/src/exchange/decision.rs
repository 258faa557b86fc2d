//! `observability.routing`: which upstream a request was routed to and why, in the log and in the response.

use super::state::Exchange;
use spooky_bridge::message::{Fields, Known, Name};
use spooky_telemetry::Escaped;

impl Exchange {
    /// Logs the route decision if `observability.routing.enabled` is set.
    pub(super) fn log_decision(&self) {
        let routing = &self.snapshot.config.observability.routing;
        let Some(upstream) = self.snapshot.config.upstreams.get(self.upstream).filter(|_| routing.enabled) else {
            return;
        };
        let id = Escaped(self.head.fields.first(Known::XRequestId).unwrap_or_default());
        let reason = if routing.include_reason { self.route.reason.label() } else { "-" };
        let (name, algorithm) = (&upstream.name, upstream.load_balancing.algorithm.as_str());
        let (path_len, host_specific) = (self.route.prefix_len, self.route.host_specific);
        tracing::info!(
            target: "access",
            "request_id={id} route_upstream={name} route_path_len={path_len} route_host_specific={host_specific} \
             route_reason={reason} lb={algorithm}"
        );
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
