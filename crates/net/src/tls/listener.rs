//! Everything that a listener needs for TLS, built from its files in one step. QUIC and TCP use the same certificates,
//! and a reload replaces both at once.

use std::path::PathBuf;
use std::sync::Arc;

use super::material::fingerprint;
use super::server::{ClientAuth, Contexts, Resumption, ServerOptions, contexts};
use super::{CertificateFiles, CertificateStore, NamedCertificate, TlsMaterialError};

/// What the TLS of a listener is built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTlsOptions {
    /// The configuration section, for example `listen.tls`.
    pub section: String,
    /// The default certificate.
    pub default: Option<CertificateFiles>,
    /// Further certificates, selected by SNI.
    pub named: Vec<NamedCertificate>,
    /// Client certificates, tickets and early data.
    pub server: ServerOptions,
}

/// The certificates of a listener and its contexts for QUIC and TCP. Immutable: a reload builds another one.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    /// The certificates.
    pub certificates: Arc<CertificateStore>,
    /// The contexts, which select among the certificates.
    pub contexts: Contexts,
    fingerprint: u64,
}

impl ListenerTls {
    /// Loads the files. Returns `previous` if neither the options nor the contents of the files have changed.
    ///
    /// Errors: when a file cannot be used.
    pub fn load(
        options: &ListenerTlsOptions,
        shared: &Resumption,
        previous: Option<&Self>,
    ) -> Result<Self, TlsMaterialError> {
        // Before the files are loaded, so that a change in between is noticed by the next reload.
        let fingerprint = fingerprint(options, options.files());
        if let Some(kept) = previous.filter(|previous| previous.fingerprint == fingerprint) {
            return Ok(kept.clone());
        }
        let store = CertificateStore::load(&options.section, options.default.as_ref(), &options.named)?;
        let certificates = Arc::new(store.continuing(previous.map(|previous| &*previous.certificates)));
        let contexts = contexts(&certificates, &options.server, shared)?;
        Ok(Self { certificates, contexts, fingerprint })
    }

    /// Returns whether both were loaded from the same options and contents.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.certificates, &other.certificates)
    }
}

impl ListenerTlsOptions {
    fn files(&self) -> Vec<PathBuf> {
        let pairs = self.default.iter().chain(self.named.iter().map(|named| &named.files));
        let mut files: Vec<_> =
            pairs.flat_map(|pair| [Some(&pair.cert), Some(&pair.key), pair.ocsp.as_ref()]).flatten().cloned().collect();
        if let ClientAuth::Request(authorities) | ClientAuth::Require(authorities) = &self.server.client_auth {
            files.push(authorities.ca_file.clone());
            files.extend(authorities.crl_file.clone());
        }
        files
    }
}
