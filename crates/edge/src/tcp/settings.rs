//! Settings of a [`TcpEdge`](super::TcpEdge).

use super::{count::ConnectionCount, protocol::SessionSettings};
use crate::{budget::ResponseBudget, limiter::ConnectionLimiter};
use rustls::ServerConfig;
use spooky_bridge::{
    h1::Scheme,
    message::check::{HeadLimits, RequestRules},
};
use spooky_config::Network;
use spooky_net::tls::CertificateStore;
use spooky_telemetry::metrics::ClientCounts;
use std::{net::IpAddr, os::fd::RawFd, sync::Arc, time::Duration};

/// Settings of one listener's TCP clients on one worker.
#[derive(Clone)]
pub struct TcpSettings {
    /// TLS 1.3 and 1.2, ALPN `h2` and `http/1.1` (from `spooky_net::tls`). `None` for HTTP/1.1 in cleartext.
    pub tls: Option<Arc<ServerConfig>>,
    /// The certificates.
    pub certificates: Arc<CertificateStore>,
    /// Number of the worker.
    pub worker: u16,
    /// `tcp.proxy_protocol.trusted_sources`; empty if no header is expected.
    pub proxy_sources: Arc<[Network]>,
    /// `tcp.max_connections`, shared by the workers of the listener.
    pub connections: Arc<ConnectionCount>,
    /// Connections with a file descriptor of this number or more are refused. As the kernel gives the lowest free number, the
    /// others are left for backends and files.
    pub max_descriptor: RawFd,
    /// `client_handshake_timeout_ms`.
    pub handshake_timeout: Duration,
    /// `client_header_timeout_ms`.
    pub header_timeout: Duration,
    /// `tcp_idle_timeout_ms`.
    pub idle_timeout: Duration,
    /// `client_stall_timeout_ms`: maximum time in which a client takes nothing of what waits for it.
    pub stall_timeout: Duration,
    /// Concurrent requests of an HTTP/2 connection.
    pub max_streams: u32,
    /// `stream_buffer_bytes`: limit of the received and unread bytes of a request, and of waiting interim heads.
    pub stream_buffer: usize,
    /// `response_buffer_global_cap_bytes`: the budget of all buffered response bytes.
    pub responses: Arc<ResponseBudget>,
    /// Limits of request heads.
    pub head_limits: HeadLimits,
    /// Rules of request heads. The protocol is that of each connection.
    pub rules: RequestRules,
    /// Decides on new connections.
    pub limiter: Arc<dyn ConnectionLimiter>,
    /// Where connections are counted: one object for each worker.
    pub counts: ClientCounts,
}

impl TcpSettings {
    pub(super) fn session(&self) -> SessionSettings {
        SessionSettings {
            limits: self.head_limits,
            rules: self.rules,
            scheme: if self.tls.is_some() { Scheme::Https } else { Scheme::Http },
            max_streams: self.max_streams,
            stream_buffer: self.stream_buffer,
            counts: self.counts.clone(),
        }
    }

    pub(super) fn time_limits(&self) -> TimeLimits {
        TimeLimits { header: self.header_timeout, idle: self.idle_timeout, stall: self.stall_timeout }
    }

    /// Returns whether connections from this address begin with a PROXY header.
    pub(super) fn is_proxied(&self, source: IpAddr) -> bool {
        self.proxy_sources.iter().any(|network| network.contains(source))
    }
}

/// The time limits of a connection.
#[derive(Clone, Copy)]
pub(super) struct TimeLimits {
    pub(super) header: Duration,
    pub(super) idle: Duration,
    pub(super) stall: Duration,
}
