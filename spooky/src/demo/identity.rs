//! The demo's certificate: made in memory, and in files only as long as the demo runs.
//!
//! Owns the directory of these files, which nobody else can read and which goes when the value is dropped. Called by
//! the demo.

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
/// Days that the certificate is valid. Browsers and curl need no more for a demo, and a forgotten copy does no harm.
const VALID_DAYS: u32 = 30;

/// A certificate that vouches for itself, and where its files are.
#[derive(Debug)]
pub(super) struct Identity {
    /// The certificate, to trust.
    pub(super) certificate: CertificateDer<'static>,
    /// The certificate as PEM.
    pub(super) cert: PathBuf,
    /// The private key as PEM.
    pub(super) key: PathBuf,
    /// Last: what is dropped last.
    _directory: Directory,
}

impl Identity {
    /// Makes a key and a certificate for `host` and the loopback addresses.
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
        // Fails when anything has this name, so nobody can have put a directory of their own there.
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
            crate::cli::console::complain(&format!("cannot remove {}: {error}", self.0.display()));
        }
    }
}
