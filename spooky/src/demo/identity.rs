//! The demo's certificate, in a private directory that is removed when the demo ends.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls_pki_types::CertificateDer;
use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Validity of the certificate, short in case a copy is left behind.
const VALID_DAYS: u32 = 30;

/// A self-signed certificate and its files.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    /// Removed when the identity is dropped.
    _directory: Directory,
}

impl Identity {
    /// Creates a key and a certificate for `host` and the loopback addresses.
    pub(super) fn new(host: &str) -> io::Result<Self> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate =
            parameters(host).and_then(|parameters| parameters.self_signed(&key)).map_err(io::Error::other)?;
        let directory = Directory::new()?;
        Ok(Self {
            cert: directory.file("cert.pem", &certificate.pem())?,
            key: directory.file("key.pem", &key.serialize_pem())?,
            certificate: certificate.der().clone(),
            _directory: directory,
        })
    }
}

fn parameters(host: &str) -> Result<CertificateParams, rcgen::Error> {
    let names = [host, "127.0.0.1", "::1"];
    let mut parameters = CertificateParams::new(names.map(str::to_owned))?;
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "Spooky demo");
    parameters.distinguished_name = name;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    parameters.not_before = epoch + now.saturating_sub(DAY); // a client's clock may be slow
    parameters.not_after = epoch + now + DAY * VALID_DAYS;
    Ok(parameters)
}

/// A private directory that is removed with everything in it.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn new() -> io::Result<Self> {
        let chance = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
        let path = std::env::temp_dir().join(format!("spooky-demo-{chance:016x}"));
        // Fails if the name exists, so another user cannot have created the directory.
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn file(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(text.as_bytes())?;
        Ok(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            crate::cli::console::print_error(&format!("cannot remove {}: {error}", self.0.display()));
        }
    }
}
