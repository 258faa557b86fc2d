//! A client's view of handshakes: how often it verified a certificate, and what the server stapled to it.
//!
//! A resumed handshake shows no certificate, so the number of verifications is that of full handshakes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::certs::{Authority, provider};

/// Verifies certificates of servers as usual, and records that it did.
#[derive(Debug)]
pub struct Verifications {
    verifier: Arc<WebPkiServerVerifier>,
    count: AtomicUsize,
    stapled: Mutex<Vec<u8>>,
}

impl Verifications {
    /// Makes this client configuration trust only `authority`, and record its verifications.
    pub fn of(config: &mut ClientConfig, authority: &Authority) -> Arc<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der()).expect("add the authority to the roots");
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let verifier = verifier.expect("a verifier with a root");
        let recorded = Arc::new(Self { verifier, count: AtomicUsize::new(0), stapled: Mutex::default() });
        config.dangerous().set_certificate_verifier(recorded.clone());
        recorded
    }

    /// Returns the number of full handshakes.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns the OCSP response of the last full handshake; empty if there was none.
    pub fn stapled(&self) -> Vec<u8> {
        self.stapled.lock().expect("a lock that no test poisons").clone()
    }
}

impl ServerCertVerifier for Verifications {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.count.fetch_add(1, Ordering::Relaxed);
        ocsp_response.clone_into(&mut self.stapled.lock().expect("a lock that no test poisons"));
        self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
