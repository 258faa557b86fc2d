//! What an [`Edge`](crate::Edge) needs to know, and its translation for quinn-proto.

use crate::budget::ResponseBudget;
use crate::h3::SessionSettings;
use crate::limiter::ConnectionLimiter;
use crate::quic::QuicKeys;
use crate::quic::cid::{FirstCid, WorkerCids};
use crate::quic::congestion::{LastLog, PathControllerFactory};
use crate::quic::migration::NoActiveMigration;
use crate::quic::outgoing::INITIAL_BUFFER;
use crate::quic::trim_padding::TrimPadding;
use crate::quic::version::QUIC_V1;
use quinn_proto::{
    EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig, ValidationTokenConfig, VarInt,
    crypto::rustls::QuicServerConfig,
};
use spooky_bridge::message::check::{HeadLimits, RequestRules};
use std::{sync::Arc, time::Duration};

/// Size of the first packets: fits every common tunnel, and discovery raises it within a few round trips.
const INITIAL_MTU: u16 = 1350;
/// Later packets that must have arrived before one counts as lost. RFC 9002 section 6.1.1 asks for at least 3; with 12,
/// networks that reorder are not taken for networks that lose, and a real loss is still seen within a window's flight.
const PACKET_THRESHOLD: u32 = 12;
/// Round trips after which an unacknowledged packet counts as lost (RFC 9002 section 6.1.2 recommends 9/8): half a round
/// trip of patience for packets that took a longer way.
const TIME_THRESHOLD: f32 = 1.5;
/// Connections whose first packet has come and on which nothing was decided. Each is decided on at once.
const MAX_INCOMING: usize = 4096;
/// How long the token of a Retry packet proves an address; clients send it back at once (RFC 9000 section 8.1.3).
const RETRY_TOKEN_LIFETIME: Duration = Duration::from_secs(30);
/// How long a token of a `NEW_TOKEN` frame proves an address.
const ADDRESS_TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// `NEW_TOKEN` frames for each validated address: each serves one later connection.
const ADDRESS_TOKENS: u32 = 2;

/// The settings of one listener's edge on one worker.
#[derive(Clone)]
pub struct EdgeSettings {
    /// TLS 1.3 for QUIC, ALPN `h3` (from `spooky_net::tls`).
    pub tls: Arc<rustls::ServerConfig>,
    /// The certificates that it shows.
    pub certificates: Arc<spooky_net::tls::CertificateStore>,
    /// This worker's number.
    pub worker: u16,
    /// How many workers share the address, at least 1.
    pub workers: u16,
    /// `quic_max_idle_timeout_ms`.
    pub idle_timeout: Duration,
    /// `quic_initial_max_data`, bytes.
    pub max_data: u64,
    /// `quic_initial_max_stream_data`, bytes.
    pub max_stream_data: u64,
    /// `quic_initial_max_streams_bidi`.
    pub max_streams_bidi: u64,
    /// `quic_initial_max_streams_uni`.
    pub max_streams_uni: u64,
    /// Upper end of path MTU discovery: `quic_max_udp_payload_bytes`, or what the interface carries. Bytes.
    pub max_udp_payload: u16,
    /// `quic_active_migration`. Clients that are forbidden to change their address may still have it changed for them.
    pub active_migration: bool,
    /// What bounds the response bytes that wait for all clients of the process: `response_buffer_global_cap_bytes`.
    pub responses: Arc<ResponseBudget>,
    /// Bytes of interim heads that may wait for the client of one stream: `stream_buffer_bytes`.
    pub stream_buffer: usize,
    /// How long a client may acknowledge nothing of what was sent: `client_stall_timeout_ms`.
    pub stall_timeout: Duration,
    /// Limits of request heads.
    pub head_limits: HeadLimits,
    /// Rules of request heads.
    pub rules: RequestRules,
    /// How long a request stream may take to bring its head: `client_header_timeout_ms`.
    pub header_timeout: Duration,
    /// How long a handshake may take: `client_handshake_timeout_ms`.
    pub handshake_timeout: Duration,
    /// Who may open a connection.
    pub limiter: Arc<dyn ConnectionLimiter>,
    /// The keys of stateless resets and of tokens, the same for all workers.
    pub keys: QuicKeys,
}

/// Why an edge cannot be made.
#[derive(Debug)]
pub enum EdgeError {
    /// The TLS configuration has no cipher suite for QUIC's first packets.
    NoInitialCipher,
    /// A number is beyond what QUIC can carry; the key's name.
    OutOfRange(&'static str),
}

impl std::fmt::Display for EdgeError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoInitialCipher => out.write_str("TLS has no TLS13_AES_128_GCM_SHA256, which QUIC needs"),
            Self::OutOfRange(key) => write!(out, "performance.{key} is beyond the range of QUIC"),
        }
    }
}

impl std::error::Error for EdgeError {}

impl EdgeSettings {
    pub(crate) fn endpoint_config(&self, first: &FirstCid) -> EndpointConfig {
        let first = first.clone();
        let (worker, workers) = (self.worker, self.workers);
        let mut config = EndpointConfig::default();
        config.supported_versions(vec![QUIC_V1]).reset_key(self.keys.reset.clone());
        config.min_reset_interval(Duration::ZERO); // the edge has a rate of its own, with bursts
        config.cid_generator(move || Box::new(WorkerCids::new(worker, workers, first.clone())));
        config
    }

    pub(crate) fn session(&self) -> SessionSettings {
        SessionSettings {
            limits: self.head_limits,
            rules: self.rules,
            header_timeout: self.header_timeout,
            stream_window: self.max_stream_data,
            stream_buffer: self.stream_buffer,
        }
    }

    pub(crate) fn server_config(&self, log: &LastLog) -> Result<ServerConfig, EdgeError> {
        let crypto = QuicServerConfig::try_from(self.tls.clone()).map_err(|_| EdgeError::NoInitialCipher)?;
        let crypto = Arc::new(TrimPadding(Arc::new(crypto)));
        let mut config =
            ServerConfig::with_crypto(if self.active_migration { crypto } else { Arc::new(NoActiveMigration(crypto)) });
        config.transport_config(Arc::new(self.transport_config(log)?));
        config.max_incoming(MAX_INCOMING).token_key(self.keys.tokens.clone());
        config.retry_token_lifetime(RETRY_TOKEN_LIFETIME);
        let mut tokens = ValidationTokenConfig::default();
        tokens.lifetime(ADDRESS_TOKEN_LIFETIME).sent(ADDRESS_TOKENS).log(self.keys.used.clone());
        config.validation_token_config(tokens);
        Ok(config)
    }

    fn transport_config(&self, log: &LastLog) -> Result<TransportConfig, EdgeError> {
        let number = |key, value| VarInt::from_u64(value).map_err(|_| EdgeError::OutOfRange(key));
        let idle = IdleTimeout::try_from(self.idle_timeout);
        let mut mtu = MtuDiscoveryConfig::default();
        mtu.upper_bound(self.max_udp_payload);
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(number("quic_initial_max_streams_bidi", self.max_streams_bidi)?)
            .max_concurrent_uni_streams(number("quic_initial_max_streams_uni", self.max_streams_uni)?)
            .stream_receive_window(number("quic_initial_max_stream_data", self.max_stream_data)?)
            .receive_window(number("quic_initial_max_data", self.max_data)?)
            .send_window(INITIAL_BUFFER)
            .max_idle_timeout(Some(idle.map_err(|_| EdgeError::OutOfRange("quic_max_idle_timeout_ms"))?))
            .packet_threshold(PACKET_THRESHOLD)
            .time_threshold(TIME_THRESHOLD)
            .send_fairness(false) // whole answers first: fewer STREAM frames
            .initial_mtu(INITIAL_MTU.min(self.max_udp_payload).max(1200))
            .mtu_discovery_config(Some(mtu))
            .datagram_receive_buffer_size(None)
            .congestion_controller_factory(Arc::new(PathControllerFactory(log.clone())));
        Ok(transport)
    }
}
