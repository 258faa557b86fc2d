//! Every metric family: name, type, labels and help. Pages of metrics and docs/reference/metrics.md come from this table.

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Durations in the buckets of [`super::BOUNDS`].
    Histogram,
}

impl Kind {
    /// Returns the name in a `# TYPE` line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// An older name of a family, which breaks the naming rules of Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldName {
    /// It never had one.
    None,
    /// Exported with `observability.metrics.legacy_names`.
    Legacy(&'static str),
    /// Exported always, except by OpenMetrics and with the query `names=current`.
    Kept(&'static str),
}

/// A metric family.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// The name; empty for a family that has only an old name.
    pub name: &'static str,
    /// The older name.
    pub old_name: OldName,
    /// The type.
    pub kind: Kind,
    /// Names of the labels.
    pub labels: &'static [&'static str],
    /// What it counts.
    pub help: &'static str,
}

macro_rules! families {
    ($($family:ident: $kind:ident $name:literal $old:expr, [$($label:literal),*] $help:literal;)+) => {
        /// A metric family.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "the help texts below say it")]
        pub enum Family { $($family,)+ }

        impl Family {
            /// Every family, in the order of a page.
            pub const ALL: &'static [Self] = &[$(Self::$family,)+];

            /// Returns the definition.
            pub const fn definition(self) -> Definition {
                match self {
                    $(Self::$family => Definition {
                        name: $name, old_name: $old, kind: Kind::$kind, labels: &[$($label),*], help: $help,
                    },)+
                }
            }
        }
    };
}

use OldName::{Kept, Legacy, None};

families! {
    BuildInfo: Gauge "spooky_build_info" None, ["version", "commit"] "Always 1; says which build runs.";
    RequestsTotal: Counter "spooky_requests_total" None, [] "Request heads received, refused ones included: the sum of successes, failures, cancelled requests and requests in flight.";
    RequestsSuccess: Counter "spooky_requests_success_total" Legacy("spooky_requests_success"), [] "Requests answered by a backend with a status below 500 and delivered completely.";
    RequestsFailure: Counter "spooky_requests_failure_total" Legacy("spooky_requests_failure"), [] "Requests that ended in any other way, but not by the client.";
    RequestsCancelled: Counter "spooky_requests_cancelled_total" None, [] "Requests ended by the client.";
    ValidationRejects: Counter "spooky_request_validation_rejects_total" Legacy("spooky_request_validation_rejects"), [] "Requests whose head breaks a rule of HTTP or a limit on heads.";
    PolicyDenied: Counter "spooky_policy_denied_total" Legacy("spooky_policy_denied"), [] "Requests denied by the policy on methods, paths, CONNECT and early data.";
    EarlyDataAccepted: Counter "spooky_early_data_accepted_total" Legacy("spooky_early_data_accepted"), [] "Requests in TLS early data that were accepted.";
    EarlyDataRejected: Counter "spooky_early_data_rejected_total" Legacy("spooky_early_data_rejected"), [] "Requests in TLS early data that were answered with 425.";
    HttpRequests: Counter "spooky_http_requests_total" None, ["route", "method", "status", "protocol"] "Requests that have ended. Status 0: reset before a response head.";
    HttpRequestDuration: Histogram "spooky_http_request_duration_seconds" None, ["route", "protocol"] "Time from the request head to the end of the response.";
    HttpResponseStart: Histogram "spooky_http_response_start_seconds" None, ["route", "protocol"] "Time from the request head to the response head sent to the client.";
    HttpRequestBodyBytes: Counter "spooky_http_request_body_bytes_total" None, ["route"] "Body bytes received from clients.";
    HttpResponseBodyBytes: Counter "spooky_http_response_body_bytes_total" None, ["route"] "Body bytes that the connections of clients have taken.";
    HttpRequestsInFlight: Gauge "spooky_http_requests_in_flight" None, ["route"] "Requests that have not ended.";
    LocalResponses: Counter "spooky_local_responses_total" None, ["status", "reason"] "Responses made by Spooky itself.";
    StreamResets: Counter "spooky_stream_resets_total" None, ["side", "direction", "code"] "Streams that were reset, by the name of the error code.";
    RouteRequests: Counter "spooky_route_requests_total" None, ["route"] "Request heads received.";
    RouteSuccess: Counter "spooky_route_success_total" None, ["route"] "Successful requests, as in spooky_requests_success_total.";
    RouteFailure: Counter "spooky_route_failure_total" None, ["route"] "Failed requests, as in spooky_requests_failure_total.";
    RouteTimeout: Counter "spooky_route_timeout_total" None, ["route"] "Requests answered because of a timeout of the upstream.";
    RouteBackendError: Counter "spooky_route_backend_error_total" None, ["route"] "Requests answered because of another failure of the upstream.";
    RouteShed: Counter "spooky_route_overload_shed_total" None, ["route"] "Requests refused because of overload.";
    RouteLatencyP50: Gauge "" Legacy("spooky_route_latency_ms_p50"), ["route"] "Median of the durations of the last 60 seconds, in milliseconds; 0 without requests. Prefer spooky_http_request_duration_seconds.";
    RouteLatencyP95: Gauge "" Legacy("spooky_route_latency_ms_p95"), ["route"] "95th percentile of these durations.";
    RouteLatencyP99: Gauge "" Legacy("spooky_route_latency_ms_p99"), ["route"] "99th percentile of these durations.";
    RouteLatencySampleEvery: Gauge "spooky_route_latency_sample_every" None, [] "Value of SPOOKY_ROUTE_LATENCY_SAMPLE_EVERY. Latencies count every request, whatever it is.";
    RouteQueueDepth: Gauge "spooky_route_queue_depth" None, ["route"] "Requests that wait for a permit or a backend.";
    RouteQueueWait: Histogram "spooky_route_queue_wait_seconds" None, ["route"] "Time that requests waited for permits and backends; those that did not wait are left out.";
    OverloadShed: Counter "spooky_overload_shed_total" Legacy("spooky_overload_shed"), [] "Refusals because of overload.";
    OverloadShedByReason: Counter "spooky_overload_shed_by_reason_total" None, ["reason"] "Refusals because of overload, by limit.";
    RequestBufferRejects: Counter "spooky_request_buffer_limit_rejects_total" Legacy("spooky_request_buffer_limit_rejects"), [] "Requests refused because the budget for request bodies was used up.";
    ResponsePrebufferRejects: Counter "spooky_response_prebuffer_limit_rejects_total" Legacy("spooky_response_prebuffer_limit_rejects"), [] "Always 0: responses are not buffered before they are sent.";
    InflightWaitAdmit: Counter "spooky_inflight_wait_admit_total" None, ["scope"] "Requests that were admitted after waiting for a permit.";
    AdmissionLimit: Gauge "spooky_admission_limit" None, ["scope"] "Limits on requests in flight: the adaptive one and that of the process.";
    AdmissionInFlight: Gauge "spooky_admission_in_flight" None, [] "Requests with a permit.";
    BrownoutActive: Gauge "spooky_brownout_active" None, [] "1 while only core routes are served.";
    RequestBuffered: Gauge "spooky_request_buffered_bytes" None, [] "Bytes of request bodies in memory.";
    RequestBufferedHigh: Gauge "spooky_request_buffered_high_watermark_bytes" None, [] "The most bytes of request bodies that were in memory at a time.";
    Retries: Counter "spooky_retries_total" None, [] "Retries started.";
    RetryAttempts: Counter "spooky_retry_attempts_total" None, ["reason"] "Retries started, by the failure before them.";
    RetryDenied: Counter "spooky_retry_denied_total" None, ["reason"] "Retries that were not made: the budget was used up, the body was gone, or no other backend was available.";
    CircuitRejected: Counter "spooky_circuit_breaker_rejected_total" None, [] "Requests refused because every circuit was open.";
    HedgeTriggered: Counter "spooky_hedge_triggered_total" None, [] "Hedges started.";
    HedgeWon: Counter "spooky_hedge_won_total" None, [] "Hedges that answered first.";
    HedgeWasted: Counter "spooky_hedge_wasted_total" None, [] "Hedges that did not answer first.";
    HedgePrimaryWon: Counter "spooky_hedge_primary_won_after_trigger_total" None, [] "Requests that the first attempt answered after a hedge had started.";
    HedgePrimaryLateMillis: Counter "" Legacy("spooky_hedge_primary_late_ms_total"), [] "Milliseconds between the start of the hedge and that answer.";
    HedgePrimaryLate: Counter "spooky_hedge_primary_late_seconds_total" None, [] "Seconds between the start of the hedge and that answer.";
    HedgePrimaryLateSamples: Counter "spooky_hedge_primary_late_samples_total" None, [] "Number of those answers.";
    BackendTimeouts: Counter "spooky_backend_timeouts_total" Legacy("spooky_backend_timeouts"), [] "Attempts that failed by a timeout.";
    BackendErrors: Counter "spooky_backend_errors_total" Legacy("spooky_backend_errors"), [] "Attempts that failed in any other way.";
    UpstreamTlsFailures: Counter "spooky_upstream_tls_failure_total" None, [] "Attempts that failed because TLS to the backend failed.";
    HealthFailures: Counter "spooky_health_failures_total" None, ["reason"] "Failures that count against a backend's passive health.";
    HealthChecks: Counter "spooky_health_checks_total" None, [] "Active health checks.";
    HealthChecksSuccess: Counter "spooky_health_checks_success_total" Kept("spooky_health_checks_success"), [] "Active health checks that succeeded.";
    HealthChecksFailure: Counter "spooky_health_checks_failure_total" Legacy("spooky_health_checks_failure"), [] "Active health checks that failed.";
    BackendHealthy: Gauge "spooky_backend_healthy" None, ["upstream", "backend"] "1 while the backend is healthy.";
    BackendDraining: Gauge "spooky_backend_draining" None, ["upstream", "backend"] "1 while the backend is drained.";
    BackendWeight: Gauge "spooky_backend_weight" None, ["upstream", "backend"] "Weight in effect, slow start included.";
    BackendInFlight: Gauge "spooky_backend_in_flight" None, ["upstream", "backend"] "Attempts that have not ended.";
    BackendEwma: Gauge "spooky_backend_ewma_seconds" None, ["upstream", "backend"] "Moving average of the response time, which rises at once and falls slowly.";
    BackendCircuit: Gauge "spooky_backend_circuit_state" None, ["upstream", "backend"] "0 closed, 1 half-open, 2 open.";
    BackendRequests: Counter "spooky_backend_requests_total" None, ["upstream", "backend", "code"] "Attempts, by the class of the status, or error without one.";
    BackendFailures: Counter "spooky_backend_failures_total" None, ["upstream", "backend", "reason"] "Attempts that failed.";
    BackendResponse: Histogram "spooky_backend_response_seconds" None, ["upstream", "backend"] "Time from the request sent to the response head.";
    BackendConnect: Histogram "spooky_backend_connect_seconds" None, ["upstream", "backend"] "Time that attempts waited for a new connection.";
    BackendTransitions: Counter "spooky_backend_health_transitions_total" None, ["upstream", "backend", "to"] "Changes of the backend's health.";
    BackendConnections: Gauge "spooky_backend_connections" None, ["upstream", "backend", "protocol", "state"] "Open connections. Backends with the same address and TLS settings share them, and each shows all.";
    BackendConnectAttempts: Counter "spooky_backend_connect_attempt_total" None, [] "Connection attempts to backends, those of health checks included.";
    BackendClientRotations: Counter "spooky_backend_client_rotations_total" Legacy("spooky_backend_client_rotations"), [] "Connections replaced because the name of their backend no longer has their address.";
    DnsRefreshSuccess: Counter "spooky_backend_dns_refresh_success_total" None, [] "Lookups of names of backends that succeeded.";
    DnsRefreshFailure: Counter "spooky_backend_dns_refresh_failure_total" None, [] "Lookups of names of backends that failed; the known addresses stay in use.";
    DnsAddressSetChanges: Counter "spooky_backend_dns_address_set_changes_total" None, [] "Lookups that returned other addresses than before.";
    DnsLastSuccess: Gauge "spooky_backend_dns_last_refresh_success_seconds" None, [] "When a lookup last succeeded, in seconds since 1970; 0 if none has.";
    DnsAddresses: Gauge "spooky_backend_dns_resolved_addresses" None, [] "Addresses of all names of backends.";
    ConnectionCapRejects: Counter "spooky_connection_cap_rejects_total" Legacy("spooky_connection_cap_rejects"), [] "Connections of clients refused because a limit on connections was reached.";
    DownstreamConnections: Gauge "spooky_downstream_connections" None, ["listener", "protocol"] "Connections of clients with a complete handshake.";
    DownstreamConnectionsOpened: Counter "spooky_downstream_connections_opened_total" None, ["listener", "protocol"] "Connections of clients whose handshake was completed.";
    TlsHandshakeSuccess: Counter "spooky_downstream_tls_handshake_success_total" None, ["listener"] "TLS handshakes with clients that succeeded.";
    TlsHandshakeFailure: Counter "spooky_downstream_tls_handshake_failure_total" None, ["listener", "reason"] "TLS handshakes with clients that failed.";
    TlsAlpn: Counter "spooky_downstream_tls_alpn_total" None, ["listener", "protocol"] "Protocols that ALPN selected.";
    TlsCertificateSelection: Counter "spooky_downstream_tls_certificate_selection_total" None, ["listener", "selection"] "Handshakes by the way in which the certificate was found: by the exact name, by a wildcard, or the default.";
    TlsNotAfter: Gauge "spooky_downstream_tls_certificate_not_after_seconds" None, ["listener", "name"] "When the certificate expires, in seconds since 1970.";
    TlsDaysRemaining: Gauge "" Legacy("spooky_downstream_tls_certificate_days_remaining"), ["listener", "name"] "Full days until the certificate expires; below 0 once it has. Prefer spooky_downstream_tls_certificate_not_after_seconds.";
    QuicHandshake: Histogram "spooky_quic_handshake_seconds" None, ["listener"] "Time from the first packet of a QUIC connection to the complete handshake; a Retry before it does not count.";
    QuicRtt: Histogram "spooky_quic_rtt_seconds" None, ["listener"] "Round-trip time of QUIC connections when their handshake is complete.";
    QuicDatagrams: Counter "spooky_quic_datagrams_total" None, ["direction"] "UDP datagrams received and sent.";
    QuicBytes: Counter "spooky_quic_bytes_total" None, ["direction"] "Bytes of these datagrams.";
    QuicLostPackets: Counter "spooky_quic_lost_packets_total" None, [] "QUIC packets that were sent and declared lost.";
    QuicRetries: Counter "spooky_quic_retries_sent_total" None, [] "Retry packets sent, which validate addresses.";
    QuicStatelessResets: Counter "spooky_quic_stateless_resets_sent_total" None, [] "Stateless resets sent.";
    QuicVersionNegotiations: Counter "spooky_quic_version_negotiations_total" None, [] "Version Negotiation packets sent.";
    QuicMigrations: Counter "spooky_quic_migrations_total" None, [] "Times that a client continued its connection from another address.";
    QuicForwarded: Counter "spooky_quic_forwarded_datagrams_total" None, [] "Datagrams forwarded to the worker that owns their connection.";
    ScidRotations: Counter "spooky_scid_rotations_total" Legacy("spooky_scid_rotations"), [] "Connection ids issued beyond the first of a connection.";
    IngressPackets: Counter "spooky_ingress_packets_total" None, [] "UDP datagrams received.";
    IngressQueueDrops: Counter "spooky_ingress_queue_drops_total" Legacy("spooky_ingress_queue_drops"), [] "Datagrams dropped because the queue of their worker or connection was full.";
    IngressQueueDropBytes: Counter "spooky_ingress_queue_drop_bytes_total" Legacy("spooky_ingress_queue_drop_bytes"), [] "Bytes of these datagrams.";
    IngressQueueBytes: Gauge "spooky_ingress_queue_bytes" None, [] "Bytes of datagrams in these queues.";
    IngressBadHeader: Counter "spooky_ingress_bad_header_total" None, [] "Datagrams that are no QUIC packets.";
    IngressRateLimited: Counter "spooky_ingress_rate_limited_total" None, [] "First packets dropped above performance.new_connections_per_sec.";
    IngressUnroutable: Counter "spooky_ingress_unroutable_total" None, [] "Datagrams of unknown connections.";
    IngressDrainingDrops: Counter "spooky_ingress_draining_drops_total" None, [] "QUIC connections refused while the listener drains.";
    IngressCreateFailed: Counter "spooky_ingress_connection_create_failed_total" None, [] "QUIC connections that failed with their first packet.";
    IngressVersionFailed: Counter "spooky_ingress_version_neg_failed_total" None, [] "Version Negotiation packets not sent because too many answers waited.";
    UdpGsoFallbacks: Counter "spooky_udp_gso_fallbacks_total" None, [] "Bursts sent as single datagrams because the kernel refused GSO.";
    UdpReceiveDrops: Counter "spooky_udp_receive_drops_total" None, ["listener"] "Datagrams that the kernel dropped because a receive buffer was full.";
    UdpBuffer: Gauge "spooky_udp_buffer_bytes" None, ["listener", "direction"] "Size of the buffer that the kernel has granted each UDP socket.";
    ActiveConnections: Gauge "spooky_active_connections" None, [] "Connections of clients, QUIC and TCP.";
    WorkerRequests: Counter "spooky_worker_requests_total" None, ["worker"] "Request heads received.";
    WorkerSuccess: Counter "spooky_worker_requests_success_total" Legacy("spooky_worker_requests_success"), ["worker"] "Successful requests.";
    WorkerFailure: Counter "spooky_worker_requests_failure_total" Legacy("spooky_worker_requests_failure"), ["worker"] "Failed requests.";
    WorkerIngressPackets: Counter "spooky_worker_ingress_packets_total" None, ["worker"] "UDP datagrams received.";
    WorkerIngressQueueDrops: Counter "spooky_worker_ingress_queue_drops_total" Legacy("spooky_worker_ingress_queue_drops"), ["worker"] "Datagrams dropped because a queue was full.";
    WorkerIngressQueueDropBytes: Counter "spooky_worker_ingress_queue_drop_bytes_total" Legacy("spooky_worker_ingress_queue_drop_bytes"), ["worker"] "Bytes of these datagrams.";
    WorkerBusy: Counter "spooky_worker_busy_seconds_total" None, ["worker"] "CPU time of the thread.";
    WorkerRestarts: Counter "spooky_worker_restarts_total" None, ["worker"] "Times that the worker was replaced after a panic or a failed start.";
    RuntimePanics: Counter "spooky_runtime_panics_total" Legacy("spooky_runtime_panics"), [] "Panics, wherever they were contained.";
    WatchdogRestartRequests: Counter "spooky_watchdog_restart_requests_total" Legacy("spooky_watchdog_restart_requests"), [] "Restarts requested by the watchdog or the control API.";
    WatchdogRestartHooks: Counter "spooky_watchdog_restart_hooks_total" Legacy("spooky_watchdog_restart_hooks"), [] "Restart commands that were started.";
    WatchdogDegradedWindows: Counter "spooky_watchdog_degraded_windows_total" Legacy("spooky_watchdog_degraded_windows"), [] "Windows that the watchdog found degraded.";
    ControlApiDrops: Counter "spooky_control_api_connection_limit_drops_total" Legacy("spooky_control_api_connection_limit_drops"), [] "Connections to the control API that were closed because there were too many.";
    LogDropped: Counter "spooky_log_dropped_total" None, [] "Lines of the log and of the access log that were dropped because they did not fit into the queue or could not be written.";
    ConfigGeneration: Gauge "spooky_config_generation" None, [] "Number of the configuration in effect.";
    ConfigLastReload: Gauge "spooky_config_last_reload_timestamp_seconds" None, [] "When the configuration in effect was loaded, in seconds since 1970.";
    ConfigReloads: Counter "spooky_config_reloads_total" None, ["kind", "result"] "Reloads.";
    TraceSpansExported: Counter "spooky_trace_spans_exported_total" None, [] "Spans that the collector has taken.";
    TraceSpansDropped: Counter "spooky_trace_spans_dropped_total" None, [] "Spans that were dropped: their queue was full, or the collector did not take them.";
    ProcessCpu: Counter "process_cpu_seconds_total" None, [] "CPU time of the process, user and system.";
    ProcessResident: Gauge "process_resident_memory_bytes" None, [] "Memory in RAM.";
    ProcessVirtual: Gauge "process_virtual_memory_bytes" None, [] "Virtual memory.";
    ProcessOpenFds: Gauge "process_open_fds" None, [] "Open file descriptors.";
    ProcessMaxFds: Gauge "process_max_fds" None, [] "Limit on open file descriptors.";
    ProcessStart: Gauge "process_start_time_seconds" None, [] "Start of the process, in seconds since 1970.";
    ProcessThreads: Gauge "process_threads" None, [] "Threads.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_counters_end_in_total() {
        let mut names = BTreeSet::new();
        for family in Family::ALL {
            let Definition { name, old_name, kind, help, .. } = family.definition();
            if !name.is_empty() {
                assert!(names.insert(name), "{name}");
                assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            }
            if let Legacy(old) | Kept(old) = old_name {
                assert!(names.insert(old), "{old}");
            }
            assert!(!name.is_empty() || old_name != None, "{family:?} has no name");
            assert!(help.ends_with('.') && help.is_ascii(), "{help}");
        }
    }
}
