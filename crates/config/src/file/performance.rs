//! `performance`: threads, sockets, QUIC, timeouts, limits. All limits hold for the whole process.

use std::path::PathBuf;
use std::time::Duration;

use super::order::{ORDER, Timeout, Timeouts};
use crate::problem::Code;
use crate::spec::Scope;
use crate::spec::block::block;
use crate::spec::key::is_written;
use crate::spec::text::{Text, text};
use crate::spec::words::words;
use crate::value::number::Auto;
use crate::value::quantity::millis;
use crate::world::texts;

pub(crate) const REUSEPORT: Text = text("performance.reuseport must be true when performance.worker_threads > 1")
    .code(Code::UnsupportedPolicyCombination);
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

words! {
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
        /// Data-plane threads; `auto` = cores this process may use (affinity and cgroup quota).
        worker_threads: Auto<usize> = Auto::Auto, positive(), restart();
        /// Threads for metrics, control API, probes, DNS and exporters; never request traffic.
        control_plane_threads: usize = 2, positive(), restart();
        /// Data-plane threads per worker socket.
        packet_shards_per_worker: usize = 1, positive(), restart();
        /// Datagrams in the inbox of a worker for packets that arrive at other workers.
        packet_shard_queue_capacity: usize = 2048, positive(), restart();
        /// Bytes in that inbox.
        packet_shard_queue_max_bytes: u64 = 67_108_864, positive(), restart();
        /// One UDP socket for each worker. `false` needs `worker_threads: 1`, or a process with one core.
        reuseport: bool = true, says(REUSEPORT), restart();
        /// Worker i on allowed core i modulo their number.
        pin_workers: bool = false, restart();
        /// Receive buffer of each UDP socket; the granted size is exported, a smaller grant is one warning.
        udp_recv_buffer_bytes: u64 = 8_388_608, positive(), restart();
        /// Send buffer of each UDP socket.
        udp_send_buffer_bytes: u64 = 8_388_608, positive(), restart();
        /// A connection without packets ends after this. Earlier default: 5 s.
        quic_max_idle_timeout_ms: Duration = millis(30_000), positive();
        /// Flow-control window of a connection.
        quic_initial_max_data: u64 = 10_000_000, positive();
        /// Flow-control window of a stream.
        quic_initial_max_stream_data: u64 = 1_000_000, positive(), says(STREAM_DATA);
        /// Concurrent request streams of a connection.
        quic_initial_max_streams_bidi: usize = 100, positive();
        /// Unidirectional streams of a connection.
        quic_initial_max_streams_uni: usize = 100, positive(), range(3, i128::MAX, STREAMS_UNI);
        /// Upper end of path MTU discovery. `auto` = MTU of the interface that the connection uses, less IP and UDP
        /// headers, at most 16384: 1472 or 1452 on Ethernet, more on jumbo networks and loopback.
        quic_max_udp_payload_bytes: Auto<u64> = Auto::Auto, range(1200, 65_527, UDP_PAYLOAD);
        /// `false` only forbids deliberate migration; NAT rebinding always works.
        quic_active_migration: bool = true;
        /// `auto` validates addresses by Retry from `quic_retry_handshakes` on; `always`; `off`.
        quic_retry: QuicRetry = QuicRetry::Auto;
        /// Incomplete handshakes of the process from which on new clients prove their address first. Handshakes without
        /// that proof do not count for `max_active_connections` and `max_connections_per_ip`.
        quic_retry_handshakes: usize = 256, positive();
        /// File of at least 32 bytes from which the keys of stateless resets, Retry and address tokens are derived. None:
        /// derived from the private key of the first listener.
        quic_secret_file: Option<PathBuf> = None, holds(is_written, SECRET_EMPTY), says(texts::FILE_MISSING),
            says(texts::FILE_UNREADABLE), says(texts::SECRET_SHORT), restart();
        /// Rate of new connections: refill of the token bucket.
        new_connections_per_sec: usize = 2000, positive();
        /// Size of that bucket.
        new_connections_burst: usize = 500, positive();
        /// Connections in the process.
        max_active_connections: usize = 20_000, positive();
        /// Connections of one client address, QUIC and TCP together; 0 = no limit. An IPv6 network of 64 bits counts as one
        /// address.
        max_connections_per_ip: usize = 0;
        /// How long open requests may take to finish when the process stops.
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
        backend_connect_timeout_ms: Duration = millis(2000), positive(), says(ORDER);
        /// Maximum time to the response head. Earlier default: 2 s.
        backend_timeout_ms: Duration = millis(30_000), positive(), says(ORDER);
        /// Maximum pause of a backend within a response body. Earlier default: 2 s.
        backend_body_idle_timeout_ms: Duration = millis(30_000), positive(), says(ORDER);
        /// Maximum time from the response head to the first byte of its body. Earlier default: 30 s.
        backend_body_total_timeout_ms: Duration = millis(60_000), positive(), says(ORDER);
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
        /// Other name of `resilience.route_queue.max_wait_ms`; not both.
        inflight_acquire_wait_ms: Option<Duration> = None, says(WAIT_TWICE);

        /// Requests in flight in the process.
        global_inflight_limit: usize = 4096, positive();
        /// Requests in flight of each upstream.
        per_upstream_inflight_limit: usize = 1024, positive();
        /// Requests in flight of each backend of each upstream. Earlier default: 64.
        per_backend_inflight_limit: usize = 256, positive();
        /// Largest request body; independent of the QUIC windows.
        max_request_body_bytes: u64 = 1_000_000, positive();
        /// Largest response body; 0 = unlimited, because it is streamed. Earlier default: 100 MiB.
        max_response_body_bytes: u64 = 0;
        /// Largest response head: names plus values plus 32 for each field. There is no other limit on a response head.
        max_response_headers_bytes: u64 = 65_536, positive();
        /// Request bytes received and not yet taken by a backend, whole process.
        request_buffer_global_cap_bytes: u64 = 67_108_864, positive();
        /// Response bytes handed to QUIC or TCP and not acknowledged, whole process. At the cap windows stop growing and
        /// backends are read no faster than clients acknowledge.
        response_buffer_global_cap_bytes: u64 = 268_435_456, positive();
        /// Share of an upstream's or backend's limit that one client connection may use; 100 = no bound.
        max_client_share_percent: u8 = 50, positive(), range(1, 100, CLIENT_SHARE);
        /// Bytes held for one stream in one direction.
        stream_buffer_bytes: u64 = 262_144, positive();
        /// Accepted, without effect: nothing is prebuffered.
        unknown_length_response_prebuffer_bytes: u64 = 2_097_152, says(PREBUFFER), says(NO_EFFECT);
        /// Idle HTTP/1.1 connections kept per backend.
        h2_pool_max_idle_per_backend: usize = 256, positive();
        /// HTTP/2 connections per backend and worker before streams wait.
        h2_connections_per_backend: usize = 2, positive();
        /// Resolve backend names again when their TTL ends, at the latest after the interval below; `false`: on connection
        /// failure only. Earlier default: `false`.
        backend_dns_refresh_enabled: bool = true;
        /// That interval.
        backend_dns_refresh_interval_ms: Duration = millis(30_000), positive();
    }
    settle Performance::settle
}

impl Performance {
    fn settle(&mut self, scope: &mut Scope<'_, '_>) {
        let several = matches!(self.worker_threads, Auto::Fixed(count) if count > 1);
        scope.require(self.reuseport || !several, &["reuseport", "worker_threads"], REUSEPORT, &[]);
        let (stream, connection) = (self.quic_initial_max_stream_data, self.quic_initial_max_data);
        scope.require(
            stream <= connection,
            &["quic_initial_max_stream_data", "quic_initial_max_data"],
            STREAM_DATA,
            &[("a", &stream.to_string()), ("b", &connection.to_string())],
        );
        self.settle_timeouts(scope);
        self.settle_prebuffer(scope);
    }

    fn settle_timeouts(&mut self, scope: &mut Scope<'_, '_>) {
        let timeout = |key: &'static str, value| Timeout::new(scope, key, key, value);
        let ordered = Timeouts {
            connect: timeout("backend_connect_timeout_ms", self.backend_connect_timeout_ms),
            response: timeout("backend_timeout_ms", self.backend_timeout_ms),
            body_idle: timeout("backend_body_idle_timeout_ms", self.backend_body_idle_timeout_ms),
            first_byte: timeout("backend_body_total_timeout_ms", self.backend_body_total_timeout_ms),
            total: timeout("backend_total_request_timeout_ms", self.backend_total_request_timeout_ms),
        }
        .settle(scope);
        self.backend_connect_timeout_ms = ordered.connect.value();
        self.backend_timeout_ms = ordered.response.value();
        self.backend_body_idle_timeout_ms = ordered.body_idle.value();
        self.backend_body_total_timeout_ms = ordered.first_byte.value();
        self.backend_total_request_timeout_ms = ordered.total.value();
    }

    /// A written value must not exceed a written `max_response_body_bytes`; the default gives way to it.
    fn settle_prebuffer(&mut self, scope: &mut Scope<'_, '_>) {
        const KEY: &str = "unknown_length_response_prebuffer_bytes";
        // 0 is no limit.
        let limit = Some(self.max_response_body_bytes).filter(|limit| *limit > 0);
        let (prebuffer, most) = (self.unknown_length_response_prebuffer_bytes, limit.unwrap_or(u64::MAX));
        if scope.written(KEY) {
            let arguments = [("a", &*prebuffer.to_string()), ("b", &*most.to_string())];
            scope.require(prebuffer <= most, &[KEY, "max_response_body_bytes"], PREBUFFER, &arguments);
            scope.require(false, &[KEY], NO_EFFECT, &[]);
        } else {
            self.unknown_length_response_prebuffer_bytes = prebuffer.min(most);
        }
    }
}
