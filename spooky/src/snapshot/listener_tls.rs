//! The certificates of listeners, and the keys that are derived from the first one.

use super::compile::start_error;
use crate::{start_error::StartError, state::State};
use spooky_config::{Config, Listener};
use spooky_edge::QuicKeys;
use spooky_net::tls::{CertificateFiles, ListenerTls, ListenerTlsOptions, NamedCertificate, server};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

/// Loads the certificates of a listener, and builds the TLS contexts of its QUIC and its TCP side. Returns `previous` if
/// neither the configuration nor the contents of the files have changed.
pub(crate) fn listener_tls(
    config: &Config,
    listener: &Listener,
    state: &State,
    previous: Option<&ListenerTls>,
) -> Result<ListenerTls, StartError> {
    let (default, named) = certificate_files(listener);
    let early_data = config.resilience.protocol.allow_0rtt.then(|| announced_limits(config));
    let client_auth = client_auth(listener);
    let server = server::ServerOptions { client_auth, early_data, ..server::ServerOptions::default() };
    let options = ListenerTlsOptions { section: format!("{}.tls", listener.key), default, named, server };
    ListenerTls::load(&options, &state.resumption, previous).map_err(start_error)
}

/// Identifies the limits that clients remember for early data: transport parameters and HTTP/3 settings.
fn announced_limits(config: &Config) -> server::AnnouncedLimits {
    let (performance, protocol) = (&config.performance, &config.resilience.protocol);
    let mut hasher = DefaultHasher::new();
    let streams = (performance.quic_initial_max_streams_bidi, performance.quic_initial_max_streams_uni);
    let data = (performance.quic_initial_max_data, performance.quic_initial_max_stream_data);
    let heads = (protocol.max_headers_count, protocol.max_headers_bytes, protocol.allow_websocket);
    (streams, data, performance.quic_active_migration, heads).hash(&mut hasher);
    server::AnnouncedLimits(hasher.finish())
}

/// Minimum length of `quic_secret_file`.
const MIN_SECRET_BYTES: usize = 32;

/// Derives the keys of stateless resets and tokens from `quic_secret_file`, else from the first listener's private key, so
/// that they are the same after a restart.
pub(crate) fn quic_keys(config: &Config) -> Result<QuicKeys, StartError> {
    let secret = match &config.performance.quic_secret_file {
        Some(path) => quic_secret(path)?,
        None => first_private_key(config)?,
    };
    QuicKeys::derive(&secret).ok_or_else(|| StartError("Failed to derive the QUIC keys".to_owned()))
}

fn quic_secret(path: &Path) -> Result<Vec<u8>, StartError> {
    let key = "performance.quic_secret_file";
    let secret =
        std::fs::read(path).map_err(|error| StartError(format!("Cannot read {key} '{}': {error}", path.display())))?;
    if secret.len() < MIN_SECRET_BYTES {
        let text = format!("{key} '{}' must hold at least {MIN_SECRET_BYTES} bytes", path.display());
        return Err(StartError(text));
    }
    Ok(secret)
}

/// Returns `quic_secret_file` if its content is not that from which the keys were derived at the start.
pub(crate) fn changed_quic_secret<'c>(config: &'c Config, keys: &QuicKeys) -> Option<&'c Path> {
    let path = config.performance.quic_secret_file.as_deref()?;
    let secret = quic_secret(path).ok()?;
    (!keys.is_derived_from(&secret)).then_some(path)
}

fn first_private_key(config: &Config) -> Result<Vec<u8>, StartError> {
    let first = config.listeners.first().and_then(|listener| {
        let (default, named) = certificate_files(listener);
        default.or_else(|| named.into_iter().next().map(|named| named.files))
    });
    let Some(files) = first else {
        return Err(StartError("listen.tls requires either cert/key or certificates entries".to_owned()));
    };
    files.private_key().map(|key| key.secret_der().to_vec()).map_err(start_error)
}

fn client_auth(listener: &Listener) -> server::ClientAuth {
    let auth = &listener.tls.client_auth;
    let Some(ca_file) = auth.ca_file.clone().filter(|_| auth.enabled) else { return server::ClientAuth::Off };
    let section = format!("{}.tls.client_auth", listener.key);
    let authorities = server::ClientAuthorities { section, ca_file, crl_file: auth.crl_file.clone() };
    if auth.require_client_cert {
        server::ClientAuth::Require(authorities)
    } else {
        server::ClientAuth::Request(authorities)
    }
}

/// Returns the files of the default certificate, if there is one, and of the others.
fn certificate_files(listener: &Listener) -> (Option<CertificateFiles>, Vec<NamedCertificate>) {
    let tls = &listener.tls;
    let files = |section: String, cert: &Path, key: &Path, ocsp: &Option<std::path::PathBuf>| CertificateFiles {
        section,
        cert: cert.to_owned(),
        key: key.to_owned(),
        ocsp: ocsp.clone(),
        is_client: false,
    };
    let section = format!("{}.tls", listener.key);
    let default = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => Some(files(section.clone(), cert, key, &tls.ocsp_file)),
        _ => None,
    };
    let named = tls.certificates.iter().enumerate().map(|(at, entry)| NamedCertificate {
        server_name: entry.server_name.clone(),
        files: files(format!("{section}.certificates[{at}]"), &entry.cert, &entry.key, &entry.ocsp_file),
    });
    (default, named.collect())
}
