//! TLS contexts of listeners: QUIC and TCP, client certificates, session resumption.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions, VerifierBuilderError,
    WebPkiClientVerifier,
};
use rustls::version::{TLS12, TLS13};
use rustls::{Error, ServerConfig, SupportedProtocolVersion};

use super::keylog::key_log;
use super::material::{TlsMaterialError, authorities, revocations};
pub use super::sessions::AnnouncedLimits;
use super::sessions::{NewSessions, SessionsUnderLimits};
use super::{CertificateStore, explain, has_aes, provider};

/// Maximum number of sessions kept for 0-RTT, about 1 KiB each. The oldest is evicted; its client then makes a full
/// handshake.
pub const MAX_SESSIONS: usize = 16_384;

/// Whether clients must present a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// No certificate is requested.
    #[default]
    Off,
    /// A certificate is requested; if one is sent, it must be valid.
    Request(ClientAuthorities),
    /// A certificate is required; the handshake fails without one.
    Require(ClientAuthorities),
}

/// The authorities for client certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuthorities {
    /// The configuration section, for example `listen.tls.client_auth`.
    pub section: String,
    /// PEM certificates of the authorities.
    pub ca_file: PathBuf,
    /// PEM revocation lists for the whole chain: every issuer in it needs a list.
    pub crl_file: Option<PathBuf>,
}

/// TLS options of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// Client certificates.
    pub client_auth: ClientAuth,
    /// TLS 1.3 tickets per handshake. Each costs processor time whether used or not.
    pub tickets: usize,
    /// Accept 0-RTT data over QUIC. Sessions are then kept in this process and used once each, which also prevents a
    /// replay of early data (RFC 8446 section 8.1).
    pub early_data: Option<AnnouncedLimits>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { client_auth: ClientAuth::Off, tickets: 1, early_data: None }
    }
}

/// Keys and sessions for resumption. The process shares one between all listeners and reloads, so sessions resume on
/// any worker, and between QUIC and TCP.
#[derive(Clone)]
pub struct Resumption {
    ticketer: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl Resumption {
    /// Creates keys, which are replaced every six hours, and an empty session cache.
    ///
    /// Errors: when the system provides no random bytes.
    pub fn new() -> Result<Self, TlsMaterialError> {
        Ok(Self { ticketer: Ticketer::new()?, sessions: ServerSessionMemoryCache::new(MAX_SESSIONS) })
    }
}

impl fmt::Debug for Resumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resumption")
    }
}

/// The two contexts of a listener.
#[derive(Clone, Debug)]
pub struct Contexts {
    /// TLS 1.3 with ALPN `h3`.
    pub quic: Arc<ServerConfig>,
    /// The same for clients whose address is not validated, if early data is accepted from others: it resumes nothing.
    /// Otherwise anybody could send requests with the address of somebody else.
    pub quic_unvalidated: Option<Arc<ServerConfig>>,
    /// TLS 1.3 and 1.2 with ALPN `h2` and `http/1.1`.
    pub tcp: Arc<ServerConfig>,
}

/// Builds the contexts of a listener.
///
/// A resumed session does not present its certificate again, which may have expired or been revoked. So a listener that
/// requests client certificates issues no tickets and resumes no sessions.
///
/// Errors: when the authorities or revocation lists cannot be used.
pub fn contexts(
    store: &Arc<CertificateStore>,
    options: &ServerOptions,
    shared: &Resumption,
) -> Result<Contexts, TlsMaterialError> {
    let verifier = verifier(&options.client_auth)?;
    let resumes = options.client_auth == ClientAuth::Off;
    let early_data = options.early_data.filter(|_| resumes);
    let build = |versions: &[&'static SupportedProtocolVersion],
                 protocols: &[&[u8]]|
     -> Result<ServerConfig, TlsMaterialError> {
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions)?;
        let mut config =
            builder
                .with_client_cert_verifier(Arc::clone(&verifier))
                .with_cert_resolver(Arc::<CertificateStore>::clone(store));
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        // A client that offers the cheapest suite gets it, because all suites are secure.
        config.ignore_client_order = has_aes();
        config.key_log = key_log();
        config.send_tls13_tickets = if resumes { options.tickets } else { 0 };
        let sessions = Arc::clone(&shared.sessions);
        config.session_storage = match early_data {
            Some(limits) => Arc::new(SessionsUnderLimits { limits, sessions }),
            None if resumes => sessions,
            None => Arc::new(NoServerSessionStorage {}),
        };
        // Without a ticketer, tickets refer to the session storage.
        if resumes && early_data.is_none() {
            config.ticketer = Arc::clone(&shared.ticketer);
        }
        Ok(config)
    };
    let mut quic = build(&[&TLS13], &[b"h3"])?;
    // QUIC limits early data by flow control, so all or nothing is allowed here (RFC 9001 section 4.6.1).
    quic.max_early_data_size = if early_data.is_some() { u32::MAX } else { 0 };
    let quic_unvalidated = early_data.map(|_| {
        let mut unvalidated = quic.clone();
        unvalidated.session_storage = Arc::new(NewSessions(Arc::clone(&quic.session_storage)));
        Arc::new(unvalidated)
    });
    let tcp = build(&[&TLS13, &TLS12], &[b"h2", b"http/1.1"])?;
    Ok(Contexts { quic: Arc::new(quic), quic_unvalidated, tcp: Arc::new(tcp) })
}

fn verifier(client_auth: &ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, TlsMaterialError> {
    let (authority, is_required) = match client_auth {
        ClientAuth::Off => return Ok(WebPkiClientVerifier::no_client_auth()),
        ClientAuth::Request(authority) => (authority, false),
        ClientAuth::Require(authority) => (authority, true),
    };
    let field = |name: &str| format!("{}.{name}", authority.section);
    let roots = authorities(&field("ca_file"), &authority.ca_file)?;
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    if let Some(path) = &authority.crl_file {
        builder = builder.with_crls(revocations(&field("crl_file"), path)?);
    }
    if !is_required {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| {
        let (name, path) = match &authority.crl_file {
            Some(path) => ("crl_file", path),
            None => ("ca_file", &authority.ca_file),
        };
        let reason = match error {
            VerifierBuilderError::InvalidCrl(error) => explain(&Error::InvalidCertRevocationList(error)),
            error => error.to_string(),
        };
        TlsMaterialError::Unusable(field(name), path.clone(), reason)
    })
}
