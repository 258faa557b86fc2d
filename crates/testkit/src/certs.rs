//! Test certificates: an authority, the certificates that it issues, and PEM files for programs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;

/// A certificate authority for tests.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    cert: rcgen::Certificate,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// Creates an authority with a new P-256 key.
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// Creates an authority whose certificate has expired.
    pub fn expired() -> Self {
        Self::with(|params| {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        })
    }

    fn with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().expect("generate the authority's key");
        let mut params = CertificateParams::default();
        change(&mut params);
        // Unique, because issuers of certificates and revocation lists are found by name.
        let number = u32::from_be_bytes(key.public_key_raw()[1..5].try_into().expect("four bytes"));
        params.distinguished_name = name(&format!("Spooky test authority {number:08x}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let cert = params.self_signed(&key).expect("sign the authority's certificate");
        Self { issuer: Issuer::new(params, key), cert }
    }

    /// Issues a leaf certificate for `names` (DNS names or IP literals).
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.issue_to("Spooky test leaf", names)
    }

    /// As [`Authority::issue`], with this common name in the subject. The subject is empty if `common` is.
    pub fn issue_to(&self, common: &str, names: &[&str]) -> Identity {
        self.issue_with(common, names, |_| {})
    }

    /// Issues an expired certificate.
    pub fn issue_expired_to(&self, common: &str, names: &[&str]) -> Identity {
        self.issue_with(common, names, |params| {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        })
    }

    /// Issues a certificate with this serial number.
    pub fn issue_numbered(&self, serial: u64, names: &[&str]) -> Identity {
        self.issue_with("Spooky test leaf", names, |params| params.serial_number = Some(serial.into()))
    }

    /// Issues a certificate that is marked as a certificate authority.
    pub fn issue_authority_to(&self, common: &str, names: &[&str]) -> Identity {
        self.issue_with(common, names, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))
    }

    fn issue_with(&self, common: &str, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().expect("generate a leaf key");
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("valid subject alternative names");
        params.distinguished_name = if common.is_empty() { DistinguishedName::new() } else { name(common) };
        params.use_authority_key_identifier_extension = true;
        // Unique among the certificates of this authority.
        params.serial_number = Some(SerialNumber::from_slice(&key.public_key_raw()[1..9]));
        change(&mut params);
        let serial = params.serial_number.clone().expect("a serial number");
        let cert = params.signed_by(&key, &self.issuer).expect("sign a leaf");
        Identity {
            cert_pem: cert.pem(),
            key_pem: key.serialize_pem(),
            cert: cert.der().clone(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            serial,
        }
    }

    /// Returns a PEM list that revokes `identities`.
    pub fn revocation_list(&self, identities: &[&Identity]) -> String {
        let revoked = |identity: &&Identity| RevokedCertParams {
            serial_number: identity.serial.clone(),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2060, 1, 1),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: identities.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).and_then(|list| list.pem()).expect("sign a revocation list")
    }

    /// Returns the authority's certificate as PEM.
    pub fn pem(&self) -> String {
        self.cert.pem()
    }

    /// Returns the authority's certificate as DER.
    pub fn der(&self) -> CertificateDer<'static> {
        self.cert.der().clone()
    }

    /// Returns a client configuration that trusts only this authority and offers `alpn`.
    pub fn client_config(&self, alpn: &[&[u8]]) -> rustls::ClientConfig {
        with_alpn(self.client().with_no_client_auth(), alpn)
    }

    /// Returns a configuration for HTTP/3 that sends early data when it may. The key exchange is X25519, so that the first
    /// flight is one datagram, early data included.
    pub fn early_client_config(&self) -> rustls::ClientConfig {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.kx_groups.retain(|group| group.name() == rustls::NamedGroup::X25519);
        let mut config = with_alpn(self.client_of(Arc::new(provider)).with_no_client_auth(), &[b"h3"]);
        config.enable_early_data = true;
        config
    }

    /// As [`Authority::client_config`], with a client certificate.
    pub fn client_config_of(&self, identity: &Identity, alpn: &[&[u8]]) -> rustls::ClientConfig {
        let client = self.client().with_client_auth_cert(vec![identity.cert.clone()], identity.key.clone_key());
        with_alpn(client.expect("a certificate that fits its key"), alpn)
    }

    fn client(&self) -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert> {
        self.client_of(provider())
    }

    fn client_of(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.der()).expect("add the authority to the roots");
        rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("protocol versions of the provider")
            .with_root_certificates(roots)
    }
}

fn with_alpn(mut config: rustls::ClientConfig, alpn: &[&[u8]]) -> rustls::ClientConfig {
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

/// A leaf certificate with its key.
#[derive(Debug)]
pub struct Identity {
    /// The certificate as PEM.
    pub cert_pem: String,
    /// The key as PKCS#8 PEM.
    pub key_pem: String,
    cert: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    serial: SerialNumber,
}

impl Identity {
    /// Returns the certificate as DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.cert
    }

    /// Returns certificate and key in the form that rustls uses.
    pub fn certified(&self) -> rustls::sign::CertifiedKey {
        let certified =
            rustls::sign::CertifiedKey::from_der(vec![self.cert.clone()], self.key.clone_key(), &provider());
        certified.expect("a certificate that fits its key")
    }

    /// Returns a server configuration with this certificate that accepts `alpn`.
    pub fn server_config(&self, alpn: &[&[u8]]) -> rustls::ServerConfig {
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("protocol versions of the provider")
            .with_no_client_auth()
            .with_single_cert(vec![self.cert.clone()], self.key.clone_key())
            .expect("a certificate that fits its key");
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config
    }
}

/// PEM files in a temporary directory, which is removed on drop.
#[derive(Debug)]
pub struct Files {
    dir: TempDir,
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The leaf's certificate.
    pub cert: PathBuf,
    /// The leaf's key.
    pub key: PathBuf,
}

impl Files {
    /// Writes `ca.pem`, `cert.pem` and `key.pem`.
    pub fn write(authority: &Authority, identity: &Identity) -> Self {
        let dir = tempfile::tempdir().expect("make a temporary directory");
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("write a PEM file");
            path
        };
        let ca = write("ca.pem", &authority.pem());
        let cert = write("cert.pem", &identity.cert_pem);
        let key = write("key.pem", &identity.key_pem);
        Self { dir, ca, cert, key }
    }

    /// Returns the directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// Returns the cryptography provider of the tests. No process-wide default is installed.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_hold_what_was_issued() {
        let authority = Authority::new();
        let leaf = authority.issue(&["localhost", "127.0.0.1"]);
        let files = Files::write(&authority, &leaf);
        assert_eq!(std::fs::read_to_string(&files.cert).unwrap(), leaf.cert_pem);
        assert!(std::fs::read_to_string(&files.key).unwrap().contains("PRIVATE KEY"));
        assert!(std::fs::read_to_string(&files.ca).unwrap().contains("BEGIN CERTIFICATE"));
        let dir = files.dir().to_owned();
        drop(files);
        assert!(!dir.exists());
    }
}
