//! What the owner of a [`crate::Transport`] decides: limits, intervals, and one [`BackendSpec`] per backend.
//!
//! Plain data, already checked by the configuration; nothing here is read from a file.

use std::{sync::Arc, time::Duration};

use rustls::{ClientConfig, pki_types::ServerName};

/// Settings that hold for every backend.
#[derive(Clone, Debug)]
pub struct Options {
    /// HTTP/2 connections that may take requests, per backend (`h2_connections_per_backend`); at least one is assumed.
    pub connections_per_backend: usize,
    /// With this many streams on the least busy connection another one is opened, as far as the number above allows. Without
    /// it that happens only when no connection can take the request.
    pub spread_at: Option<usize>,
    /// Requests of one backend that may wait for a connection or a free stream.
    pub max_waiting: usize,
    /// How long a connection without streams is kept (`h2_pool_idle_timeout_ms`).
    pub idle_timeout: Duration,
    /// Silence on a connection with streams before a PING is sent (`h2_keepalive_interval_ms`); `None` = never.
    pub keepalive_interval: Option<Duration>,
    /// Silence after that PING before the connection is given up.
    pub keepalive_timeout: Duration,
    /// Response bytes that a backend may send on a stream before it is known how fast the client takes them, until
    /// [`crate::Transport::set_stream_window`] says otherwise.
    pub stream_window: u32,
    /// Response bytes that one stream may hold at most (`stream_buffer_bytes`).
    pub max_stream_window: u32,
    /// Response bytes on the wire over all streams of one connection.
    pub connection_window: u32,
    /// Largest head of a response: names, values and 32 bytes for each field (`max_response_headers_bytes`).
    pub max_header_bytes: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_per_backend: 2,
            spread_at: None,
            max_waiting: 4096,
            idle_timeout: Duration::from_secs(90),
            keepalive_interval: Some(Duration::from_secs(20)),
            keepalive_timeout: Duration::from_secs(10),
            stream_window: 128 * 1024,
            max_stream_window: 128 * 1024,
            connection_window: 16 * 1024 * 1024,
            max_header_bytes: 65_536,
        }
    }
}

/// How the bytes travel to a backend.
#[derive(Clone, Debug)]
pub enum Scheme {
    /// Cleartext; the peer is known to speak HTTP/2 (RFC 9113 3.3).
    Http,
    /// TLS.
    Https {
        /// Trust, client certificate and session store; ALPN is set by the transport.
        tls: Arc<ClientConfig>,
        /// The name for SNI and for the check of the certificate.
        server_name: ServerName<'static>,
    },
    /// Detected by the first connection: TLS, or cleartext where the peer answers a `ClientHello` with anything but TLS or
    /// closes without an answer. Remembered until an attempt fails. `:scheme` of requests is then that of the connection.
    Detect {
        /// As above; it should check nothing, for cleartext checks nothing either.
        tls: Arc<ClientConfig>,
        /// The name for SNI.
        server_name: ServerName<'static>,
    },
}

impl Scheme {
    /// Whether connections of `self` may serve `other`: the same transport with the very same TLS settings.
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

/// What is spoken with a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/2: by ALPN on TLS, with prior knowledge on cleartext.
    H2,
}

/// One backend as configured.
#[derive(Clone, Debug)]
pub struct BackendSpec {
    /// DNS name or IP literal, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Cleartext, TLS, or whichever is detected.
    pub scheme: Scheme,
    /// What is spoken.
    pub protocol: Protocol,
    /// Bound of one attempt: name, TCP, TLS and the peer's SETTINGS, over all addresses (`backend_connect_timeout_ms`).
    pub connect_timeout: Duration,
}

impl BackendSpec {
    /// Whether both are one origin: connections to the one may serve the other.
    pub fn is_same_origin(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && self.host.eq_ignore_ascii_case(&other.host)
            && self.scheme.agrees_with(&other.scheme)
    }
}
