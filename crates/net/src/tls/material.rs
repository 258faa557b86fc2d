//! Certificates, keys and authorities in files: reading them, and the texts for all that can be wrong with them.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use spooky_config::pem::{self, Detail};

use super::{explain, provider};

/// What is wrong with TLS material. `Display` gives the text that operators see.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TlsMaterialError {
    /// A certificate file that was there when checked but cannot be loaded, and why.
    CertificateLoad(PathBuf, String),
    /// A key file that was there when checked but cannot be loaded, and why.
    KeyLoad(PathBuf, String),
    /// A certificate that cannot be parsed.
    CertificateFormat,
    /// A key that cannot be parsed or is of an unknown kind.
    KeyFormat(PathBuf),
    /// A key that is encrypted.
    KeyEncrypted(PathBuf),
    /// A PEM file with a block that would not be used, the configuration key that names it, and where.
    UnusedBlock(String, PathBuf, Detail),
    /// A file without certificate, and the configuration key that names it.
    NoCertificate(String, PathBuf),
    /// A file without private key, and the configuration key that names it.
    NoKey(String, PathBuf),
    /// A key (first) that belongs to another certificate (second).
    KeyMismatch(PathBuf, PathBuf),
    /// An OCSP response file that is not there.
    OcspMissing(PathBuf),
    /// A `server_name` (second) that the certificate (third) is not valid for, and the entry that says so.
    NotCovered(String, String, PathBuf),
    /// A file or directory of authorities or revocations that is not there, and the configuration key that names it.
    AuthorityMissing(String, PathBuf),
    /// A `ca_dir` that is a file.
    NotADirectory(String, PathBuf),
    /// A `ca_dir` without certificates.
    EmptyDirectory(String, PathBuf),
    /// A file of authorities or revocations that cannot be used, the configuration key that names it, and why.
    Unusable(String, PathBuf, String),
    /// A server without certificate; the section that should name one.
    NoServerCertificate(String),
    /// A client that is to check certificates but has no authority to check them against; its section.
    NoTrustAnchor(String),
    /// rustls refuses the combination.
    Rustls(Error),
}

impl fmt::Display for TlsMaterialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CertificateLoad(path, why) => write!(f, "Failed to load certificate '{}': {why}", path.display()),
            Self::KeyLoad(path, why) => write!(f, "Failed to load key '{}': {why}", path.display()),
            Self::CertificateFormat => f.write_str("Failed to load certificate: invalid certificate format"),
            Self::KeyFormat(path) => write!(f, "Failed to load key '{}': invalid key format", path.display()),
            Self::KeyEncrypted(path) => write!(f, "Failed to load key '{}': the key is encrypted", path.display()),
            Self::UnusedBlock(field, path, Detail { line, reason }) => {
                write!(f, "{field} '{}' line {line}: {reason}", path.display())
            }
            Self::NoCertificate(field, path) => {
                write!(f, "{field} '{}' does not contain any PEM certificate blocks", path.display())
            }
            Self::NoKey(field, path) => write!(f, "{field} '{}' does not contain a PEM private key", path.display()),
            Self::KeyMismatch(key, certificate) => {
                let (key, certificate) = (key.display(), certificate.display());
                write!(f, "Failed to load key '{key}': key does not match certificate '{certificate}'")
            }
            Self::OcspMissing(path) => write!(f, "OCSP response file does not exist: {}", path.display()),
            Self::NotCovered(section, name, path) => {
                write!(f, "{section}.server_name '{name}' is not covered by certificate '{}'", path.display())
            }
            Self::AuthorityMissing(field, path) => write!(f, "{field} does not exist: {}", path.display()),
            Self::NotADirectory(field, path) => write!(f, "{field} must be a directory: {}", path.display()),
            Self::EmptyDirectory(field, path) => {
                write!(f, "{field} '{}' did not contain any readable PEM certificates", path.display())
            }
            Self::Unusable(field, path, why) => write!(f, "{field} '{}' cannot be used: {why}", path.display()),
            Self::NoServerCertificate(section) => {
                write!(f, "{section} requires either cert/key or certificates entries")
            }
            Self::NoTrustAnchor(section) => write!(f, "{section} has no certificate authority to trust"),
            Self::Rustls(error) => f.write_str(&explain(error)),
        }
    }
}

impl std::error::Error for TlsMaterialError {}

impl From<Error> for TlsMaterialError {
    fn from(error: Error) -> Self {
        Self::Rustls(error)
    }
}

/// A certificate chain and its key in two files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The configuration section, for example `listen.tls.certificates[0]`.
    pub section: String,
    /// PEM, the server's or client's own certificate first.
    pub cert: PathBuf,
    /// PEM: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
    /// DER OCSP response to be stapled.
    pub ocsp: Option<PathBuf>,
    /// Whether the section's keys are `client_cert` and `client_key` (a client's), not `cert` and `key`.
    pub is_client: bool,
}

impl CertificateFiles {
    fn field(&self, name: &str) -> String {
        format!("{}.{}{name}", self.section, if self.is_client { "client_" } else { "" })
    }

    /// Reads the files and checks that they belong together.
    pub fn load(&self) -> Result<CertifiedKey, TlsMaterialError> {
        let text = fs::read(&self.cert);
        let text = text.map_err(|error| TlsMaterialError::CertificateLoad(self.cert.clone(), reason(&error)))?;
        let chain =
            pem::certificates(&text).map_err(|fault| not_certificates(&self.field("cert"), &self.cert, fault))?;
        let mut certified = self.certify(chain)?;
        if let Some(path) = &self.ocsp {
            certified.ocsp = Some(fs::read(path).map_err(|_| TlsMaterialError::OcspMissing(path.clone()))?);
        }
        Ok(certified)
    }

    /// Reads the private key.
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsMaterialError> {
        let text = fs::read(&self.key);
        let text = text.map_err(|error| TlsMaterialError::KeyLoad(self.key.clone(), reason(&error)))?;
        pem::private_key(&text).map_err(|fault| match fault {
            pem::Error::NoBlock => TlsMaterialError::NoKey(self.field("key"), self.key.clone()),
            pem::Error::Encrypted => TlsMaterialError::KeyEncrypted(self.key.clone()),
            pem::Error::Invalid(_) => TlsMaterialError::KeyFormat(self.key.clone()),
            pem::Error::Unused(flaw) => TlsMaterialError::UnusedBlock(self.field("key"), self.key.clone(), flaw),
        })
    }

    /// Reads the key to `chain`.
    fn certify(&self, chain: Vec<CertificateDer<'static>>) -> Result<CertifiedKey, TlsMaterialError> {
        certify(chain, self.private_key()?).map_err(|error| match error {
            Error::InconsistentKeys(_) => TlsMaterialError::KeyMismatch(self.key.clone(), self.cert.clone()),
            _ => TlsMaterialError::KeyFormat(self.key.clone()),
        })
    }
}

/// Puts a chain and its key together.
///
/// Errors: `InconsistentKeys` when they do not match, others when the key is of no use.
pub(super) fn certify(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, Error> {
    let key = provider().key_provider.load_private_key(key)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // A key that does not tell its public half cannot be compared.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(error) => Err(error),
    }
}

/// The error for a file that should hold certificates.
fn not_certificates(field: &str, path: &Path, fault: pem::Error) -> TlsMaterialError {
    match fault {
        pem::Error::NoBlock => TlsMaterialError::NoCertificate(field.to_owned(), path.to_owned()),
        pem::Error::Invalid(_) | pem::Error::Encrypted => TlsMaterialError::CertificateFormat,
        pem::Error::Unused(flaw) => TlsMaterialError::UnusedBlock(field.to_owned(), path.to_owned(), flaw),
    }
}

/// The authorities in the file `path`, which the configuration key `field` names. At least one.
pub(super) fn authorities(field: &str, path: &Path) -> Result<RootCertStore, TlsMaterialError> {
    pem::authorities(&read(field, path)?).map_err(|fault| not_certificates(field, path, fault))
}

/// The authorities in a file of a directory that `field` names; none if the file has no PEM block.
pub(super) fn authorities_if_any(field: &str, path: &Path) -> Result<RootCertStore, TlsMaterialError> {
    match pem::authorities(&read(field, path)?) {
        Err(pem::Error::NoBlock) => Ok(RootCertStore::empty()),
        found => found.map_err(|fault| not_certificates(field, path, fault)),
    }
}

/// The revocation lists in the file `path`, which the configuration key `field` names. At least one.
pub(super) fn revocations(
    field: &str,
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsMaterialError> {
    pem::revocation_lists(&read(field, path)?).map_err(|fault| match fault {
        pem::Error::Invalid(flaw) | pem::Error::Unused(flaw) => {
            TlsMaterialError::UnusedBlock(field.to_owned(), path.to_owned(), flaw)
        }
        pem::Error::NoBlock | pem::Error::Encrypted => {
            let why = "no PEM revocation list in it".to_owned();
            TlsMaterialError::Unusable(field.to_owned(), path.to_owned(), why)
        }
    })
}

fn read(field: &str, path: &Path) -> Result<Vec<u8>, TlsMaterialError> {
    fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => TlsMaterialError::AuthorityMissing(field.to_owned(), path.to_owned()),
        _ => TlsMaterialError::Unusable(field.to_owned(), path.to_owned(), reason(&error)),
    })
}

/// The system's words alone, without Rust's `(os error 13)`.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}
