//! Settings of a [`crate::Transport`]: limits, intervals, and one [`BackendSpec`] per backend.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::{ClientConfig, pki_types::ServerName};

/// Settings for all backends.
#[derive(Clone, Debug)]
pub struct Options {
    /// Maximum number of HTTP/2 connections per backend that take requests (`h2_connections_per_backend`); 0 counts as 1.
    pub connections_per_backend: usize,
    /// Maximum number of idle HTTP/1.1 connections per backend, over all transports that share an [`IdleCount`]
    /// (`h2_pool_max_idle_per_backend`).
    pub max_idle_per_backend: usize,
    /// Number of the first attempt to connect to a backend. If a name has several addresses, it selects the first to be tried;
    /// different for each worker.
    pub first_turn: usize,
    /// Number of streams on the least busy connection from which another connection is opened. With `None` that happens only
    /// when no connection can take the request.
    pub spread_at: Option<usize>,
    /// Maximum number of requests per backend that wait for a connection or a free stream.
    pub max_waiting: usize,
    /// How long a connection without streams is kept (`h2_pool_idle_timeout_ms`).
    pub idle_timeout: Duration,
    /// Silence on a connection with streams before a PING is sent (`h2_keepalive_interval_ms`); `None` = never.
    pub keepalive_interval: Option<Duration>,
    /// Silence after that PING before the connection is closed.
    pub keepalive_timeout: Duration,
    /// Initial window of a response, in bytes, until [`crate::Transport::set_initial_window`] changes it.
    pub stream_window: u32,
    /// Maximum window of a response, in bytes (`stream_buffer_bytes`).
    pub max_stream_window: u32,
    /// Window of a connection, in bytes.
    pub connection_window: u32,
    /// Maximum size of a response head: names, values and 32 bytes for each field (`max_response_headers_bytes`).
    pub max_header_bytes: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_per_backend: 2,
            max_idle_per_backend: 256,
            first_turn: 0,
            spread_at: None,
            max_waiting: 4096,
            idle_timeout: Duration::from_secs(90),
            keepalive_interval: Some(Duration::from_secs(20)),
            keepalive_timeout: Duration::from_secs(10),
            stream_window: 128 * 1024,
            max_stream_window: 256 * 1024,
            connection_window: 16 * 1024 * 1024,
            max_header_bytes: 65_536,
        }
    }
}

/// Transport security of the connections to a backend.
#[derive(Clone, Debug)]
pub enum Scheme {
    /// Cleartext.
    Http,
    /// TLS.
    Https {
        /// Trust anchors, client certificate and session store; the transport sets ALPN.
        tls: Arc<ClientConfig>,
        /// The name for SNI and for certificate verification.
        server_name: ServerName<'static>,
    },
    /// Detected by the first connection: TLS, or cleartext if the peer answers the `ClientHello` with anything but TLS or
    /// closes without an answer. The result is kept until an attempt fails. The transport sets `:scheme` accordingly.
    Detect {
        /// As in [`Scheme::Https`]. It should not verify certificates: cleartext verifies nothing either.
        tls: Arc<ClientConfig>,
        /// The name for SNI.
        server_name: ServerName<'static>,
    },
}

impl Scheme {
    /// Returns whether both have the same kind and the same TLS context, so that connections can be shared.
    fn agrees_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http, Self::Http) => true,
            (Self::Https { tls: a, server_name: a_name }, Self::Https { tls: b, server_name: b_name })
            | (Self::Detect { tls: a, server_name: a_name }, Self::Detect { tls: b, server_name: b_name }) => {
                Arc::ptr_eq(a, b) && a_name == b_name
            }
            _ => false,
        }
    }
}

/// The HTTP version that is used with a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/2: by ALPN on TLS, with prior knowledge on cleartext (RFC 9113 section 3.3).
    H2,
    /// HTTP/1.1. On TLS, ALPN offers only `http/1.1`; a peer without ALPN is accepted.
    Http1,
    /// On TLS what ALPN selects; HTTP/1.1 if nothing. On cleartext, the first connection sends the HTTP/2 preface and
    /// SETTINGS. If the peer's SETTINGS do not arrive, HTTP/1.1 is used on a new connection. The result is kept until a
    /// connection attempt fails.
    Auto,
}

/// Number of idle HTTP/1.1 connections to one backend. Shared by the transports of all workers.
#[derive(Debug, Default)]
pub struct IdleCount(AtomicUsize);

impl IdleCount {
    /// Counts one more connection. Returns false, changing nothing, if there are `most` already.
    pub(crate) fn add(&self, most: usize) -> bool {
        let more = |count| (count < most).then_some(count + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(crate) fn subtract(&self, connections: usize) {
        self.0.fetch_sub(connections, Ordering::Relaxed);
    }
}

/// One backend as configured.
#[derive(Clone, Debug)]
pub struct BackendSpec {
    /// DNS name or IP literal, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Cleartext, TLS, or detection.
    pub scheme: Scheme,
    /// The HTTP version.
    pub protocol: Protocol,
    /// The number of idle connections, shared with the transports of other workers.
    pub idle: Arc<IdleCount>,
    /// Limit for one connection attempt, over all addresses: resolution, TCP, TLS and the peer's SETTINGS
    /// (`backend_connect_timeout_ms`).
    pub connect_timeout: Duration,
}

impl BackendSpec {
    /// Returns whether both name one origin, so that connections can be shared.
    pub fn is_same_origin(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && self.host.eq_ignore_ascii_case(&other.host)
            && self.scheme.agrees_with(&other.scheme)
    }
}
