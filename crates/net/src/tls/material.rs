//! Reads certificates, keys, authorities and revocation lists, and reports errors in them.

use std::fmt::{self, Debug};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use spooky_config::OcspStatus;
use spooky_config::pem::{self, Detail};

use super::{explain, provider};

/// An error in TLS material. `Display` gives the text for operators.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TlsMaterialError {
    /// A certificate file that was present when checked but cannot be loaded, and why.
    CertificateLoad(PathBuf, String),
    /// A key file that was present when checked but cannot be loaded, and why.
    KeyLoad(PathBuf, String),
    /// A certificate that cannot be parsed.
    CertificateFormat,
    /// A key that cannot be parsed or is of an unknown kind.
    KeyFormat(PathBuf),
    /// A key that is encrypted.
    KeyEncrypted(PathBuf),
    /// A PEM file with a block that would not be used: configuration key, path and position.
    UnusedBlock(String, PathBuf, Detail),
    /// A file without certificate, and its configuration key.
    NoCertificate(String, PathBuf),
    /// A file without private key, and its configuration key.
    NoKey(String, PathBuf),
    /// A key (first) that does not match the certificate (second).
    KeyMismatch(PathBuf, PathBuf),
    /// A missing OCSP response file.
    OcspMissing(PathBuf),
    /// The configuration section, its `server_name`, and the certificate that is not valid for that name.
    NotCovered(String, String, PathBuf),
    /// A missing file or directory of authorities or revocation lists, and its configuration key.
    AuthorityMissing(String, PathBuf),
    /// A `ca_dir` that is a file.
    NotADirectory(String, PathBuf),
    /// A `ca_dir` without certificates.
    EmptyDirectory(String, PathBuf),
    /// A file of authorities, revocation lists or an OCSP response that cannot be used, its configuration key, and why.
    Unusable(String, PathBuf, String),
    /// A server section without a certificate.
    NoServerCertificate(String),
    /// A client section that requires verification but has no trusted authority.
    NoTrustAnchor(String),
    /// An error of rustls.
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

/// The files of a certificate chain and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The configuration section, for example `listen.tls.certificates[0]`.
    pub section: String,
    /// PEM chain, the end-entity certificate first.
    pub cert: PathBuf,
    /// PEM key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
    /// DER OCSP response to staple.
    pub ocsp: Option<PathBuf>,
    /// Whether the configuration keys are `client_cert` and `client_key` (of a client), not `cert` and `key`.
    pub is_client: bool,
}

impl CertificateFiles {
    fn field(&self, name: &str) -> String {
        format!("{}.{}{name}", self.section, if self.is_client { "client_" } else { "" })
    }

    /// Loads the files and checks that the key matches the certificate.
    pub fn load(&self) -> Result<CertifiedKey, TlsMaterialError> {
        let text = read_file(&self.cert);
        let text = text.map_err(|error| TlsMaterialError::CertificateLoad(self.cert.clone(), reason(&error)))?;
        let chain =
            pem::certificates(&text).map_err(|fault| not_certificates(&self.field("cert"), &self.cert, fault))?;
        let mut certified = self.certify(chain)?;
        if let Some(path) = &self.ocsp {
            certified.ocsp = Some(self.ocsp_response(path, &certified)?);
        }
        Ok(certified)
    }

    /// Loads an OCSP response, which must be about the certificate.
    fn ocsp_response(&self, path: &Path, certified: &CertifiedKey) -> Result<Vec<u8>, TlsMaterialError> {
        let response = read_file(path).map_err(|_| TlsMaterialError::OcspMissing(path.to_owned()))?;
        let unusable = |why: &str| TlsMaterialError::Unusable(self.field("ocsp_file"), path.to_owned(), why.to_owned());
        let leaf = certified.cert.first().ok_or(TlsMaterialError::CertificateFormat)?;
        OcspStatus::read(&response, leaf).map_err(unusable)?;
        Ok(response)
    }

    /// Loads the private key.
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsMaterialError> {
        let text = read_file(&self.key);
        let text = text.map_err(|error| TlsMaterialError::KeyLoad(self.key.clone(), reason(&error)))?;
        pem::private_key(&text).map_err(|fault| match fault {
            pem::Error::NoBlock => TlsMaterialError::NoKey(self.field("key"), self.key.clone()),
            pem::Error::Encrypted => TlsMaterialError::KeyEncrypted(self.key.clone()),
            pem::Error::Invalid(_) => TlsMaterialError::KeyFormat(self.key.clone()),
            pem::Error::Unused(flaw) => TlsMaterialError::UnusedBlock(self.field("key"), self.key.clone(), flaw),
        })
    }

    fn certify(&self, chain: Vec<CertificateDer<'static>>) -> Result<CertifiedKey, TlsMaterialError> {
        certify(chain, self.private_key()?).map_err(|error| match error {
            Error::InconsistentKeys(_) => TlsMaterialError::KeyMismatch(self.key.clone(), self.cert.clone()),
            _ => TlsMaterialError::KeyFormat(self.key.clone()),
        })
    }
}

/// Combines a chain and its key.
///
/// Errors: `InconsistentKeys` when they do not match, others when the key is unusable.
pub(super) fn certify(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, Error> {
    let key = provider().key_provider.load_private_key(key)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // A key that does not expose its public half cannot be compared.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(error) => Err(error),
    }
}

/// Returns the error for a file that should contain certificates.
fn not_certificates(field: &str, path: &Path, fault: pem::Error) -> TlsMaterialError {
    match fault {
        pem::Error::NoBlock => TlsMaterialError::NoCertificate(field.to_owned(), path.to_owned()),
        pem::Error::Invalid(_) | pem::Error::Encrypted => TlsMaterialError::CertificateFormat,
        pem::Error::Unused(flaw) => TlsMaterialError::UnusedBlock(field.to_owned(), path.to_owned(), flaw),
    }
}

/// Loads the authorities in the file `path` of the configuration key `field`, at least one.
pub(super) fn authorities(field: &str, path: &Path) -> Result<RootCertStore, TlsMaterialError> {
    pem::authorities(&read(field, path)?).map_err(|fault| not_certificates(field, path, fault))
}

/// Loads the authorities in a file of the directory `field`; none if the file has no PEM block.
pub(super) fn authorities_if_any(field: &str, path: &Path) -> Result<RootCertStore, TlsMaterialError> {
    match pem::authorities(&read(field, path)?) {
        Err(pem::Error::NoBlock) => Ok(RootCertStore::empty()),
        found => found.map_err(|fault| not_certificates(field, path, fault)),
    }
}

/// Loads the revocation lists in the file `path` of the configuration key `field`, at least one.
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

/// Returns a number that changes if the options or the contents of the files change. An unreadable file is reported when
/// it is loaded.
pub(super) fn fingerprint(options: &impl Debug, files: impl IntoIterator<Item = PathBuf>) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{options:?}").hash(&mut hasher);
    for file in files {
        (&file, read_file(&file).ok()).hash(&mut hasher);
    }
    hasher.finish()
}

/// Maximum size of a file.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Reads a regular file. Reading a pipe or a device could block for ever.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if found.len() > MAX_FILE_BYTES {
        return Err(io::Error::other("larger than 16 MiB"));
    }
    fs::read(path)
}

fn read(field: &str, path: &Path) -> Result<Vec<u8>, TlsMaterialError> {
    read_file(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => TlsMaterialError::AuthorityMissing(field.to_owned(), path.to_owned()),
        _ => TlsMaterialError::Unusable(field.to_owned(), path.to_owned(), reason(&error)),
    })
}

/// Returns the system's error text without Rust's suffix `(os error 13)`.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}
