//! `performance`: threads, sockets, QUIC, timeouts, limits. All limits apply to the whole process.

use std::path::PathBuf;
use std::time::Duration;

use super::order::{ORDER, Timeout, Timeouts};
use crate::preflight::texts;
use crate::problem::Code;
use crate::spec::Mapping;
use crate::spec::block::block;
use crate::spec::key::is_not_blank;
use crate::spec::keywords::keywords;
use crate::spec::text::{Text, text};
use crate::value::number::Auto;
use crate::value::quantity::millis;

pub(crate) const REUSEPORT: Text = text("performance.reuseport must be true when performance.worker_threads > 1")
    .code(Code::UnsupportedPolicyCombination);
const SHARDS: Text = text("performance.packet_shards_per_worker must be between 1 and 256");
/// Maximum number of data-plane threads with `packet_shards_per_worker`.
const MAX_WORKERS: usize = 256;
const STREAM_DATA: Text = text("performance.quic_initial_max_stream_data (<a>) must be <= quic_initial_max_data (<b>)");
const STREAMS_UNI: Text = text("performance.quic_initial_max_streams_uni must be at least 3")
    .hint("HTTP/3 needs one control and two QPACK streams");
const UDP_PAYLOAD: Text = text("performance.quic_max_udp_payload_bytes must be between 1200 and 65527");
const SECRET_EMPTY: Text = text("<key> cannot be empty when provided");
const CLIENT_SHARE: Text = text("performance.max_client_share_percent must be <= 100");
const PREBUFFER: Text =
    text("performance.unknown_length_response_prebuffer_bytes (<a>) must be <= max_response_body_bytes (<b>)");
pub(crate) const WAIT_TWICE: Text =
    text("duplicate field 'inflight_acquire_wait_ms'").hint("it is another name of resilience.route_queue.max_wait_ms");
const NO_EFFECT: Text = text("<key> has no effect").warning();

keywords! {
    /// When a client's address is validated by a Retry packet (RFC 9000 section 8.1.2).
    pub enum QuicRetry {
        /// Above `quic_retry_handshakes` half-open handshakes.
        Auto = ["auto"],
        /// For every connection.
        Always = ["always"],
        /// Never.
        Off = ["off"],
    }
}

block! {
    /// Threads, sockets, QUIC, timeouts and limits. All limits apply to the whole process. A timeout that is not
    /// written and would break the order of timeouts takes the value of the one that is.
    pub struct Performance {
        /// Data-plane threads, each with its own sockets; `auto` = cores this process may use (affinity and cgroup quota).
        worker_threads: Auto<usize> = Auto::Auto, positive(), restart();
        /// Threads for metrics, control API, probes, DNS and exporters; never request traffic.
        control_plane_threads: usize = 2, positive(), restart();
        /// Data-plane threads per worker socket: `worker_threads` times as many run. One of them reads the UDP socket for all.
        /// Leave it at 1 unless a listener must not have as many sockets as there are cores.
        packet_shards_per_worker: usize = 1, positive(), range(1, 256, SHARDS), may_report(texts::WORKERS), restart();
        /// Maximum number of datagrams in the inbox of a worker, which receives its packets that arrive at other workers.
        packet_shard_queue_capacity: usize = 2048, positive(), restart();
        /// Maximum number of bytes in that inbox.
        packet_shard_queue_max_bytes: u64 = 67_108_864, positive(), restart();
        /// One UDP socket for each worker. `false` needs `worker_threads: 1`, or a process with one core.
        reuseport: bool = true, may_report(REUSEPORT), restart();
        /// Pins worker i to allowed core i modulo the number of allowed cores.
        pin_workers: bool = false, restart();
        /// Receive buffer of each UDP socket; the granted size is exported, a smaller grant is one warning.
        udp_recv_buffer_bytes: u64 = 8_388_608, positive(), restart();
        /// Send buffer of each UDP socket.
        udp_send_buffer_bytes: u64 = 8_388_608, positive(), restart();
        /// Maximum idle time of a QUIC connection. Earlier default: 5 s.
        quic_max_idle_timeout_ms: Duration = millis(30_000), positive();
        /// Flow-control window of a connection.
        quic_initial_max_data: u64 = 10_000_000, positive();
        /// Flow-control window of a stream.
        quic_initial_max_stream_data: u64 = 1_000_000, positive(), may_report(STREAM_DATA);
        /// Concurrent request streams of a connection.
        quic_initial_max_streams_bidi: usize = 100, positive();
        /// Unidirectional streams of a connection.
        quic_initial_max_streams_uni: usize = 100, positive(), range(3, i128::MAX, STREAMS_UNI);
        /// Upper limit of path MTU discovery. `auto` = MTU of the interface that the connection uses, minus IP and UDP
        /// headers, at most 16384: 1472 or 1452 on Ethernet, more on jumbo networks and loopback.
        quic_max_udp_payload_bytes: Auto<u64> = Auto::Auto, range(1200, 65_527, UDP_PAYLOAD);
        /// `false` only forbids deliberate migration; NAT rebinding always works.
        quic_active_migration: bool = true;
        /// When to validate client addresses by Retry: `auto` = at `quic_retry_handshakes` incomplete handshakes; `always`; `off`.
        quic_retry: QuicRetry = QuicRetry::Auto;
        /// Number of incomplete handshakes in the process at which new clients must validate their address. Handshakes
        /// without a validated address do not count for `max_active_connections` and `max_connections_per_ip`.
        quic_retry_handshakes: usize = 256, positive();
        /// File of at least 32 bytes from which the keys of stateless resets, Retry and address tokens are derived. Without it
        /// they are derived from the private key of the first listener.
        quic_secret_file: Option<PathBuf> = None, check(is_not_blank, SECRET_EMPTY), may_report(texts::FILE_MISSING),
            may_report(texts::FILE_UNREADABLE), may_report(texts::SECRET_SHORT), restart();
        /// Maximum rate of new connections: refill rate of the token bucket.
        new_connections_per_sec: usize = 2000, positive();
        /// Size of the token bucket.
        new_connections_burst: usize = 500, positive();
        /// Maximum number of client connections in the process.
        max_active_connections: usize = 20_000, positive();
        /// Maximum number of connections of a client address, QUIC and TCP together; 0 = no limit. An IPv6 /64 network counts
        /// as one address.
        max_connections_per_ip: usize = 0;
        /// Time that open requests have to finish when the process stops.
        shutdown_drain_timeout_ms: Duration = millis(5000), positive();

        /// Maximum time of a QUIC or TLS handshake.
        client_handshake_timeout_ms: Duration = millis(10_000), positive();
        /// Maximum time from the first byte of a request head to its end.
        client_header_timeout_ms: Duration = millis(10_000), positive();
        /// Maximum pause of a client within a request body.
        client_body_idle_timeout_ms: Duration = millis(10_000), positive();
        /// Maximum time that a client may read nothing of a waiting response.
        client_stall_timeout_ms: Duration = millis(30_000), positive();
        /// Minimum average rate of uploads and downloads, checked after 10 s; 0 = no minimum.
        client_min_rate_bytes_per_sec: usize = 240;
        /// Maximum idle time of a TCP connection.
        tcp_idle_timeout_ms: Duration = millis(60_000), positive();
        /// Maximum time to connect to a backend, TLS included. Earlier default: 500 ms.
        backend_connect_timeout_ms: Duration = millis(2000), positive(), may_report(ORDER);
        /// Maximum time to the response head. Earlier default: 2 s.
        backend_timeout_ms: Duration = millis(30_000), positive(), may_report(ORDER);
        /// Maximum pause of a backend within a response body. Earlier default: 2 s.
        backend_body_idle_timeout_ms: Duration = millis(30_000), positive(), may_report(ORDER);
        /// Maximum time from the response head to the first byte of its body. Earlier default: 30 s.
        backend_body_total_timeout_ms: Duration = millis(60_000), positive(), may_report(ORDER);
        /// Maximum time to the response head, all attempts together. Earlier default: 35 s.
        backend_total_request_timeout_ms: Duration = millis(90_000), positive();
        /// Maximum duration of a whole exchange; 0 = unlimited.
        max_stream_lifetime_ms: Duration = Duration::ZERO;
        /// Maximum pause on WebSocket, CONNECT, and event-stream or gRPC responses.
        tunnel_idle_timeout_ms: Duration = millis(300_000), positive();
        /// Maximum idle time of a backend connection, HTTP/2 or HTTP/1.1.
        h2_pool_idle_timeout_ms: Duration = millis(90_000), positive();
        /// Interval of PING on a backend HTTP/2 connection that has streams and no traffic; 0 = off.
        h2_keepalive_interval_ms: Duration = millis(20_000);
        /// Alias of `resilience.route_queue.max_wait_ms`; set only one of them.
        inflight_acquire_wait_ms: Option<Duration> = None, may_report(WAIT_TWICE);

        /// Maximum number of requests in flight in the process.
        global_inflight_limit: usize = 4096, positive();
        /// Maximum number of requests in flight of each upstream.
        per_upstream_inflight_limit: usize = 1024, positive();
        /// Maximum number of requests in flight of each backend of each upstream. Earlier default: 64.
        per_backend_inflight_limit: usize = 256, positive();
        /// Maximum size of a request body; independent of the QUIC windows.
        max_request_body_bytes: u64 = 1_000_000, positive();
        /// Maximum size of a response body; 0 = unlimited, because it is streamed. Earlier default: 100 MiB.
        max_response_body_bytes: u64 = 0;
        /// Maximum size of a response head: names plus values plus 32 for each field. There is no other limit on a response head.
        max_response_headers_bytes: u64 = 65_536, positive();
        /// Request body bytes received but not yet sent to a backend, in the whole process.
        request_buffer_global_cap_bytes: u64 = 67_108_864, positive();
        /// Response bytes passed to QUIC or TCP but not acknowledged, in the whole process. At the cap, windows stop growing and
        /// backends are read no faster than clients acknowledge.
        response_buffer_global_cap_bytes: u64 = 268_435_456, positive();
        /// Percentage of the limit of an upstream or backend that a client connection may use; 100 = no bound.
        max_client_share_percent: u8 = 50, positive(), range(1, 100, CLIENT_SHARE);
        /// Maximum number of bytes buffered for a stream in one direction.
        stream_buffer_bytes: u64 = 262_144, positive();
        /// Accepted but without effect: nothing is prebuffered.
        unknown_length_response_prebuffer_bytes: u64 = 2_097_152, may_report(PREBUFFER), may_report(NO_EFFECT);
        /// Idle HTTP/1.1 connections kept per backend.
        h2_pool_max_idle_per_backend: usize = 256, positive();
        /// Maximum number of HTTP/2 connections per backend and worker; then streams wait.
        h2_connections_per_backend: usize = 2, positive();
        /// Resolves backend names again when their TTL ends, at the latest after `backend_dns_refresh_interval_ms`; `false`: on
        /// connection failure only. Earlier default: `false`.
        backend_dns_refresh_enabled: bool = true;
        /// Maximum interval between resolutions.
        backend_dns_refresh_interval_ms: Duration = millis(30_000), positive();
    }
    finalize Performance::finalize
}

impl Performance {
    /// Returns the number of data-plane threads in all for this number of `worker_threads`. `None` if there are too many.
    pub(crate) fn workers(&self, worker_threads: usize) -> Option<usize> {
        let workers = worker_threads.saturating_mul(self.packet_shards_per_worker);
        (self.packet_shards_per_worker == 1 || workers <= MAX_WORKERS).then_some(workers)
    }

    fn finalize(&mut self, mapping: &mut Mapping<'_, '_>) {
        let several = matches!(self.worker_threads, Auto::Fixed(count) if count > 1);
        mapping.require(self.reuseport || !several, &["reuseport", "worker_threads"], REUSEPORT, &[]);
        let (stream, connection) = (self.quic_initial_max_stream_data, self.quic_initial_max_data);
        mapping.require(
            stream <= connection,
            &["quic_initial_max_stream_data", "quic_initial_max_data"],
            STREAM_DATA,
            &[("a", &stream.to_string()), ("b", &connection.to_string())],
        );
        self.finalize_timeouts(mapping);
        self.finalize_prebuffer(mapping);
    }

    fn finalize_timeouts(&mut self, mapping: &mut Mapping<'_, '_>) {
        let timeout = |key: &'static str, value| Timeout::new(mapping, key, key, value);
        let ordered = Timeouts {
            connect: timeout("backend_connect_timeout_ms", self.backend_connect_timeout_ms),
            response: timeout("backend_timeout_ms", self.backend_timeout_ms),
            body_idle: timeout("backend_body_idle_timeout_ms", self.backend_body_idle_timeout_ms),
            first_byte: timeout("backend_body_total_timeout_ms", self.backend_body_total_timeout_ms),
            total: timeout("backend_total_request_timeout_ms", self.backend_total_request_timeout_ms),
        }
        .finalize(mapping);
        self.backend_connect_timeout_ms = ordered.connect.value();
        self.backend_timeout_ms = ordered.response.value();
        self.backend_body_idle_timeout_ms = ordered.body_idle.value();
        self.backend_body_total_timeout_ms = ordered.first_byte.value();
        self.backend_total_request_timeout_ms = ordered.total.value();
    }

    /// Checks that a written value does not exceed `max_response_body_bytes`; limits the default to it.
    fn finalize_prebuffer(&mut self, mapping: &mut Mapping<'_, '_>) {
        const KEY: &str = "unknown_length_response_prebuffer_bytes";
        // 0 means no limit.
        let limit = Some(self.max_response_body_bytes).filter(|limit| *limit > 0);
        let (prebuffer, most) = (self.unknown_length_response_prebuffer_bytes, limit.unwrap_or(u64::MAX));
        if mapping.written(KEY) {
            let arguments = [("a", &*prebuffer.to_string()), ("b", &*most.to_string())];
            mapping.require(prebuffer <= most, &[KEY, "max_response_body_bytes"], PREBUFFER, &arguments);
            mapping.require(false, &[KEY], NO_EFFECT, &[]);
        } else {
            self.unknown_length_response_prebuffer_bytes = prebuffer.min(most);
        }
    }
}
