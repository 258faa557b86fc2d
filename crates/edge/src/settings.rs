//! Settings of an [`Edge`](crate::Edge), and their translation to quinn-proto's.

use crate::budget::ResponseBudget;
use crate::h3::SessionSettings;
use crate::limiter::ConnectionLimiter;
use crate::quic::QuicKeys;
use crate::quic::cid::{FirstCid, WorkerCids};
use crate::quic::congestion::{LastLog, PathControllerFactory};
use crate::quic::migration::NoActiveMigration;
use crate::quic::outgoing::INITIAL_BUFFER;
use crate::quic::qlog::Qlog;
use crate::quic::trim_padding::TrimPadding;
use crate::quic::version::QUIC_V1;
use quinn_proto::{
    EndpointConfig, IdleTimeout, Incoming, MtuDiscoveryConfig, ServerConfig, TransportConfig, ValidationTokenConfig,
    VarInt, crypto::rustls::QuicServerConfig,
};
use spooky_bridge::message::check::{HeadLimits, RequestRules};
use spooky_net::steer::ProcessNumber;
use spooky_telemetry::{QlogFiles, metrics::ClientCounts};
use std::{sync::Arc, time::Duration};

/// Initial packet size: fits every common tunnel; path MTU discovery raises it within a few round trips.
const INITIAL_MTU: u16 = 1350;
/// Later packets that must be acknowledged before one counts as lost. RFC 9002 section 6.1.1 asks for at least 3; with 12,
/// reordering is not taken for loss, and a real loss is still detected within one window.
const PACKET_THRESHOLD: u32 = 12;
/// Round trips after which an unacknowledged packet counts as lost. RFC 9002 section 6.1.2 recommends 9/8; the rest is for
/// packets that are reordered.
const TIME_THRESHOLD: f32 = 1.5;
/// Connections that wait for a decision. Each is decided on at once.
const MAX_INCOMING: usize = 4096;
/// Lifetime of the token of a Retry packet; clients return it at once (RFC 9000 section 8.1.3).
const RETRY_TOKEN_LIFETIME: Duration = Duration::from_secs(30);
/// Lifetime of the token of a `NEW_TOKEN` frame.
const ADDRESS_TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// `NEW_TOKEN` frames for each validated address: each serves one later connection.
const ADDRESS_TOKENS: u32 = 2;

/// Settings of one listener's edge on one worker.
#[derive(Clone)]
pub struct EdgeSettings {
    /// TLS 1.3 for QUIC, ALPN `h3` (from `spooky_net::tls`).
    pub tls: Arc<rustls::ServerConfig>,
    /// The same for clients whose address is not validated; `None` if they get `tls` too. Must not accept early data.
    pub tls_unvalidated: Option<Arc<rustls::ServerConfig>>,
    /// The certificates.
    pub certificates: Arc<spooky_net::tls::CertificateStore>,
    /// Number of the worker.
    pub worker: u16,
    /// Number of workers that share the address, at least 1.
    pub workers: u16,
    /// Number of the process among those that share the address after upgrades.
    pub process: ProcessNumber,
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
    /// Maximum of path MTU discovery, bytes: `quic_max_udp_payload_bytes`, or the MTU of the interface.
    pub max_udp_payload: u16,
    /// `quic_active_migration`. If false, clients may still change their address involuntarily (NAT rebinding).
    pub active_migration: bool,
    /// `response_buffer_global_cap_bytes`: the budget of all buffered response bytes.
    pub responses: Arc<ResponseBudget>,
    /// `stream_buffer_bytes`: limit of interim heads that are buffered for one stream.
    pub stream_buffer: usize,
    /// `client_stall_timeout_ms`: maximum time without acknowledgement of data that was sent.
    pub stall_timeout: Duration,
    /// Limits of request heads.
    pub head_limits: HeadLimits,
    /// Rules of request heads.
    pub rules: RequestRules,
    /// `client_header_timeout_ms`.
    pub header_timeout: Duration,
    /// `client_handshake_timeout_ms`.
    pub handshake_timeout: Duration,
    /// Decides on new connections.
    pub limiter: Arc<dyn ConnectionLimiter>,
    /// Keys of stateless resets and tokens, the same for all workers.
    pub keys: QuicKeys,
    /// `log.qlog_dir`: a file for each connection.
    pub qlog: Option<QlogFiles>,
    /// Where connections are counted: one object for each worker.
    pub counts: ClientCounts,
}

/// The configurations of connections.
pub(crate) struct ServerConfigs {
    pub(crate) validated: Arc<ServerConfig>,
    /// `None` if it is the same.
    pub(crate) unvalidated: Option<Arc<ServerConfig>>,
    /// Set if each connection has a configuration of its own, for its qlog file.
    qlog: Option<Box<Qlog>>,
}

impl ServerConfigs {
    /// Returns the configuration for a new connection.
    pub(crate) fn of(&self, incoming: &Incoming) -> Arc<ServerConfig> {
        let is_validated = incoming.remote_address_validated();
        let config = self.unvalidated.as_ref().filter(|_| !is_validated).unwrap_or(&self.validated);
        match &self.qlog {
            None => config.clone(),
            Some(qlog) => qlog.config(config, *incoming.orig_dst_cid()),
        }
    }
}

/// Why an edge cannot be created.
#[derive(Debug)]
pub enum EdgeError {
    /// The TLS configuration has no cipher suite for Initial packets.
    NoInitialCipher,
    /// The value of this key exceeds the range of QUIC integers.
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
        let (first, counts) = (first.clone(), self.counts.worker.clone());
        let (worker, workers, process) = (self.worker, self.workers, self.process);
        let mut config = EndpointConfig::default();
        config.supported_versions(vec![QUIC_V1]).reset_key(self.keys.reset.clone());
        config.min_reset_interval(Duration::ZERO); // `ResetRate` limits resets instead, with bursts
        config
            .cid_generator(move || Box::new(WorkerCids::new(worker, workers, process, first.clone(), counts.clone())));
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

    pub(crate) fn server_configs(&self, log: &LastLog) -> Result<ServerConfigs, EdgeError> {
        let unvalidated = self.tls_unvalidated.as_ref().map(|tls| self.server_config(tls, log).map(Arc::new));
        Ok(ServerConfigs {
            validated: Arc::new(self.server_config(&self.tls, log)?),
            unvalidated: unvalidated.transpose()?,
            qlog: self.qlog.clone().map(|files| {
                let (settings, log) = (self.clone(), log.clone());
                Box::new(Qlog::new(files, move || settings.transport_config(&log).ok()))
            }),
        })
    }

    pub(crate) fn server_config(
        &self,
        tls: &Arc<rustls::ServerConfig>,
        log: &LastLog,
    ) -> Result<ServerConfig, EdgeError> {
        let crypto = QuicServerConfig::try_from(tls.clone()).map_err(|_| EdgeError::NoInitialCipher)?;
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

    pub(crate) fn transport_config(&self, log: &LastLog) -> Result<TransportConfig, EdgeError> {
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
            .send_fairness(false) // one response after another: fewer STREAM frames
            .initial_mtu(INITIAL_MTU.min(self.max_udp_payload).max(1200))
            .mtu_discovery_config(Some(mtu))
            .datagram_receive_buffer_size(None)
            .congestion_controller_factory(Arc::new(PathControllerFactory(log.clone())));
        Ok(transport)
    }
}
