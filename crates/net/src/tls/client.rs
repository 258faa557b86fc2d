//! TLS contexts for connections to backends: trusted authorities, client certificates.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};

use super::keylog::key_log;
use super::material::{CertificateFiles, TlsMaterialError, authorities, authorities_if_any, fingerprint};
use super::provider;
use super::verify::{AnyCertificate, AnyName};

/// TLS options of connections to backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTlsOptions {
    /// The configuration section, for error texts: `upstream_tls` or `upstream.<u>.tls`.
    pub section: String,
    /// Check chain and name. If false, any certificate is accepted, but the peer must have its key.
    pub verify_certificates: bool,
    /// Check the name. If false, only the chain is checked.
    pub strict_sni: bool,
    /// PEM certificates of trusted authorities.
    pub ca_file: Option<PathBuf>,
    /// Directory of PEM files (`.pem`, `.crt`, `.cer`) of trusted authorities.
    pub ca_dir: Option<PathBuf>,
    /// Also trust the authorities that the system trusts.
    pub use_system_roots: bool,
    /// Certificate for backends that request one; set together with `client_key`.
    pub client_cert: Option<PathBuf>,
    /// Key of `client_cert`.
    pub client_key: Option<PathBuf>,
}

impl Default for ClientTlsOptions {
    fn default() -> Self {
        Self {
            section: "upstream_tls".to_owned(),
            verify_certificates: true,
            strict_sni: true,
            ca_file: None,
            ca_dir: None,
            use_system_roots: true,
            client_cert: None,
            client_key: None,
        }
    }
}

impl ClientTlsOptions {
    fn field(&self, name: &str) -> String {
        format!("{}.{name}", self.section)
    }

    /// Returns a number that changes if these options or the contents of their files change. A reload keeps the
    /// context, and with it the connections, of backends with an unchanged number.
    pub fn fingerprint(&self) -> u64 {
        let files = [&self.ca_file, &self.client_cert, &self.client_key].into_iter().flatten().cloned();
        fingerprint(self, files.chain(self.ca_dir.as_deref().map(pem_files).unwrap_or_default()))
    }

    fn certificate(&self) -> Option<CertificateFiles> {
        let (cert, key) = (self.client_cert.clone()?, self.client_key.clone()?);
        Some(CertificateFiles { section: self.section.clone(), cert, key, ocsp: None, is_client: true })
    }
}

/// Builds the context for connections to backends, without ALPN. Workers share it, because sessions resume within one
/// context.
///
/// Errors: when a file or directory cannot be used, or certificates are to be verified without a trusted authority.
pub fn config(options: &ClientTlsOptions) -> Result<Arc<ClientConfig>, TlsMaterialError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13, &TLS12])?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier(options)?);
    let mut config = match options.certificate() {
        Some(files) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(files.load()?))),
        None => builder.with_no_client_auth(),
    };
    config.key_log = key_log();
    Ok(Arc::new(config))
}

fn verifier(options: &ClientTlsOptions) -> Result<Arc<dyn ServerCertVerifier>, TlsMaterialError> {
    let roots = roots(options)?;
    if !options.verify_certificates {
        return Ok(Arc::new(AnyCertificate(provider())));
    }
    if roots.is_empty() {
        return Err(TlsMaterialError::NoTrustAnchor(options.section.clone()));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
    Ok(if options.strict_sni { verifier } else { Arc::new(AnyName(verifier)) })
}

/// Collects the trusted authorities. All of those in the configuration must be usable; unusable ones of the system are
/// skipped.
fn roots(options: &ClientTlsOptions) -> Result<RootCertStore, TlsMaterialError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &options.ca_file {
        roots.extend(authorities(&options.field("ca_file"), path)?.roots);
    }
    if let Some(path) = &options.ca_dir {
        roots.extend(directory(&options.field("ca_dir"), path)?.roots);
    }
    if options.use_system_roots && options.verify_certificates {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(roots)
}

/// Reads the authorities in all PEM files of a directory, at least one. Skips files without PEM blocks.
fn directory(field: &str, path: &Path) -> Result<RootCertStore, TlsMaterialError> {
    let (field, owned) = (field.to_owned(), path.to_owned());
    match fs::metadata(path) {
        Err(_) => return Err(TlsMaterialError::AuthorityMissing(field, owned)),
        Ok(metadata) if !metadata.is_dir() => return Err(TlsMaterialError::NotADirectory(field, owned)),
        Ok(_) => {}
    }
    let mut found = RootCertStore::empty();
    for file in pem_files(path) {
        found.extend(authorities_if_any(&field, &file)?.roots);
    }
    if found.is_empty() {
        return Err(TlsMaterialError::EmptyDirectory(field, owned));
    }
    Ok(found)
}

/// Returns the files of a directory that may contain certificates, sorted by name.
fn pem_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries
        .filter(|file| {
            let extension = file.extension().and_then(OsStr::to_str).unwrap_or_default();
            ["pem", "crt", "cer"].iter().any(|known| extension.eq_ignore_ascii_case(known))
        })
        .collect();
    files.sort();
    files
}
